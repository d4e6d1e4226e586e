"""Published series of a live session: each observation when its publication time has come.

Owns when they are published to the bus.  Where they lie is ``engine.data.published``; the catalogue is read again now
and then by a worker thread, so that what is imported meanwhile reaches a session that runs for months.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from engine.errors import DataError
from engine.events import Observation
from engine.ports import Clock, Publish
from engine.published import known_before

LONGEST_WAIT_S: Final = 1.0
"""A clock that was set shows after that long."""


class PublishedFeed:
    """``start`` before the venue's, so that the first row knows what was published; ``stop`` ends it.

    ``read`` gives all observations in order of publication and may take its time; it is called every ``renew_s``.
    ``report`` gets a line when that fails: the session goes on with what it has.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Observation]],
        publish: Publish,
        clock: Clock,
        *,
        history_ns: int,
        renew_s: float,
        report: Callable[[str], None],
    ) -> None:
        self._read = read
        self._publish = publish
        self._clock = clock
        self._history_ns = history_ns
        self._renew_s = renew_s
        self._report = report
        self._failed = False
        self._taken: set[Observation] = set()
        self._waiting: list[Observation] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Publish what is known now.  Raises ``DataError`` when the series cannot be read."""
        observations = await asyncio.to_thread(self._read)
        now_ns = self._clock.now_ns()
        for observation in known_before(observations, now_ns, self._history_ns):
            self._publish(msgspec.structs.replace(observation, ts_recv_ns=now_ns))
        self._taken.update(observations)
        self._waiting = [observation for observation in observations if observation.ts_event_ns >= now_ns]
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Publish nothing any more.  Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + self._renew_s
        while True:
            left_s = (self._waiting[0].ts_event_ns - self._clock.now_ns()) / 1e9 if self._waiting else LONGEST_WAIT_S
            await asyncio.sleep(min(max(left_s, 0.0), LONGEST_WAIT_S))
            self.advance()
            if loop.time() >= renew_at:
                await self._renew()
                renew_at = loop.time() + self._renew_s

    def advance(self) -> None:
        """Publish what has become due."""
        now_ns = self._clock.now_ns()
        while self._waiting and self._waiting[0].ts_event_ns <= now_ns:
            self._publish(msgspec.structs.replace(self._waiting.pop(0), ts_recv_ns=now_ns))

    async def _renew(self) -> None:
        """Take in what was stored since, also what was published before now: it is known from now on."""
        try:
            observations = await asyncio.to_thread(self._read)
        except DataError as error:
            if not self._failed:
                self._report(f"published series are not read again: {error}")
            self._failed = True
            return
        self._failed = False
        fresh = [observation for observation in observations if observation not in self._taken]
        self._taken.update(fresh)
        self._waiting = sorted([*self._waiting, *fresh], key=lambda one: (one.ts_event_ns, one.period_end_ns))
