"""The long-running processes: how each runs, how they start each other, and how none outlives its parent."""
