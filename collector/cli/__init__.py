"""The command line, one module per area; `collector/__main__.py` puts them together."""
