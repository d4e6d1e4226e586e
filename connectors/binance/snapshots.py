"""The books' snapshots that the streams wait for, asked for by REST a few at a time.

Owns which is asked next, when one that failed is asked again, and that an answer goes to the connection that waits.
What an answer means is ``protocol``'s, how much may be asked ``weights``'.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from connectors.binance.feed import BinanceFeed
from connectors.binance.rest import DEPTH_LEVELS, DEPTH_WEIGHT, BinanceRest
from connectors.rest import RestError
from engine.ports import Clock

_log = logging.getLogger(__name__)

WORKERS: Final = 4
AGAIN_S: Final = 1.0
"""Between two questions about the same book: a snapshot may be older than the change that waits for it, and a stream
that gaps all the time must not be hammered as well."""
AGAIN_MAX_S: Final = 30.0
"""The pause doubles up to this while one book does not come about."""


class Snapshots:
    """``ask(feed)`` takes over what the feed's protocol wants; answers are published through the feed."""

    def __init__(self, rest: BinanceRest, clock: Clock) -> None:
        self._rest = rest
        self._clock = clock
        self._wanted: asyncio.Queue[tuple[BinanceFeed, str]] = asyncio.Queue()
        self._waiting: set[tuple[int, str]] = set()
        self._tries: dict[str, tuple[int, float]] = {}
        self._workers: list[asyncio.Task[None]] = []

    @property
    def pending(self) -> int:
        """Books that are asked for and have not come."""
        return len(self._waiting)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._workers = [loop.create_task(self._work(), name=f"books-{number}") for number in range(WORKERS)]

    async def stop(self) -> None:
        """Safe to call twice."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def ask(self, feed: BinanceFeed) -> None:
        """Called in the feed's own read; the request leaves later."""
        wanted, feed.protocol.snapshots_wanted = feed.protocol.snapshots_wanted, set()
        for symbol in sorted(wanted):
            key = (id(feed), symbol)
            if key not in self._waiting:  # bounded by the number of books
                self._waiting.add(key)
                self._wanted.put_nowait((feed, symbol))

    async def _work(self) -> None:
        while True:
            feed, symbol = await self._wanted.get()
            try:
                await self._fetch(feed, symbol)
            except RestError as error:
                _log.warning("%s: the book of %s was not given: %s", self._rest.venue, symbol, error.seen)
                feed.protocol.ask_again(symbol)
            except Exception:
                _log.exception("%s: the book of %s failed; it is asked for again", self._rest.venue, symbol)
                feed.protocol.ask_again(symbol)
            finally:
                self._waiting.discard((id(feed), symbol))
            self.ask(feed)

    async def _fetch(self, feed: BinanceFeed, symbol: str) -> None:
        await self._pause(symbol)
        params = [("symbol", symbol), ("limit", str(DEPTH_LEVELS))]
        body = await self._rest.get("/depth", params, weight=DEPTH_WEIGHT[self._rest.venue])
        if feed.handle is None:
            return  # the next connection wants a book of its own, and asks
        feed.publish_all(feed.protocol.receive_answer(f"/depth?symbol={symbol}", body, self._clock.now_ns()))
        if symbol not in feed.protocol.snapshots_wanted:
            self._tries[symbol] = (1, self._tries[symbol][1])

    async def _pause(self, symbol: str) -> None:
        """Until the book may be asked for again."""
        loop = asyncio.get_running_loop()
        tries, last_s = self._tries.get(symbol, (0, 0.0))
        if tries:
            pause_s = min(AGAIN_S * 2 ** min(tries - 1, 10), AGAIN_MAX_S)
            await asyncio.sleep(max(last_s + pause_s - loop.time(), 0.0))
        self._tries[symbol] = (tries + 1, loop.time())
