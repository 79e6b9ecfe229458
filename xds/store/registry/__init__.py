"""Metadata objects and patients, as rows."""
