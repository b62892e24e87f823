"""The version of this SDK, as it stands in `User-Agent`."""

__version__ = "0.1.0"
