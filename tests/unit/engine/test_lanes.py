"""Who is called with what, and the mark of a lane."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Context, FloatOperation, getcontext, setcontext
from typing import Any

import pytest

from engine.commands import Intent
from engine.lanes import Lane, StrategySlot, never_acts
from tests.support.core import MemoryRecorder as Recorder
from tests.support.core import Scripted, build_core, open_market, quote, spot


class Quiet:
    """Every callback is the default that does nothing."""

    name = "quiet"

    def on_model(self, instrument: str, facts: Any) -> None:
        pass

    @never_acts
    def _nothing(self, *arguments: object) -> Sequence[Intent]:
        raise AssertionError("called in vain")

    on_prediction = on_row = on_quote = on_fill = on_timer = _nothing

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class AsksOnQuotes(Quiet):
    """One callback is its own."""

    def __init__(self) -> None:
        self.quotes = 0

    def on_quote(self, instrument: str, view: Any) -> Sequence[Intent]:
        self.quotes += 1
        return ()


def test_a_default_that_does_nothing_is_not_called() -> None:
    """The defaults raise: neither strategy is quarantined, the overriding one is asked at each quote."""
    quiet, asks = Quiet(), AsksOnQuotes()
    core = build_core(Recorder(), quiet, asks)
    open_market(core)
    for ts_ns in (10, 11):
        core.on_event(quote(ts_ns))
    assert asks.quotes == 2
    assert all(slot.alive for slot in core.slots)


def test_a_lane_asks_those_who_act() -> None:
    """By callback, in the order of the configuration; a strategy without model hears no predictions."""
    slots = [
        StrategySlot(AsksOnQuotes()),
        StrategySlot(Scripted("scripted"), uses_model=False),
        StrategySlot(Quiet()),
    ]
    lane = Lane(spot(), None, None, slots)
    assert lane.quote_slots == (slots[0], slots[1])
    assert lane.row_slots == (slots[1],)
    assert lane.prediction_slots == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda: setattr(getcontext(), "prec", 3),
        lambda: setcontext(Context(prec=3)),
        lambda: getcontext().traps.__setitem__(FloatOperation, False),
    ],
)
def test_a_strategy_changes_decimal_arithmetic_for_itself_alone(change: Callable[[], None]) -> None:
    """It counts by its own rules from then on; what the engine computes stays exact, and so does a second strategy."""
    before = (getcontext().prec, dict(getcontext().traps))
    seen: dict[str, list[tuple[int, bool]]] = {"changes": [], "other": []}

    def look(name: str) -> None:
        seen[name].append((getcontext().prec, getcontext().traps[FloatOperation]))

    def on_quote(*_: Any) -> Iterator[Intent]:
        look("changes")  # a generator: it runs when the core reads it
        change()
        yield from ()

    other = Scripted("other", on_quote=lambda *_: look("other") or ())
    core = build_core(Recorder(), Scripted("changes", on_quote=on_quote), other)
    open_market(core)
    for ts_ns in (10, 11):
        core.on_event(quote(ts_ns))
    assert (getcontext().prec, dict(getcontext().traps)) == before
    assert seen["changes"][0] != seen["changes"][1]
    assert seen["other"] == [seen["changes"][0]] * 2


def test_a_callback_that_is_missing_quarantines_when_it_is_due() -> None:
    """A class without ``on_quote``: the first quote says so; the start does not fail."""

    class Partial:
        name = "partial"

        def on_model(self, instrument: str, facts: Any) -> None:
            pass

        @never_acts
        def on_row(self, instrument: str, view: Any) -> Sequence[Intent]:
            return ()

    core = build_core(Recorder(), Partial())
    open_market(core)
    core.on_event(quote(10))
    assert not core.slots[0].alive
    assert "on_quote" in core.slots[0].reason


def test_the_mark_follows_every_change_of_the_best_prices() -> None:
    """None without a book; then the mid on the tick grid, also when one side alone changed."""
    lane = Lane(spot(), None, None, [])
    assert lane.mark_px() is None
    for bid_px, ask_px, mark in ((100.0, 100.02, "100.01"), (100.0, 100.04, "100.02"), (99.98, 100.04, "100.01")):
        lane.book.apply_quote(quote(1, bid_px, ask_px))
        assert str(lane.mark_px()) == str(lane.mark_px()) == mark
    lane.top.ask_px = float("nan")
    assert lane.mark_px() is None


def test_a_price_that_the_grid_cannot_hold_is_none_each_time_it_is_asked() -> None:
    """After a good mark: never the one before, and good again with the next good price."""
    lane = Lane(spot(), None, None, [])
    lane.book.apply_quote(quote(1))
    assert str(lane.mark_px()) == "100.00"
    lane.book.apply_quote(quote(2, 1e27, 1.1e27))
    assert lane.mark_px() is None
    assert lane.mark_px() is None
    lane.book.apply_quote(quote(3))
    assert str(lane.mark_px()) == "100.00"
