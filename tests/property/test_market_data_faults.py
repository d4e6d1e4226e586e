"""Market data that is wrong, early, late, repeated or missing: what a core that judges it lets near an order."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import events as e
from engine.commands import Approved, Rejected
from engine.core import TradingCore
from risk.gate import Gate
from tests.support.core import D, EveryQuote, MemoryRecorder, Scripted, build_core, intent, open_market
from tests.support.limits import make_limits
from tests.support.quality import MS, START, S, bar, quote, trade

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DROPPED: dict[str, dict[str, Any]] = {
    "no bid": {"bid_px": nan},
    "endless ask": {"ask_px": inf},
    "free": {"bid_px": 0.0},
    "below zero": {"ask_px": -100.01},
    "no size": {"bid_qty": nan},
    "nothing there": {"ask_qty": 0.0},
    "crossed": {"bid_px": 100.5},
    "both sides gone": {"bid_px": nan, "ask_px": nan},
}
"""Changes of a good quote that make it one that nobody may trade by."""
KINDS = ("good", "good", "good", "locked", "jump", "repeat", "late", *DROPPED)


class Seen(EveryQuote):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[e.Event] = []

    def update(self, event: e.Event) -> bool:
        self.events.append(event)
        return super().update(event)


def market() -> tuple[TradingCore, Seen, Gate]:
    features, gate = Seen(), Gate(make_limits(max_daily_loss=10**6))
    core = build_core(MemoryRecorder(), Scripted(), features=lambda: features, gate=gate)  # type: ignore[arg-type]
    open_market(core)
    for number in range(41):
        core.on_event(quote(number * MS, 100.0 + 0.01 * (number % 2)))
    core.on_event(e.Timer(START + 41 * MS, START + 41 * MS, "tick"))
    return core, features, gate


def refusal(core: TradingCore, gate: Gate) -> str:
    """The check that keeps an entry from leaving now; empty when it may leave."""
    verdict = gate.review(intent(limit_px=D("100.02")), core.view)
    assert isinstance(verdict, Approved | Rejected)
    return verdict.check if isinstance(verdict, Rejected) else ""


@pytest.mark.fault("D1")
@pytest.mark.fault("D2")
@pytest.mark.fault("D3")
@pytest.mark.fault("D5")
@QUICK
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 30)), min_size=1, max_size=25))
def test_no_entry_rests_on_a_quote_that_is_none(steps: list[tuple[str, int]]) -> None:
    """After each quote an entry is asked for: a bad one closes, only a good one opens again, repeats and late ones do
    neither.  Of the bad ones nothing reaches features or the mark, and each is counted.  All within a second."""
    core, features, gate = market()
    at_ns, doubt, dropped, jumps = 100 * MS, False, 0, 0
    sent = quote(40 * MS, 100.0)
    assert refusal(core, gate) == ""
    for number, (kind, later_ms) in enumerate(steps):
        at_ns += later_ms * MS
        seen, mark_px = len(features.events), core.view.mark_px(sent.instrument)
        good = quote(at_ns, 100.0 + 0.01 * (number % 3))
        if kind == "good":
            sent, doubt = good, False
        elif kind == "locked":
            sent, doubt = msgspec.structs.replace(good, ask_px=good.bid_px), True
        elif kind == "repeat":
            sent, dropped = msgspec.structs.replace(sent, ts_recv_ns=START + at_ns), dropped + 1
        elif kind == "late":
            sent = msgspec.structs.replace(good, ts_event_ns=START - 5 * S, bid_px=99.0, ask_px=99.02)
            dropped += 1
        elif kind == "jump":
            # Each to a level of its own, far from the one before: none confirms another.
            sent = quote(at_ns, (110.0, 90.0, 120.0, 80.0)[jumps])
            jumps, doubt = jumps + 1, True
        else:
            sent = msgspec.structs.replace(good, **DROPPED[kind])
            dropped, doubt = dropped + 1, True
        core.on_event(sent)
        if kind == "good":
            assert len(features.events) == seen + 1
            assert core.view.mark_px(sent.instrument) == D("100.00") + D("0.01") * (number % 3)
        elif kind != "locked":
            assert len(features.events) == seen
            assert core.view.mark_px(sent.instrument) == mark_px
        found = refusal(core, gate)
        assert found == "" or doubt, (kind, found)
        assert found in ("suspect_book", "crossed_book") or not doubt, (kind, found)
        if jumps == 4:
            return  # the fifth in a row would be believed
    assert sum(core.counters.dropped.values()) == dropped
    assert sum(core.counters.suspect.values()) == jumps


@pytest.mark.fault("D4")
@QUICK
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 900)), min_size=1, max_size=20))
def test_an_entry_needs_a_quote_as_young_as_the_limit_says(steps: list[tuple[bool, int]]) -> None:
    """Quotes and timers in any mixture: what is refused, and only that, is older than the second of the limit."""
    core, _, gate = market()
    at_ns, last_ns = 100 * MS, 40 * MS
    for quotes, later_ms in steps:
        at_ns += later_ms * MS
        if quotes:
            core.on_event(quote(at_ns))
            last_ns = at_ns
        else:
            core.on_event(e.Timer(START + at_ns, START + at_ns, "tick"))
        assert refusal(core, gate) == ("stale_quote" if at_ns - last_ns > S else "")


@pytest.mark.fault("D5")
@pytest.mark.fault("D7")
@QUICK
@given(
    steps=st.lists(st.tuples(st.sampled_from(["quote", "trade", "bar"]), st.integers(1, 300)), min_size=1, max_size=40),
    noise=st.lists(st.tuples(st.integers(0, 39), st.sampled_from(["again", "older", "revised"])), max_size=15),
)
def test_repeats_late_and_revised_events_leave_what_was_seen_as_it_was(
    steps: list[tuple[str, int]], noise: list[tuple[int, str]]
) -> None:
    """The same stream with and without them: the same events reach the features, in the same order."""
    clean: list[Any] = []
    at_ns, bars = 10 * S, 0
    for number, (kind, later_ms) in enumerate(steps):
        at_ns += later_ms * MS
        px = 100.0 + 0.01 * (number % 3)
        if kind == "quote":
            clean.append(quote(at_ns, px))
        elif kind == "trade":
            clean.append(trade(at_ns, px, trade_id=f"id-{number}"))
        else:
            bars += 1
            clean.append(bar(-3600 * S + bars * 60 * S, px))
    dirty: list[Any] = []
    for number, event in enumerate(clean):
        dirty.append(event)
        for what in (how for place, how in noise if place == number):
            dirty += _disturbed(event, what)
    assert _passed(dirty) == _passed(clean) == clean


def _disturbed(event: Any, what: str) -> list[Any]:
    """Behind an event: itself again; something older than its stream; its bar with other numbers."""
    if what == "revised":
        return [msgspec.structs.replace(event, close_px=event.close_px + 0.5)] if isinstance(event, e.Bar) else []
    if what == "older":
        changes = {"trade_id": "older"} if isinstance(event, e.Trade) else {}
        return [msgspec.structs.replace(event, ts_event_ns=START - 7200 * S, **changes)]
    return [event]


def _passed(events: list[Any]) -> list[e.Event]:
    core, features, _ = market()
    features.events.clear()
    for event in events:
        core.on_event(event)
    return features.events
