"""How another region's registry and repositories are brought into this deployment, step by step."""
