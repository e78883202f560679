"""The collector: the light daemon on a developer's machine. It never imports webapp."""

__version__ = "0.1.0"
