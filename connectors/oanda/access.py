"""Whether the venue takes our token: noticed by its refusals, told as the state of the venue, tried at a slow pace.

Owns ``VenueStatus`` of the venue.  One refusal proves little; from the second in a row on the venue counts as halted
for orders, and one small question is asked again after pauses that double (C8).  When the token is taken again the
account is confirmed before entries go on (``engine.venues``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from engine.errors import VenueError
from engine.events import TradingStatus, VenueStatus
from engine.ports import Clock, Publish

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
REFUSALS_MAX = 2

_log = logging.getLogger(__name__)


class TokenAccess:
    """``ask`` is a question that needs the token and raises ``VenueError`` when it is refused; ``confirm`` has the
    account confirmed."""

    def __init__(
        self,
        venue: str,
        publish: Publish,
        clock: Clock,
        *,
        ask: Callable[[], Awaitable[None]],
        confirm: Callable[[], None],
    ) -> None:
        self._venue = venue
        self._publish = publish
        self._clock = clock
        self._ask = ask
        self._confirm = confirm
        self._refusals = 0
        self._pause_s = FIRST_PAUSE_S
        self._task: asyncio.Task[None] | None = None

    @property
    def is_refused(self) -> bool:
        return self._task is not None

    def answered(self, status: int) -> None:
        """The HTTP status of an answer to an order, a cancel or a stream."""
        if status not in (401, 403):
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals >= REFUSALS_MAX and self._task is None:
            why = f"{self._refusals} requests in a row were answered {status}"
            _log.error("%s does not take the token: %s; no order leaves, it is asked again", self._venue, why)
            self._tell(TradingStatus.HALTED, why)
            self._task = asyncio.get_running_loop().create_task(self._ask_again(), name=f"{self._venue}-token")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            # Longer at once: a token that is taken here and refused with the next orders is not asked about faster.
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            try:
                await self._ask()
            except VenueError as error:
                _log.info("%s: %s", self._venue, error)
                continue
            except Exception:
                _log.exception("%s: asking about the token failed; it is asked again", self._venue)
                continue
            self._task, self._refusals = None, 0
            _log.warning("%s takes the token again; the account is confirmed before entries go on", self._venue)
            self._tell(TradingStatus.TRADING, "")
            self._confirm()
            return

    def _tell(self, status: TradingStatus, text: str) -> None:
        now_ns = self._clock.now_ns()
        self._publish(VenueStatus(now_ns, now_ns, self._venue, status, text))
