"""GETs that keep a venue's rate limit and outlast its short refusals: for downloads, which may wait.

Owns when a request may leave and how often one is repeated.  Does no I/O itself (``RestClient`` does) and never
stands on the path of an order: there nothing waits.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from connectors.ratelimit import TokenBucket
from connectors.reconnect import Backoff
from connectors.rest import Gets, RestError
from engine.errors import VenueError

TRIES = 7
"""Of one request: its pauses add up to about 40 s when the venue names none (1, 2, 4, then 8 s each)."""
NOTABLE_WAIT_NS = 500_000_000
"""A shorter wait is the ordinary pace and is not said."""

_log = logging.getLogger(__name__)


class PacedRest:
    """``get`` as of ``RestClient``, at most ``rate_per_s`` a second, repeated while that can help.

    A 429 shuts everything for the ``Retry-After`` it names, else for pauses that double.  An answer of 500 or above, a
    connection that broke and a time-out are tried again after a back-off; but not before the first answer ever: an
    address that nobody answers at is told at once.  ``say`` hears of waits, in words.
    """

    def __init__(
        self,
        rest: Gets,
        venue: str,
        *,
        rate_per_s: float,
        rng: random.Random,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.requests = 0
        """Sent so far, repetitions included."""
        self._rest = rest
        self._venue = venue
        self._now_ns = now_ns
        self._sleep = sleep
        self._say = say
        self._answered = False
        # A burst of a few: a full second's worth at once looks like a storm to a limiter with shorter windows.
        self._bucket = TokenBucket(rate_per_s, max(1, int(rate_per_s / 4)), now_ns=now_ns())
        self._backoff = Backoff(rng, base_s=1.0, cap_s=8.0, budget_per_minute=60)

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        """The body of a 2xx answer.

        Raises ``RestError`` for what repeating cannot mend (4xx), ``VenueError`` after ``TRIES`` refusals in a row.
        """
        for left in reversed(range(TRIES)):
            await self._turn()
            self.requests += 1
            try:
                body = await self._rest.get(path, params, auth=auth)
            except RestError as error:
                if not self._may_pass(error):
                    raise
                if left == 0:
                    raise VenueError(
                        f"{self._venue} refused {TRIES} times in a row, the last time: {error.seen}",
                        expected="an answer",
                        do="run the same command again later, it goes on from here",
                    ) from error
                await self._refused(error)
            else:
                self._answered = True
                self._bucket.succeeded(self._now_ns())
                self._backoff.succeeded()
                return body
        raise AssertionError("the last try returns or raises")

    def _may_pass(self, error: RestError) -> bool:
        if error.status == 0:
            return self._answered
        return error.status == 429 or error.status >= 500

    async def _refused(self, error: RestError) -> None:
        now_ns = self._now_ns()
        if error.status == 429:
            self._answered = True
            self._bucket.answered(now_ns, error.status, error.retry_after_s)
            _log.info("%s: too many requests, waiting %.1f s", self._venue, self._bucket.wait_ns(now_ns) / 1e9)
            return
        wait_s = self._backoff.next_delay_s(now_ns / 1e9)
        _log.info("%s: %s; trying again in %.1f s", self._venue, error.seen, wait_s)
        self._say(f"{self._venue} does not answer, trying again in {wait_s:.0f} s")
        await self._sleep(wait_s)
        self._say("")

    async def _turn(self) -> None:
        """Wait until a request may leave."""
        said = False
        while not self._bucket.try_take(self._now_ns()):
            wait_ns = self._bucket.wait_ns(self._now_ns())
            if wait_ns > NOTABLE_WAIT_NS:
                said = True
                self._say(f"{self._venue} asks to slow down, waiting {wait_ns / 1e9:.0f} s")
            await self._sleep(max(wait_ns, 1_000_000) / 1e9)
        if said:
            self._say("")
