"""xds: an IHE XDS-I.b Document Registry, Document Repository, Imaging Document Source and Consumer."""

__version__ = "0.1.0"
