"""What a submission must be: one function a rule, each citing its clause."""
