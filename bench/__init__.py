"""One file per measured promise; each prints its ratio beside the figure to reach. `make bench` runs them all."""
