"""How a request comes in: one file or folder a protocol."""
