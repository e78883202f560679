"""Everything that leaves the process, one module per outside thing. Each has a hand-written fake for tests."""
