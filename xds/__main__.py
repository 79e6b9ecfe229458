"""``python -m xds``: the same as the ``xds`` command."""

from xds.cli import main

main()
