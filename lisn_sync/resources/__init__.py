"""What a client offers, one noun each.

Generated from lisn_async/resources/__init__.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

from lisn_sync.resources.assistants import Assistants, AssistantsWithRawResponse

__all__ = ["Assistants", "AssistantsWithRawResponse"]
