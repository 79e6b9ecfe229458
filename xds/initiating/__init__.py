"""What this node starts by itself."""
