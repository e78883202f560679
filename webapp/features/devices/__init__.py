"""Machines: pairing, links, where a collector is reached, how it is."""
