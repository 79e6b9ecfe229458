"""ATNA: audit messages, the signed log and its verification."""
