"""Recorded events as features would have been given them: judged, and books with the best prices that they make.

Owns the offline twin of what ``engine.core.TradingCore`` does with a market event before its features see it, so that
a model is trained on the rows that it will be served.  A test feeds both the same events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from engine.counters import Counters
from engine.events import Bar, BookDelta, BookSnapshot, MarketEvent, Observation, Quote, Trade
from engine.instruments import Instrument
from engine.lanes import Lane
from engine.quality.gate import DEFAULT, QualityGate
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import is_shown


def believed(
    events: Iterable[MarketEvent], instruments: Mapping[str, Instrument], tolerances: Tolerances = DEFAULT
) -> Iterator[MarketEvent]:
    """The events that reach the feature buffers, in order; ``instruments`` by id, others' events are left out.

    A consolidated price, which live may vouch for a member's, has no part in it.
    """
    lanes = {name: _Judged(instrument, tolerances) for name, instrument in instruments.items()}
    for event in events:
        if type(event) is Observation:
            yield event
            continue
        lane = lanes.get(getattr(event, "instrument", ""))
        if lane is not None:
            yield from lane.take(event)


class _Judged:
    """One instrument: the core's own lane, with nobody behind it but whoever takes the events."""

    __slots__ = ("_counters", "_gate", "_lane")

    def __init__(self, instrument: Instrument, tolerances: Tolerances) -> None:
        self._gate = QualityGate(instrument, tolerances)
        self._lane = Lane(instrument, None, None, [], quality=self._gate)
        self._counters = Counters()

    def take(self, event: MarketEvent) -> Iterator[MarketEvent]:
        if type(event) is Quote:
            code = self._gate.quote(event)
            if self._usable(code):
                self._lane.book.apply_quote(event)
                yield event
            elif is_shown(code):
                self._lane.show(event)
        elif type(event) is Trade:
            if self._usable(self._gate.trade(event)):
                yield event
        elif type(event) is Bar:
            if self._usable(self._gate.bar(event)):
                yield event
        elif type(event) is BookSnapshot:
            code = self._gate.snapshot(event)
            if self._usable(code):
                best = self._lane.book.apply_snapshot(event)
                yield event
                if best is not None:
                    yield from self.take(best)
            else:
                yield self._unusable(event, code)
        elif type(event) is BookDelta:
            code = self._gate.delta(event)
            if self._usable(code):
                best = self._lane.book.apply_delta(event)
                yield event
                if best is not None:
                    yield from self.take(best)
            else:
                yield self._unusable(event, code)

    def _unusable(self, change: BookSnapshot | BookDelta, code: int) -> BookSnapshot | BookDelta:
        """Prices that are shown to exits live make no row, but the gate goes by them, as ``engine.market`` has it."""
        told = self._lane.apply_unusable(change, code)
        best = self._lane.book.best(change.ts_event_ns, change.ts_recv_ns) if is_shown(code) else None
        if best is not None and self._gate.is_plausible(best):
            self._lane.show(best)
        return told

    def _usable(self, code: int) -> bool:
        return not code or self._lane.usable(code, self._counters)
