"""What each IHE actor does when a transaction reaches it."""
