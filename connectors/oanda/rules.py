"""Instruments as OANDA lists them now: rules that changed, and what is gone, told while the session trades.

Owns when the list is read again, and what is told of it: ``InstrumentDefined`` where a rule is another one,
``InstrumentStatus`` where an instrument is not listed any more, or again.  Whether its market is open the price stream
says; what becomes of orders is the core's (``engine.closures``).  A list that cannot be read changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from connectors.oanda.directory import Directory
from connectors.rule_hints import HINTS
from engine.errors import VenueError
from engine.events import InputEvent, InstrumentDefined, InstrumentStatus, OrderRejected, TradingStatus
from engine.instruments import Instrument
from engine.ports import Clock, Publish

SOON_S = 1.0
"""Between two readings that were asked for."""

_log = logging.getLogger(__name__)


class RuleWatch:
    """Every ``every_s`` seconds, and after a refusal that speaks of rules.

    ``redefine(name, instrument)`` hears of new rules before they are told, ``is_closed(id)`` says whether a market was
    closed when it was told of last, ``confirm`` has the account confirmed: called when what was gone is listed again.
    """

    def __init__(
        self,
        directory: Directory,
        publish: Publish,
        clock: Clock,
        *,
        every_s: float,
        redefine: Callable[[str, Instrument], None],
        is_closed: Callable[[str], bool],
        confirm: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._publish = publish
        self._clock = clock
        self._every_s = every_s
        self._redefine = redefine
        self._is_closed = is_closed
        self._confirm = confirm
        self._gone: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="oanda rules")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def on_event(self, event: InputEvent) -> None:
        """A refusal that speaks of rules or states has the list read again."""
        if type(event) is OrderRejected and event.reason in HINTS:
            self._wake.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.look()
            except VenueError as error:
                _log.warning("%s; the rules that are known hold", error)
            except Exception:
                _log.exception("reading the rules again failed; those that are known hold")
            await asyncio.sleep(SOON_S)

    async def look(self) -> None:
        """Read the list once.  Raises ``VenueError``."""
        listed = await self._directory.list_all()
        for name, known in tuple(self._directory.instruments.items()):
            found = listed.get(name)
            if found is None:
                self._lose(name, known.id)
                continue
            if found != known:
                _log.warning("%s: its rules have changed", known.id)
                self._directory.instruments[name] = found
                self._redefine(name, found)
                now_ns = self._clock.now_ns()
                self._publish(InstrumentDefined(now_ns, now_ns, found))
            if name in self._gone:
                self._gone.discard(name)
                self._tell(known.id, TradingStatus.HALTED if self._is_closed(known.id) else TradingStatus.TRADING)
                self._confirm()

    def _lose(self, name: str, instrument: str) -> None:
        if name not in self._gone:
            self._gone.add(name)
            _log.error("%s is not listed any more: no order leaves, entries are cancelled", instrument)
            self._tell(instrument, TradingStatus.HALTED)

    def _tell(self, instrument: str, status: TradingStatus) -> None:
        now_ns = self._clock.now_ns()
        self._publish(InstrumentStatus(now_ns, now_ns, instrument, status))
