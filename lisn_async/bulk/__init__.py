"""Many creates at once: what a run reports.

Runs are started by `client.assistants.create_many`, `create_each` and `duplicate_many`.
"""

from .outcome import BulkOutcome, BulkProgress, BulkResult, Exact

__all__ = ["BulkOutcome", "BulkProgress", "BulkResult", "Exact"]
