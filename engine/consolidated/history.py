"""Consolidation of recorded events, by the same classes as in a session.

Owns the timers that recorded events lack.  Quotes and trades are judged by ``engine.quality``, the price is made by
``Consolidator``; a session's core calls the two in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.consolidated.consolidator import Consolidator
from engine.consolidated.definition import ConsolidatedDefinition
from engine.events import Bar, Event, FeedDown, Gap, Quote, Timer, Trade
from engine.instruments import Instrument
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
    gates = {name: QualityGate(rule, tolerances) for name, rule in consolidator.rules.items()}
    for event in events:
        if timer_ns is not None:
            yield from _pass_time(consolidator, event.ts_recv_ns, timer_ns)
        if isinstance(event, Quote | Trade):
            gate = gates.get(event.instrument)
            made = None if gate is None else _take(consolidator, gate, event)
        elif isinstance(event, Timer):
            made = consolidator.on_timer(event.ts_recv_ns)
        elif isinstance(event, Gap | FeedDown):
            yield from _break(consolidator, event)
            continue
        else:
            continue
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


def _take(consolidator: Consolidator, gate: QualityGate, event: Quote | Trade) -> Quote | Trade | None:
    """Judge a member's event and consolidate it, as ``engine.core`` does."""
    if isinstance(event, Trade):
        return consolidator.on_trade(event) if gate.trade(event) & 3 == ACCEPTED else None
    gate.refer(consolidator.mid_px)
    code = gate.quote(event)
    if code & 3 == ACCEPTED:
        return consolidator.on_quote(event)
    if code >> 2 in KEEPS_ENTRIES:
        return None
    return consolidator.on_defect(event.instrument, event.ts_recv_ns, ISSUES[code >> 2])


def _break(consolidator: Consolidator, event: Gap | FeedDown) -> Iterator[Quote]:
    """A hole in the market stream of a venue, or of one instrument there."""
    if isinstance(event, FeedDown) and event.stream != "market":
        return
    named = event.instrument if isinstance(event, Gap) else ""
    for name, rule in consolidator.rules.items():
        if rule.venue == event.venue and named in ("", name):
            made = consolidator.on_break(name, event.ts_recv_ns)
            if made is not None:
                yield made


def _pass_time(consolidator: Consolidator, until_ns: int, timer_ns: int) -> Iterator[Quote]:
    """The timers up to ``until_ns`` at which a member loses its vote, on the grid of ``timer_ns``: no other matters."""
    if until_ns < consolidator.now_ns - consolidator.now_ns % timer_ns + timer_ns:
        return  # no timer lies between
    while (expiry_ns := consolidator.next_expiry_ns) is not None:
        due_ns = -(-expiry_ns // timer_ns) * timer_ns
        if due_ns > until_ns:
            return
        made = consolidator.on_timer(due_ns)
        if made is not None:
            yield made
