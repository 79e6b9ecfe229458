"""``make bench``: each figure of the design against a floor that is measured in the same run.

Run as ``python -m tests.bench [names…] [--quick] [--json FILE]``.
"""
