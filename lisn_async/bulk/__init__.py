"""Many creates at once: what a run reports. Runs are started by `client.assistants.create_many` and `create_each`."""

from .outcome import BulkOutcome, BulkProgress, BulkResult

__all__ = ["BulkOutcome", "BulkProgress", "BulkResult"]
