"""What an audit message says."""
