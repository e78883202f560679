"""The link to the hub: pairing, polling, heartbeats, unpairing."""
