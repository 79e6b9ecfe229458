"""The machine below: its clock, disk, log lines and processes."""
