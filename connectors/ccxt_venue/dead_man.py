"""The exchange's own dead man's switch: it cancels everything of the account unless it is asked again in time.

Owns when it is asked.  It stands in for our watchdog where that is gone as well: a machine without power, a network
that is down.  Nothing is asked before an order of this session has left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from engine.errors import KestrelError

LOOK_S: Final = 0.5
PARTS: Final = 3.0
"""It is asked again when a third of its time is over: two requests may be lost."""

_log = logging.getLogger(__name__)


class DeadMansSwitch:
    """``ask(ms)`` has the exchange cancel everything after so many milliseconds, 0: never; raises ``VenueError``.

    ``is_needed``: whether an order of this session may live there.
    """

    def __init__(
        self,
        venue: str,
        ask: Callable[[int], Awaitable[object]],
        *,
        timeout_s: float,
        is_needed: Callable[[], bool],
    ) -> None:
        self.asked = 0
        """Times that the exchange has agreed."""
        self._venue = venue
        self._ask = ask
        self._timeout_s = timeout_s
        self._is_needed = is_needed
        self._task: asyncio.Task[None] | None = None
        self._may_be_set = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_asking(), name=f"{self._venue}-dead-man")

    async def stop(self) -> None:
        """Ask no more, and take it back: what is left at the exchange is left on purpose."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._may_be_set:
            try:
                await self._ask(0)
            except KestrelError as error:
                _log.warning(
                    "%s: its dead man's switch is not taken back (%s): in %g s it cancels what is open there",
                    self._venue,
                    error,
                    self._timeout_s,
                )
                return
            self._may_be_set = False

    async def _keep_asking(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = 0.0
        failing = False
        while True:
            await asyncio.sleep(min(LOOK_S, self._timeout_s / PARTS))
            if not self._is_needed() or loop.time() < due_s:
                continue
            due_s = loop.time() + self._timeout_s / PARTS
            self._may_be_set = True
            try:
                await self._ask(round(self._timeout_s * 1000))
            except KestrelError as error:
                if not failing:
                    _log.warning("%s: its dead man's switch is not set: %s; asked again", self._venue, error)
                failing = True
                continue
            if failing:
                _log.info("%s: its dead man's switch is set again", self._venue)
            failing = False
            self.asked += 1
