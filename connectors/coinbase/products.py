"""Products as the venue lists them now: rules that changed and states, told while the session trades.

Owns when a product is read again, and what is told of it: ``InstrumentDefined`` where a rule is another one,
``InstrumentStatus`` where its switches are, ``SessionScheduled`` where the session of a contract has a known end.  What
becomes of orders is the core's (``engine.closures``).  A product that is gone, renamed or beyond understanding is
halted; one that cannot be read stays as it was, and is asked about again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from connectors.coinbase.directory import Directory
from connectors.rest import RestError
from connectors.rule_hints import HINTS
from engine.errors import VenueError
from engine.events import (
    InputEvent,
    InstrumentDefined,
    InstrumentStatus,
    OrderRejected,
    SessionScheduled,
    TradingStatus,
)
from engine.ports import Clock, Publish

SOON_S = 1.0
"""Between two readings that were asked for."""
SESSIONS_S = 30.0
"""Between two readings where contracts are traded and nothing else was set: their sessions open and close, and they
expire."""
LATE_NS = 60_000_000_000
"""How long after its close a product may still be told as open, with no later close, before that is believed."""
_OPEN = frozenset({TradingStatus.TRADING, TradingStatus.POST_ONLY, TradingStatus.LIMIT_ONLY})

_log = logging.getLogger(__name__)


class ProductWatch:
    """Every ``every_s`` seconds; 0: when asked alone, and every ``SESSIONS_S`` where there are contracts.

    ``confirm`` has the account confirmed: called when something that was closed is open again.
    """

    def __init__(
        self, directory: Directory, publish: Publish, clock: Clock, *, every_s: float, confirm: Callable[[], None]
    ) -> None:
        self._directory = directory
        self._publish = publish
        self._clock = clock
        self._every_s = every_s
        self._confirm = confirm
        self._status: dict[str, TradingStatus] = {}
        self._sessions: dict[str, tuple[int, int]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.changes = 0
        """Rules that were told anew."""

    def start(self) -> None:
        self._status.update(self._directory.statuses)
        if self._directory.contracts:
            self._every_s = self._every_s or SESSIONS_S
            for instrument in self._directory.contracts.values():
                self._schedule(instrument)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="products")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def on_event(self, event: InputEvent) -> None:
        """A refusal that speaks of rules or states has the products read again."""
        if type(event) is OrderRejected and event.reason in HINTS:
            self._wake.set()

    def on_status(self, event: InstrumentStatus) -> None:
        """What the status channel says: it closes at once; whether something is open is asked for, because the channel
        knows less than the product does."""
        if event.status in _OPEN:
            self._wake.set()
        else:
            self._tell(event.instrument, event.status, "by the status channel")

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s or None):
                    await self._wake.wait()
            self._wake.clear()
            for instrument in tuple(self._directory.instruments):
                try:
                    await self._look(instrument)
                except VenueError as error:
                    _log.warning("%s cannot be read: %s", instrument, error)
                except Exception:
                    _log.exception("%s: reading its product failed; it goes on", instrument)
            await asyncio.sleep(SOON_S)

    async def _look(self, instrument: str) -> None:
        try:
            found, status = await self._directory.read_again(instrument)
        except RestError as error:
            if error.status not in (400, 404):
                raise
            self._tell(instrument, TradingStatus.HALTED, f"the venue has no such product any more ({error})")
            return
        except VenueError as error:  # another product by this name, or rules that are no rules
            self._tell(instrument, TradingStatus.HALTED, str(error))
            return
        if found != self._directory.instruments[instrument]:
            self.changes += 1
            _log.warning("%s: its rules have changed", instrument)
            self._directory.instruments[instrument] = found
            now_ns = self._clock.now_ns()
            self._publish(InstrumentDefined(now_ns, now_ns, found))
        self._tell(instrument, status, "by its product")
        self._schedule(instrument)

    def _schedule(self, instrument: str) -> None:
        """Say when its session ends before it does: between two readings nobody would know."""
        session, before = self._directory.sessions[instrument], self._sessions.get(instrument, (0, 0))
        now_ns = self._clock.now_ns()
        if session == (0, 0) and self._status.get(instrument) in _OPEN and before[1] <= now_ns < before[1] + LATE_NS:
            return  # its close has just passed, and what is listed of it may be behind
        if session != before:
            self._sessions[instrument] = session
            self._publish(
                SessionScheduled(now_ns, now_ns, instrument.rpartition("@")[2], instrument, *session, "venue")
            )

    def _tell(self, instrument: str, status: TradingStatus, why: str) -> None:
        before = self._status.get(instrument)
        if before is status:
            return
        self._status[instrument] = status
        if status in _OPEN:
            _log.warning("%s is %s", instrument, status.value)
        else:
            _log.error("%s is %s, %s: no order leaves, entries are cancelled", instrument, status.value, why)
        now_ns = self._clock.now_ns()
        self._publish(InstrumentStatus(now_ns, now_ns, instrument, status))
        if status in _OPEN and before is not None and before not in _OPEN:
            self._confirm()
