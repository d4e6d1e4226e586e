"""Quotes by asking for them: the market stream of a venue that has none.

Owns the pace of the questions and when the market counts as up or down.  What an answer means is ``protocol``.
"""

from __future__ import annotations

import asyncio
import logging

from connectors.reconnect import Backoff
from connectors.robinhood.asking import Asker
from connectors.robinhood.protocol import QuoteProtocol
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp
from engine.ports import Clock, Publish

FAILURES_MAX = 3
"""So many questions in a row without a usable answer, and nobody knows the market."""

_log = logging.getLogger(__name__)


class QuotePoll:
    """``target`` is the question; one that is late is not made up for."""

    def __init__(
        self,
        venue: str,
        asker: Asker,
        target: str,
        protocol: QuoteProtocol,
        publish: Publish,
        clock: Clock,
        backoff: Backoff,
        *,
        every_s: float,
    ) -> None:
        self.answers = 0
        self.ups = 0
        self._venue = venue
        self._asker = asker
        self._target = target
        self._protocol = protocol
        self._publish = publish
        self._clock = clock
        self._backoff = backoff
        self._every_s = every_s
        self._failures = 0
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._venue}-quotes")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def wait_up(self, timeout_s: float) -> None:
        """Raises ``VenueError`` when no quote came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError:
            raise VenueError(
                f"{self._venue}: no quotes in {timeout_s:g} s", expected="best bid and ask", do="see its status"
            ) from None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            try:
                problem = await self._ask()
            except VenueError as error:
                problem = str(error)
            except Exception as error:
                _log.exception("%s: a question for quotes failed; it goes on", self._venue)
                problem = f"{type(error).__name__}: {error}"
            if problem:
                self._failed(problem)
                await asyncio.sleep(self._backoff.next_delay_s(loop.time()))
                due_s = loop.time()
                continue
            due_s = max(due_s + self._every_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    async def _ask(self) -> str:
        """One question; why there is no quote in its answer, empty when there is one."""
        body = await self._asker.raw(self._target, poll=True)
        now_ns = self._clock.now_ns()
        events = self._protocol.receive_frame(body, now_ns)
        if not events:
            return "an answer without a quote"
        self._failures = 0
        self._backoff.succeeded()
        self.answers += 1
        if not self._up.is_set():
            self._up.set()
            self.ups += 1
            self._publish(FeedUp(now_ns, now_ns, self._venue, "market"))
        for event in events:
            self._publish(event)
        return ""

    def _failed(self, reason: str) -> None:
        self._failures += 1
        if self._failures < FAILURES_MAX or not self._up.is_set():
            return
        self._up.clear()
        now_ns = self._clock.now_ns()
        self._publish(FeedDown(now_ns, now_ns, self._venue, "market", reason[:200]))
