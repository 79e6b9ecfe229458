"""The metadata of ITI TF-3 4.1 and 4.2 as values; no SQL."""
