"""Which instruments of a paper venue trade now, by what the real venue tells of its states and hours.

Owns that answer for ``exchange``: what the real market would not fill, paper does not fill either.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.events import InputEvent, InstrumentStatus, SessionScheduled, TradingStatus, VenueStatus
from engine.hours import TradingHours

_OPEN = frozenset({TradingStatus.TRADING, TradingStatus.POST_ONLY, TradingStatus.LIMIT_ONLY})


class MarketStates:
    """Of one venue.  ``now_ns`` is the feed's time."""

    def __init__(self, venue: str, now_ns: Callable[[], int]) -> None:
        self._venue = venue
        self._hours = TradingHours(now_ns)
        self._halted: set[str] = set()
        self._is_shut = False

    def take(self, event: InputEvent) -> None:
        """Events of other kinds and venues say nothing here."""
        if isinstance(event, InstrumentStatus):
            (self._halted.discard if event.status in _OPEN else self._halted.add)(event.instrument)
        elif isinstance(event, VenueStatus) and event.venue == self._venue:
            self._is_shut = event.status not in _OPEN
        elif isinstance(event, SessionScheduled) and event.venue == self._venue:
            self._hours.take(event)

    def is_shut(self, instrument: str) -> bool:
        return self._is_shut or instrument in self._halted or bool(self._hours.why_closed(self._venue, instrument))
