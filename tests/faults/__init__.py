"""Histories of a deployment whose processes, disk, database and clock fail, by seeds; what must hold after each."""
