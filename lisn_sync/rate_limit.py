"""How many requests a client may send, as a value.

Generated from lisn_async/rate_limit.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

from lisn_async.rate_limit import RateLimit

__all__ = ["RateLimit"]
