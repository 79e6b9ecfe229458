"""Which processes run, and what is joined to what."""
