"""Which venues, streams and instruments are open for orders, from the facts that said so.  One writer: the core."""

from __future__ import annotations

from collections.abc import Callable

from engine.events import FeedDown, FeedUp, InstrumentStatus, TradingStatus, VenueStatus
from engine.instruments import Instrument

CONSOLIDATED = "consolidated"
"""Venue of instruments that are a price over several venues and no market: nothing is ever ordered there."""
INVENTED = "_sandbox"
"""Ending of the venue under which is stored what no market has traded: nobody can mistake it for a market's prices."""
_ENTRY_STATUSES = frozenset({TradingStatus.TRADING, TradingStatus.LIMIT_ONLY, TradingStatus.POST_ONLY})


class _Reasons(dict[str, str]):
    """Reasons by instrument id, each looked for when it is first asked for after a change."""

    def __init__(self, find: Callable[[str], str | None]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, instrument: str) -> str:
        reason = self._find(instrument)
        if reason is None:
            return "instrument not defined"
        self[instrument] = reason
        return reason


class VenueStates:
    """No order leaves for a venue unless both its market and its user stream are up and nothing is halted."""

    def __init__(self) -> None:
        self._up: dict[tuple[str, str], str] = {}  # (venue, stream) -> why it is down, "" when up
        self._venue_status: dict[str, TradingStatus] = {}
        self._instrument_status: dict[str, TradingStatus] = {}
        self._definitions: dict[str, Instrument] = {}
        self._reasons = _Reasons(self._find_reason)  # emptied by every fact
        # Asked for each order and by strategies: no more than a look-up of a dict.
        self.instrument: Callable[[str], Instrument] = self._definitions.__getitem__
        """The definition of an instrument id.  Raises ``KeyError``."""
        self.reason_closed: Callable[[str], str] = self._reasons.__getitem__
        """Empty when orders in that instrument id may leave; else what stands against it."""

    def define(self, instrument: Instrument) -> None:
        self._definitions[instrument.id] = instrument
        self._reasons.clear()

    def feed_up(self, event: FeedUp) -> None:
        self._up[event.venue, event.stream] = ""
        self._reasons.clear()

    def feed_down(self, event: FeedDown) -> None:
        self._up[event.venue, event.stream] = event.reason or "down"
        self._reasons.clear()

    def venue_status(self, event: VenueStatus) -> None:
        self._venue_status[event.venue] = event.status
        self._reasons.clear()

    def instrument_status(self, event: InstrumentStatus) -> None:
        self._instrument_status[event.instrument] = event.status
        self._reasons.clear()

    def _find_reason(self, name: str) -> str | None:
        instrument = self._definitions.get(name)
        if instrument is None:
            return None
        if instrument.venue == CONSOLIDATED:
            return f"{name} is a consolidated price, no market: orders go to one of its members"
        for stream in ("market", "user"):
            why = self._up.get((instrument.venue, stream), "never up")
            if why:
                return f"{stream} stream of {instrument.venue} is down: {why}"
        status = self._venue_status.get(instrument.venue, TradingStatus.TRADING)
        if status not in _ENTRY_STATUSES:
            return f"venue {instrument.venue} is {status.value}"
        status = self._instrument_status.get(instrument.id, TradingStatus.TRADING)
        if status not in _ENTRY_STATUSES:
            return f"{instrument.id} is {status.value}"
        return ""
