"""``xds demo``: two hospitals and a clinic on this machine, sharing real images over real sockets."""
