"""How audit records are found and reviewed."""
