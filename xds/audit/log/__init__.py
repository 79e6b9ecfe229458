"""Why nobody can bend the audit log."""
