"""Many creates at once: what a run reports.

Runs are started by `client.assistants.create_many`, `create_each` and `duplicate_many`.


Generated from lisn_async/bulk/__init__.py by `python -m lisn_sync._generate`: change that file, not this one.
"""

from __future__ import annotations

from lisn_async.bulk import BulkOutcome, BulkProgress, BulkResult, Exact

__all__ = ["BulkOutcome", "BulkProgress", "BulkResult", "Exact"]
