"""A node that works for hours: what it uses must not grow."""
