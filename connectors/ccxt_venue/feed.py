"""The market of one exchange kept up: objects of the library made, watched, replaced and let go.

Owns whether the market stream counts as up, and the change from one object to the next: at trouble at once, by the
clock without a hole (the new one is alive before the old one goes).  What an object's loops do is ``streams``'.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable

from connectors.ccxt_venue.streams import Streams
from connectors.reconnect import Backoff
from engine.errors import KestrelError, VenueError
from engine.events import FeedDown, FeedUp, InputEvent, Trade
from engine.ports import Clock, Publish

_log = logging.getLogger(__name__)
LOOK_S = 0.5
HEARD_MAX = 10_000
"""Events of an object that is not yet in use; of those only trades that nobody else told are told later."""


class MarketFeed:
    """``make(publish, changed)`` gives open streams that have not begun.  One that is not alive again within
    ``confirm_s`` of its trouble is replaced; each after ``recycle_s``."""

    def __init__(
        self,
        venue: str,
        make: Callable[[Callable[[list[InputEvent]], None], Callable[[Streams], None]], Awaitable[Streams]],
        *,
        publish: Publish,
        clock: Clock,
        rng: random.Random,
        confirm_s: float,
        recycle_s: float,
        backoff_base_s: float = 1.0,
        backoff_cap_s: float = 30.0,
    ) -> None:
        self.current: Streams | None = None
        self.connections = 0
        self.recycled = 0
        self.last_error = ""
        self._venue = venue
        self._make = make
        self._publish = publish
        self._clock = clock
        self._confirm_s = confirm_s
        self._recycle_s = recycle_s
        self._backoff = Backoff(rng, base_s=backoff_base_s, cap_s=backoff_cap_s)
        self._up = False
        self._stopping = False
        self._renew = asyncio.Event()
        self._first_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, timeout_s: float) -> None:
        """Returns when every symbol's price is told.  Raises ``VenueError`` with what is known after that long."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._venue}-market")
        try:
            async with asyncio.timeout(timeout_s):
                await self._first_up.wait()
        except TimeoutError:
            why = self.last_error or "; ".join(self._missing()[:3]) or "nothing was told"
            raise VenueError(
                f"{self._venue} market is not up after {timeout_s:g} s: {why[:300]}",
                expected="a price of every symbol",
                do="check the symbols, the network and the exchange's status",
            ) from None

    async def stop(self) -> None:
        """Loops, then connections; the last ``FeedDown`` is published before this returns."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._drop("stopped")
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def renew(self, reason: str) -> None:
        """Have everything told anew, by another object."""
        self.last_error = reason
        self._renew.set()

    def _missing(self) -> list[str]:
        return [] if self.current is None else list(self.current.lost.values())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            try:
                await self._serve()
            except KestrelError as error:
                self.last_error = error.seen
                _log.warning("%s market: %s", self._venue, error)
            except Exception as error:
                # A defect must not leave the stream down for ever without a word.
                self.last_error = f"{type(error).__name__}: {error}"
                _log.exception("%s market failed; it is begun anew", self._venue)
            self._drop(self.last_error)
            await asyncio.sleep(self._backoff.next_delay_s(loop.time()))

    async def _serve(self) -> None:
        """One object after the other, until one of them stays dead."""
        await self._take(await self._begun(self._tell))
        loop = asyncio.get_running_loop()
        born_s = alive_s = loop.time()
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._renew.wait()
                self._renew.clear()
                return
            except TimeoutError:
                pass
            current = self.current
            assert current is not None
            now_s = loop.time()
            if current.failed:
                self.last_error = current.failed
                return
            if current.is_alive:
                alive_s = now_s
                self._backoff.succeeded()
            elif now_s - alive_s > self._confirm_s:
                self.last_error = next(iter(current.lost.values()))
                return
            if now_s - born_s > self._recycle_s and await self._recycle():
                born_s = loop.time()

    async def _begun(self, publish: Callable[[list[InputEvent]], None]) -> Streams:
        """Alive or not: the first prices are asked for, the loops run."""
        streams = await self._make(publish, self._on_change)
        try:
            await streams.prime()
        except BaseException:
            await streams.stop()
            raise
        self.connections += 1
        streams.start()
        return streams

    async def _take(self, streams: Streams) -> None:
        self.current = streams
        self._on_change(streams)

    async def _recycle(self) -> bool:
        """Another object in place of this one, as soon as it is alive; False when that could not be had now."""
        heard: deque[InputEvent] = deque(maxlen=HEARD_MAX)
        turn: list[Callable[[list[InputEvent]], None]] = [heard.extend]
        try:
            fresh = await self._begun(lambda events: turn[0](events))
        except KestrelError as error:
            _log.warning("%s market: not recycled now: %s", self._venue, error)
            return False
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._confirm_s
        try:
            while not fresh.is_alive and loop.time() < until_s:
                await asyncio.sleep(LOOK_S / 5)
            if not fresh.is_alive:
                _log.warning("%s market: not recycled now: %s", self._venue, next(iter(fresh.lost.values())))
                await fresh.stop()
                return False
        except BaseException:
            await fresh.stop()
            raise
        old, self.current = self.current, fresh
        turn[0] = self._tell
        if old is not None:
            known = {reader.instrument: reader for reader in old.readers.values()}
            self._tell([one for one in heard if type(one) is Trade and not known[one.instrument].knows(one.trade_id)])
        now_ns = self._clock.now_ns()
        for reader in fresh.readers.values():
            self._tell(reader.present(now_ns))
        self._on_change(fresh)
        self.recycled += 1
        if old is not None:
            old.mute()
            await old.stop()
        return True

    def _drop(self, reason: str) -> None:
        """Let go of the object; another one does not wait until a mute peer has confirmed its end."""
        current, self.current = self.current, None
        self._down(reason or "lost")
        if current is not None:
            current.mute()
            task = asyncio.get_running_loop().create_task(current.stop(), name=f"{self._venue}-leaving")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    # --- what is told -----------------------------------------------------------------------------------------------

    def _tell(self, events: list[InputEvent]) -> None:
        for event in events:
            self._publish(event)

    def _on_change(self, streams: Streams) -> None:
        if streams is not self.current:
            return
        if streams.is_alive and not self._up:
            self._up = True
            self.last_error = ""
            now_ns = self._clock.now_ns()
            self._publish(FeedUp(now_ns, now_ns, self._venue, "market"))
            self._first_up.set()
        elif not streams.is_alive:
            self._down(next(iter(streams.lost.values())))

    def _down(self, reason: str) -> None:
        if self._up:
            self._up = False
            now_ns = self._clock.now_ns()
            self._publish(FeedDown(now_ns, now_ns, self._venue, "market", reason[:300]))
