"""Where metadata, documents and audit records are kept."""
