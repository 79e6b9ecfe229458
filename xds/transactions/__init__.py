"""One file a transaction, found by its number."""
