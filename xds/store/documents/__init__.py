"""The bytes of documents, and the rows that name them."""
