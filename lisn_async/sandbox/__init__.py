"""A local Lisn over real HTTP, to test against: `async with Sandbox() as box: ...`."""

from lisn_async.sandbox._faults import Fault
from lisn_async.sandbox._judge import Verdict
from lisn_async.sandbox._seen import SeenRequest
from lisn_async.sandbox._storm import storm
from lisn_async.sandbox.box import Sandbox

__all__ = ["Fault", "Sandbox", "SeenRequest", "Verdict", "storm"]
