"""Bytes to one message and back; knows nothing of XDS."""
