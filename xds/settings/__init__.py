"""Every setting, and how it is read."""
