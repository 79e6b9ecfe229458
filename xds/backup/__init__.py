"""How a deployment is copied while it runs, and brought back."""
