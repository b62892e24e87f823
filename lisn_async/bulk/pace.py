"""How many creates are under way at once, and how soon one follows the other: what the service declines decides.

`Pace.limit` is how many should be under way on average. Until the service first pushes back it doubles with every
window of successes. After that:

1. It falls at a decline, to what the service has been seen to carry (`_fallen`). What was sent before the last
   fall does not count again: the service could not know of it.
2. It grows by 5 %, then 10 %, then 20 %, once successes have paid for what was declined: waste is bounded whatever
   the service is like, and a service that has more room than before is found out soon.
3. It neither falls nor is anything to be paid for where sending less made fewer succeed and no fewer be declined:
   such a service declines for reasons of its own (`_measure`).
4. Sends are a round trip divided by `limit` apart. Where a rate is what is limited, and replies are quick, less than
   one under way is the right number, and no semaphore can say that.

The numbers were chosen by `benchmarks/reliability/pacing.py`, on services that limit how many, how often, or both.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import NamedTuple

START = 8.0
"""A rate of 40 a second is seen before hundreds were sent, and a fast service has 64 under way after three windows."""
SHRINK = 0.7
"""What is left of the limit when nothing better is known. Less is left too low, more takes many declines to get down."""
STEP = 0.05
"""The first step up, as a share of the limit: one of 20."""
LARGEST_STEP = 0.25
"""From a quarter of the room to all of it in some 300 successes; doubling would empty a bucket at one go."""
PRICE = 32
"""Successes that pay for one declined request, and for one step up: about 3 % are wasted while more is tried."""
MOST_DEBT = 4 * PRICE
"""An overshoot may decline dozens at once; that many successes are no reason to stay low."""
PATIENCE = 30
"""Lengths of a pause that pass before more is tried again: a pause costs everyone, so it is risked 3 % of the time."""
GENTLE = 3
"""Falls in a row that are taken as one step too high, not as a service that has become slower."""
MOST_BACKGROUND = 0.25
"""Share of declines up to which they may have reasons of their own. Above it a service is taken to be at its end."""
TOLERANCE = 1.5
"""How many times what is declined anyway may be declined before it is taken to mean something."""
AS_GOOD = 0.75
"""Share of the best rate above which sending less has cost nothing to speak of."""
WINDOW = 64
"""Requests over which rate and share of declines are taken."""
CREDIT = 0.5
"""Share of a round trip by which spaced sends may catch up, so that the average is kept when one is late."""
SLACK = 0.1
"""How much faster than the limit sends may follow each other above 1, where the semaphore bounds them too."""
LONGEST_GAP = 2.0
"""Seconds between two sends, at most. Slower than that is a matter for `backoff`."""


class Sent(NamedTuple):
    """When something was sent, and how many others were under way."""

    at: float
    others: int


class Pace:
    """A semaphore whose size and speed follow what the service can take, with 1 to `most` under way."""

    def __init__(self, most: int) -> None:
        self.limit = min(float(most), START)
        self.round_trip = 0.0
        self._most = float(most)
        self._under_way = 0
        self._waiters: deque[asyncio.Future[Sent]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0
        self._is_starting = True
        # Since the last fall:
        self._fell_at = 0.0
        self._since = 0.0
        self._successes = 0
        self._carried = 0.0  # seconds that successes were under way; per second: how many at once
        self._falls_in_a_row = 0
        # For growing:
        self._seen_to_carry = 0.0
        self._debt = 0
        self._paid = 0
        self._step = STEP
        self._not_before = 0.0
        # For telling whether declines have anything to do with the limit:
        self._share = 0.0  # of late
        self._background = 0.0
        self._is_low = False  # less succeeds than did with a higher limit
        self._best_rate = 0.0
        self._window: tuple[float, int, int] = (0.0, 0, 0)  # since when, how many, declined
        self._limit_before = self.limit  # of this window

    # --- the semaphore ----------------------------------------------------------------------------------

    def acquire_now(self) -> Sent | None:
        """One more may be sent at once; None if that has to be waited for."""
        return self._go() if not self._waiters and self._wait() <= 0 else None

    async def acquire(self) -> Sent:
        """Wait until one more may be sent."""
        if (sent := self.acquire_now()) is not None:
            return sent
        turn: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        self._hand_on()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(was_sent=False)  # it was our turn already
            elif turn in self._waiters:
                self._waiters.remove(turn)
            raise

    def release(self, *, was_sent: bool = True) -> None:
        """One less is under way. If nothing was sent, the next one need not wait for it."""
        self._under_way -= 1
        if not was_sent:
            self._next_at = min(self._next_at, time.monotonic())
        if self._waiters:
            self._hand_on()

    def _hand_on(self) -> None:
        while self._waiters and (wait := self._wait()) <= 0:
            turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(self._go())
        if self._waiters and wait < math.inf and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._hand_on()

    def _wait(self) -> float:
        """Seconds until the next may be sent; infinite while too many are under way."""
        if self._under_way > self.limit - 0.5 and self._under_way:  # rounded, and at least one
            return math.inf
        return 0.0 if self._is_starting else self._next_at - time.monotonic()

    def _go(self) -> Sent:
        now = time.monotonic()
        sent = Sent(now, self._under_way)
        self._under_way += 1
        if not self._is_starting:
            at_once = self.limit + SLACK * max(0.0, self.limit - 1)
            gap = min(LONGEST_GAP, self.round_trip / at_once)
            self._next_at = max(self._next_at, now - CREDIT * self.round_trip) + gap
        return sent

    # --- what was learnt --------------------------------------------------------------------------------

    def succeeded(self, sent: Sent) -> None:
        """What was sent then has succeeded; grow if the limit was in use and nothing has to be paid for."""
        now = time.monotonic()
        seconds = now - sent.at
        self.round_trip += (seconds - self.round_trip) / 16 if self.round_trip else seconds
        self._carried += seconds
        self._successes += 1
        if not self._is_starting:  # before the first decline there is nothing to compare
            self._measure(now, is_declined=False)
        if self._debt > 0:
            self._debt -= 1
        elif 2 * self._under_way > self.limit and self.limit < self._most:
            self._grow(now)

    def _grow(self, now: float) -> None:
        if self._is_starting:
            self.limit = min(self._most, self.limit + 1)
            return
        self._paid += 1
        if self._paid >= max(self.limit, PRICE) and now >= self._not_before:
            self._paid = 0
            self.limit = min(self._most, self.limit * (1 + self._step))
            self._step = min(LARGEST_STEP, 2 * self._step)
            self._carried, self._since = (
                self._carried / 2,
                (self._since + now) / 2,
            )  # what is recent weighs more

    def pushed_back(self, sent: Sent, pause: float = 0.0) -> None:
        """What was sent then was declined, or took too long. `pause` is what the service asked for, in seconds."""
        now = time.monotonic()
        self._measure(now, is_declined=True)
        if pause:
            self._window = (now + pause, 0, 0)
        elif self._is_low or (self._background and self._share <= TOLERANCE * self._background):
            return  # sending less is no use, or no more were declined than are whatever is sent
        self._debt = min(MOST_DEBT, self._debt + PRICE)
        self._not_before = max(self._not_before, now + PATIENCE * pause)
        if sent.at < self._fell_at:
            return
        if self.limit > 1 or self._successes:  # below 1 a decline says something only if others succeed
            least = 0.0 if pause else self._floor()
            self.limit = min(self.limit, max(self._fallen(sent, now, pause), least))
        if self._is_starting:
            self._is_starting, self._next_at = False, now
        self._fell_at = self._since = now
        self._successes, self._carried = 0, 0.0
        self._paid, self._step = 0, STEP

    def _measure(self, now: float, *, is_declined: bool) -> None:
        """Learn from every `WINDOW` requests after the first fall whether declines have to do with how much is sent."""
        self._share += (is_declined - self._share) / WINDOW
        if self._is_starting:  # this is the first decline
            self._window, self._limit_before = (now, 0, 0), self.limit
            return
        since, count, declined = self._window
        count, declined = count + 1, declined + is_declined
        if count < WINDOW or now <= since:
            self._window = (since, count, declined)
            return
        rate, share = (count - declined) / (now - since), declined / count
        self._is_low = share <= MOST_BACKGROUND and rate <= AS_GOOD * self._best_rate
        if self._is_low:
            self._background += (share - self._background) / 2 if self._background else share
        elif share > MOST_BACKGROUND:
            self._best_rate = self._background = 0.0
        else:
            self._best_rate = max(self._best_rate, rate)
        self._window, self._limit_before = (now, 0, 0), self.limit

    def _floor(self) -> float:
        """How far the limit may fall before the next measurement: to a half, if few were declined since the last."""
        _, count, declined = self._window
        return self._limit_before / 2 if declined <= MOST_BACKGROUND * count else 0.0

    def _fallen(self, sent: Sent, now: float, pause: float) -> float:
        """The limit after a fall, by the first that applies.

        1. A service that carried clearly less than the number under way limits the rate: what it carried is the limit.
           Not so with a pause: whoever is told to wait for a new window may use that at full speed.
        2. One slot too many: what was under way beside the declined one is the limit, one less each time in a row.
        3. What it carried, but no less than `SHRINK` of the limit.
        """
        is_known = bool(self._fell_at) and self._successes >= 4 and now - self._fell_at > 2 * self.round_trip
        if is_known:
            self._seen_to_carry = self._carried / (now - self._since)
        self._falls_in_a_row = 1 if is_known or self._is_starting else self._falls_in_a_row + 1
        if is_known and not pause and self._successes >= PRICE and self._seen_to_carry < 0.8 * sent.others:
            return self._seen_to_carry
        least = max(SHRINK * self.limit, self._seen_to_carry if is_known else 0.0)
        if not pause and self._falls_in_a_row <= GENTLE:
            least = max(least, 0.9 * self._seen_to_carry)
            if self._under_way >= 0.8 * self.limit:  # as many as ever: slots, and they are full
                is_again = self._falls_in_a_row > 1
                return max(least, min(sent.others, self.limit - is_again))
        self._debt = min(self._debt, PRICE)  # a guess, perhaps too low
        return least
