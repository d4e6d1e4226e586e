"""Models that keep a state from row to row: when they begin anew.

Owns the occasions: a hole in the feed, a market that opens, a seat that is taken.  Rows that a model was not asked
about are ``engine.predicting``'s to tell.  Part of ``engine.core.TradingCore``.
"""

from __future__ import annotations

from engine.lanes import Lane, seats_of
from engine.seats import Seat
from engine.venues import VenueStates
from engine.view import CoreView


class Resets:
    """Of one core.  ``lanes`` is shared with the market's side, by instrument."""

    def __init__(self, lanes: dict[str, Lane], view: CoreView, venues: VenueStates) -> None:
        self._lanes = lanes
        self._view = view
        self._venues = venues
        self._shut: set[str] = set()  # instruments that do not trade now, of models that keep a state

    def on_break(self, lane: Lane, reason: str) -> None:
        """The rows that come do not follow on those before (fault E8)."""
        for seat in seats_of(lane):
            seat.whole_ns = self._view.now_ns
            reset(lane, seat, reason)

    def on_status(self) -> None:
        """A market has opened or closed, as far as a model that keeps a state must know."""
        for name, lane in self._lanes.items():
            seats = [seat for seat in seats_of(lane) if seat.reset is not None]
            if not seats:
                continue
            if self._venues.why_shut(name):
                self._shut.add(name)
            elif name in self._shut:
                self._shut.discard(name)
                for seat in seats:
                    reset(lane, seat, "the market has opened")


def reset(lane: Lane, seat: Seat, reason: str) -> None:
    """The rows that come do not follow on those that the model knows."""
    if seat.reset is not None:
        seat.reset(lane.instrument.id, reason)
