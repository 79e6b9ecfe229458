"""Audit records as rows, and what is kept about them."""
