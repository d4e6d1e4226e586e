"""Which venues, streams and instruments are open for orders, from the facts that said so.  One writer: the core."""

from __future__ import annotations

from engine.events import FeedDown, FeedUp, InstrumentStatus, TradingStatus, VenueStatus
from engine.instruments import Instrument

_ENTRY_STATUSES = frozenset({TradingStatus.TRADING, TradingStatus.LIMIT_ONLY, TradingStatus.POST_ONLY})


class VenueStates:
    """No order leaves for a venue unless both its market and its user stream are up and nothing is halted."""

    def __init__(self) -> None:
        self._up: dict[tuple[str, str], str] = {}  # (venue, stream) -> why it is down, "" when up
        self._venue_status: dict[str, TradingStatus] = {}
        self._instrument_status: dict[str, TradingStatus] = {}
        self._reasons: dict[str, str] = {}  # by instrument: what ``reason_closed`` found since the last fact

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

    def reason_closed(self, instrument: Instrument) -> str:
        """Empty when orders may leave; else what stands against it."""
        reason = self._reasons.get(instrument.id)
        if reason is None:
            reason = self._reasons[instrument.id] = self._find_reason(instrument)
        return reason

    def _find_reason(self, instrument: Instrument) -> str:
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
