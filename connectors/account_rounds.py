"""An account is confirmed again and again: every so often, at once when something may have hidden facts, and sooner
after a round that failed.

Owns when.  What a round asks is each venue's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from engine.errors import VenueError

RETRY_S: Final = 5.0
"""After a round that failed; doubles with each further one, up to the usual pause."""

_log = logging.getLogger(__name__)


class AccountRounds:
    """``settle`` confirms the account once and raises ``VenueError`` when that cannot be had now: the next round asks
    again, and what was not read is not zero.  ``failures`` and ``last_error`` are of rounds alone."""

    def __init__(self, venue: str, settle: Callable[[], Awaitable[None]], *, every_s: float) -> None:
        self.failures = 0
        self.last_error = ""
        self._venue = venue
        self._settle = settle
        self._every_s = every_s
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._venue}-account")

    async def stop(self) -> None:
        """Safe to call twice, and without a start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """Have a round soon.  If it fails the next one comes after the first pause, whatever failed before."""
        self._wake.set()

    async def _run(self) -> None:
        failed = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s(failed, self._every_s)):
                    await self._wake.wait()
            if self._wake.is_set():
                self._wake.clear()
                failed = 0
            failed = 0 if await self._is_confirmed() else failed + 1

    async def _is_confirmed(self) -> bool:
        try:
            await self._settle()
        except VenueError as error:
            self.last_error = str(error)
            _log.warning("%s: the account could not be confirmed: %s", self._venue, error)
        except Exception as error:
            self.last_error = f"{type(error).__name__}: {error}"
            _log.exception("%s: confirming the account failed; it goes on", self._venue)
        else:
            return True
        self.failures += 1
        return False


def pause_s(failed: int, every_s: float) -> float:
    """Until the next round, after so many in a row that failed."""
    return min(RETRY_S * 2 ** min(failed - 1, 30), every_s) if failed else every_s
