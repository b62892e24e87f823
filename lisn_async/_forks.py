"""What a fork must not find half done, as an import.

A child has one thread: the one that forked. A module that another thread was importing stays locked in the child
for ever, and whoever needs it waits for ever: CPython mends its own locks after a fork, those of modules it does
not. So what waits for its first use is imported `with opening.lock`, and a fork waits for that. A module that a
program imports by its own name, `import lisn_async.bulk`, is not told to anybody: that is as in any package.

A fork that had to wait may print "release unlocked lock": `concurrent.futures.thread`, imported meanwhile, has told
CPython to release at this fork what it was not yet there to take. It harms nothing.
"""

from __future__ import annotations

import os
from _thread import RLock  # `threading` would be most of this import

PATIENCE = 5.0  # s that a fork waits for what takes a fraction of one


class WholeAtForks:
    """A lock that every fork takes as well: what is done with it is done, or not begun, in a child."""

    def __init__(self) -> None:
        # The lock itself, for a `with` of one's own: nothing in Python stands between taking it and the block,
        # where Ctrl-C could arrive. Taken again by its owner: a module opens others, and a signal handler may ask.
        self.lock = RLock()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(
                before=self._take, after_in_parent=self._give_back, after_in_child=self._renew
            )

    def _take(self) -> None:
        self.lock.acquire(timeout=PATIENCE)

    def _give_back(self) -> None:
        try:  # noqa: SIM105 - `contextlib` is not cheap either
            self.lock.release()
        except RuntimeError:  # not taken: it took too long, or Ctrl-C ended the wait
            pass

    def _renew(self) -> None:
        self.lock = RLock()  # the old one may be held by a thread that is not here


opening = WholeAtForks()
