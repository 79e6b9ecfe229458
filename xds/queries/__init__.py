"""The stored queries of ITI-18."""
