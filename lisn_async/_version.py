"""The version of this SDK, as it stands in `User-Agent`."""

from typing import Final

__version__: Final = "0.1.0"
