"""Consolidation of recorded events, by the same classes as in a session.

Owns the timers that recorded events lack.  Quotes, trades and books are judged by ``engine.quality``, the price is made
by ``Consolidator``; a session's core calls the two in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.consolidated.consolidator import Consolidator
from engine.consolidated.definition import ConsolidatedDefinition
from engine.counters import Counters
from engine.events import Bar, BookDelta, BookSnapshot, Event, FeedDown, Gap, InstrumentDefined, Quote, Timer, Trade
from engine.instruments import Instrument
from engine.lanes import Lane
from engine.quality.gate import DEFAULT, QualityGate
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import ACCEPTED, ISSUES, KEEPS_ENTRIES

TIMER_NS = 100_000_000
"""The daemon's default (``engine.timer_ms``)."""


def consolidate(
    events: Iterable[Event],
    definition: ConsolidatedDefinition,
    instruments: Iterable[Instrument],
    *,
    timer_ns: int | None = TIMER_NS,
    tolerances: Tolerances = DEFAULT,
) -> Iterator[Quote | Trade]:
    """The consolidated instrument's quotes and trades, from its members' events in order of receipt.

    ``instruments`` are the members' rules.  Events of other instruments are passed over.  ``timer_ns``: where the
    record has no ``Timer`` events, the grid on which a mute venue is noticed; None takes the record's own.
    ``tolerances`` are the quality gate's.  Raises ``ConfigError`` where the members are not the same thing.
    """
    yield from play(events, Consolidator(definition, instruments), timer_ns=timer_ns, tolerances=tolerances)


def play(
    events: Iterable[Event],
    consolidator: Consolidator,
    *,
    timer_ns: int | None = TIMER_NS,
    tolerances: Tolerances = DEFAULT,
) -> Iterator[Quote | Trade]:
    """``consolidate`` on a consolidator of one's own, whose ``at`` may be asked after each event that comes out."""
    lanes = {
        name: Lane(rule, None, None, [], quality=QualityGate(rule, tolerances))
        for name, rule in consolidator.rules.items()
    }
    counters = Counters()
    for event in events:
        if timer_ns is not None:
            yield from _pass_time(consolidator, event.ts_recv_ns, timer_ns)
        made: Quote | Trade | None = None
        if isinstance(event, Quote | Trade | BookDelta | BookSnapshot):
            lane = lanes.get(event.instrument)
            if lane is not None:
                made = _take(consolidator, lane, counters, event)
        elif isinstance(event, Timer):
            made = consolidator.on_timer(event.ts_recv_ns)
        elif isinstance(event, Gap | FeedDown):
            made = _break(consolidator, lanes, event)
        elif isinstance(event, InstrumentDefined) and event.definition.id in lanes:
            lane = lanes[event.definition.id]
            lane.instrument = event.definition
            lane.quality.redefine(event.definition)
            consolidator.redefine(event.definition)
        if made is not None:
            yield made


def consolidated_bars(
    events: Iterable[Event],
    definition: ConsolidatedDefinition,
    instruments: Iterable[Instrument],
    *,
    timer_ns: int | None = TIMER_NS,
    tolerances: Tolerances = DEFAULT,
) -> Iterator[Bar]:
    """The finished bars of ``definition.bar_ns``.  Raises ``ValueError`` where the definition has none."""
    consolidator = Consolidator(definition, instruments)
    if consolidator.bars is None:
        raise ValueError(f"{definition.instrument} has no bar_ns")
    finished: list[Bar] = []
    consolidator.bars.finished = finished
    for _ in play(events, consolidator, timer_ns=timer_ns, tolerances=tolerances):
        if finished:
            yield from finished
            finished.clear()
    yield from finished


def _take(
    consolidator: Consolidator, lane: Lane, counters: Counters, event: Quote | Trade | BookDelta | BookSnapshot
) -> Quote | Trade | None:
    """Judge a member's event and consolidate it, as ``engine.core`` does."""
    if isinstance(event, Trade):
        return consolidator.on_trade(event) if lane.quality.trade(event) & 3 == ACCEPTED else None
    if isinstance(event, BookDelta | BookSnapshot):
        return _take_book(consolidator, lane, counters, event)
    lane.quality.refer(consolidator.mid_px)
    code = lane.quality.quote(event)
    if code and not lane.usable(code, counters):
        return _refuse(consolidator, event, code)
    lane.book.apply_quote(event)
    return consolidator.on_quote(event)


def _take_book(
    consolidator: Consolidator, lane: Lane, counters: Counters, event: BookDelta | BookSnapshot
) -> Quote | Trade | None:
    """The best prices of a book, where it changed them."""
    book = lane.book
    code = lane.quality.delta(event) if isinstance(event, BookDelta) else lane.quality.snapshot(event)
    if code and not lane.usable(code, counters):
        lane.apply_unusable(event, code)
        return _refuse(consolidator, event, code)
    best = book.apply_delta(event) if isinstance(event, BookDelta) else book.apply_snapshot(event)
    if best is not None:
        return _take(consolidator, lane, counters, best)
    if not book.has_levels:
        return None
    if lane.top.suspect:
        return consolidator.on_empty_side(event.instrument, event.ts_recv_ns)
    return consolidator.on_confirmed(event.instrument, event.ts_event_ns, event.ts_recv_ns)


def _refuse(consolidator: Consolidator, event: Quote | BookDelta | BookSnapshot, code: int) -> Quote | None:
    if code >> 2 in KEEPS_ENTRIES:
        return None
    return consolidator.on_defect(event.instrument, event.ts_recv_ns, ISSUES[code >> 2])


def _break(consolidator: Consolidator, lanes: dict[str, Lane], event: Gap | FeedDown) -> Quote | None:
    """A hole in the market stream of a venue, or of one instrument there."""
    if isinstance(event, FeedDown) and event.stream != "market":
        return None
    named = event.instrument if isinstance(event, Gap) else ""
    broken = [name for name, lane in lanes.items() if lane.instrument.venue == event.venue and named in ("", name)]
    for name in broken:
        lanes[name].book.invalidate()
    return consolidator.on_break(broken, event.ts_recv_ns) if broken else None


def _pass_time(consolidator: Consolidator, until_ns: int, timer_ns: int) -> Iterator[Quote]:
    """The timers up to ``until_ns`` at which a member is too old now, on the grid of ``timer_ns``; no other matters."""
    if until_ns < consolidator.now_ns - consolidator.now_ns % timer_ns + timer_ns:
        return  # no timer lies between
    while (expiry_ns := consolidator.next_expiry_ns) is not None:
        due_ns = -(-expiry_ns // timer_ns) * timer_ns
        if due_ns > until_ns:
            return
        made = consolidator.on_timer(due_ns)
        if made is not None:
            yield made
