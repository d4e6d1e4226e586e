"""Canaries: a share of a strategy's trades in a twin, and what becomes of what that holds."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import Intent, NewOrder, Rejected
from engine.continuity import take
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.ports import View
from engine.seats import ServingRules
from tests.support.core import BTC, D, MemoryRecorder, OpenGate, Scripted, fill, intent, open_market, quote, spot
from tests.support.serving import Answers, Shelf
from tests.support.trusting import FAILED, alarm, end_all, opened, sizes, states, trader


def test_a_canary_trades_its_share_in_a_twin() -> None:
    """Base strategy on the champion at 0.95, twin on the canary at 0.05, each with books of its own."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(quote(10))
    end_all(core, 10)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    orders = list(core.on_event(quote(12)))
    assert sizes(recorder) == [("s", "a@1", D(1)), ("s", "a@1", D("0.95")), ("s.canary", "b@1", D("0.05"))]
    core.on_event(fill(orders[1], "0.05", "100", "t1"))
    assert (core.view.strategy_qty("s", BTC), core.view.strategy_qty("s.canary", BTC)) == (D(0), D("0.05"))
    assert states(recorder) == [("canary", "b@1", "serving", 1.0)]
    left = core.desk.place(intent(e.Side.SELL, "0.05", "s.canary"))
    assert isinstance(left, NewOrder)
    core.on_event(fill(left, "0.05", "100", "t2"))
    end_all(core, 59)
    core.on_event(alarm(60, "size_down", 0.5, "b@1"))
    core.on_event(quote(61))
    assert sizes(recorder)[-2:] == [("s", "a@1", D("0.95")), ("s.canary", "b@1", D("0.025"))]


def test_a_twin_is_shown_its_canary_and_the_strategy_the_champion() -> None:
    """While there is one; what is left of a twin afterwards is asked about the champion, and sees that."""
    seen: list[tuple[str, str, str]] = []

    def watcher(name: str) -> Scripted:
        def look(view: View) -> list[Intent]:
            served = view.model(BTC)
            assert served is not None
            seen.append((name, served.version, served.state))
            return []

        return Scripted(
            name, on_prediction=lambda _prediction, _seq, view: look(view), on_timer=lambda _, view: look(view)
        )

    recorder, canary = MemoryRecorder(), Answers("b@1")
    shelf = Shelf(Answers("a@1"), canary)
    slot = StrategySlot(watcher("s"), make_twin=watcher)
    core = TradingCore(
        recorder=recorder,
        gate=OpenGate(),
        slots=[slot],
        assembly=shelf,
        currency="USD",
        id_prefix="k",
        rules=ServingRules(1),
    )
    open_market(core, cash="100000")
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    core.on_event(quote(12))
    assert seen == [("s", "a@1", "serving"), ("s.canary", "b@1", "serving")]
    canary.statuses = [FAILED]
    core.on_event(quote(13))
    seen.clear()
    core.on_event(e.Timer(14, 14, "t"))
    assert seen == [("s", "a@1", "serving"), ("s.canary", "b@1", "broken")]
    core.on_event(shelf.offer(15, "", "canary"))
    seen.clear()
    core.on_event(e.Timer(16, 16, "t"))
    assert seen == [("s", "a@1", "serving"), ("s.canary", "a@1", "serving")]


def test_a_canary_that_breaks_leaves_the_champion_alone() -> None:
    """Its twin enters nothing, the base strategy goes on at its part."""
    recorder, canary = MemoryRecorder(), Answers("b@1")
    shelf = Shelf(Answers("a@1"), canary)
    core = opened(recorder, shelf, rules=ServingRules(1))
    core.on_event(shelf.offer(11, "b@1", "canary", 0.2))
    canary.statuses = [FAILED]
    core.on_event(quote(12))
    end_all(core, 12)
    core.on_event(quote(13))
    assert sizes(recorder) == [("s", "a@1", D("0.8"))] * 2
    assert states(recorder)[-1][:3] == ("canary", "b@1", "broken")


def test_a_strategy_that_is_not_trusted_has_no_twin_that_trades() -> None:
    """Quarantined before the canary came, none is made; afterwards, its twin enters nothing from the next offer on."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.slots[0].alive = False
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    assert [slot.name for slot in core.slots] == ["s"]
    core.slots[0].alive = True
    core.on_event(shelf.offer(12, "", "canary"))
    core.on_event(shelf.offer(13, "b@1", "canary", 0.05))
    core.slots[0].alive = False
    core.on_event(shelf.offer(14, "b@1", "canary", 0.1))
    core.on_event(quote(15))
    assert sizes(recorder) == []
    assert recorder.of(Rejected)[-1].intent.strategy == "s.canary"


def test_a_canary_goes_with_its_champion() -> None:
    """Nobody is left beside whom it could be measured: its twin enters nothing."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    core.on_event(shelf.offer(12, "", reason="retired"))
    core.on_event(quote(13))
    assert sizes(recorder) == []
    assert core.lanes[BTC].canary is None


def test_a_canary_that_goes_leaves_its_position_to_its_twin() -> None:
    """The base strategy has its whole size again; the twin is asked about the champion's predictions as long as it
    holds something, enters nothing and may leave."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    orders = list(core.on_event(quote(12)))
    core.on_event(fill(orders[1], "0.05", "100", "t1"))
    assert core.lanes[BTC].beside
    core.on_event(shelf.offer(60, "", "canary", reason="not better"))
    assert not core.lanes[BTC].beside, "rows go the plain way again: an idle twin is on it for good"
    core.on_event(quote(61))
    assert sizes(recorder)[-1] == ("s", "a@1", D(1))
    refused = recorder.of(Rejected)[-1]
    assert (refused.intent.strategy, refused.intent.model, refused.check) == ("s.canary", "a@1", "model")
    count = len(recorder.of(Rejected))
    left = core.desk.place(intent(e.Side.SELL, "0.05", "s.canary"))
    assert isinstance(left, NewOrder)
    core.on_event(fill(left, "0.05", "100", "t2"))
    core.on_event(quote(62))
    assert len(recorder.of(Rejected)) == count


@pytest.mark.fault("E7")
def test_a_canary_becomes_champion() -> None:
    """Promoted: one version serves all, on record in this order."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    core.on_event(shelf.offer(12, "b@1"))
    core.on_event(quote(13))
    assert sizes(recorder) == [("s", "b@1", D(1))]
    kinds = [one for one in recorder.records if isinstance(one, e.ModelAssigned | e.ModelStanding)]
    assert [(type(one).__name__, one.model) for one in kinds] == [
        ("ModelAssigned", "a@1"), ("ModelStanding", "b@1"), ("ModelAssigned", "b@1"), ("ModelStanding", "b@1"),
    ]  # fmt: skip
    assert states(recorder)[-1] == ("canary", "b@1", "gone", 1.0)


@pytest.mark.parametrize("share", [0.0, -0.1, 0.6, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """Above 0 and at most a half."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", share))
    assert states(recorder) == [("canary", "b@1", "gone", 1.0)]
    assert [slot.name for slot in core.slots] == ["s"]


def test_the_champion_is_no_canary() -> None:
    """It would trade beside itself."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "a@1", "canary", 0.05))
    assert recorder.of(e.ModelStanding)[0].reason == "it is the champion"


def test_a_strategy_that_cannot_be_made_twice_has_no_canary() -> None:
    """What its class raises is the reason, and the strategy goes on alone."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)

    def fails(name: str):
        raise RuntimeError("only one")

    core.slots[0].make_twin = fails
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    assert "a second s failed: RuntimeError" in recorder.of(e.ModelStanding)[0].reason
    core.on_event(quote(12))
    assert sizes(recorder) == [("s", "a@1", D(1))]


def test_a_twin_and_what_it_holds_outlive_the_session() -> None:
    """The next one has it again, without a canary: it holds, enters nothing, and the base has its whole size."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.05))
    orders = list(core.on_event(quote(12)))
    for number, order in enumerate(orders):
        core.on_event(fill(order, str(order.intent.qty), "100", f"t{number}"))
    kept = take(core, "")
    after = MemoryRecorder()
    again = TradingCore(
        recorder=after, gate=OpenGate(), slots=[StrategySlot(trader(), make_twin=trader)], assembly=shelf,
        currency="USD", id_prefix="l",
    )  # fmt: skip
    again.on_event(e.StateCarried(70, 70, "before", 9, encode_carried(kept)))
    open_market(again)
    again.on_event(e.AccountSettled(71, 71, "coinbase", (("USD", D("100000")), ("BTC", D(1))), ()))
    assert [slot.name for slot in again.slots] == ["s", "s.canary"]
    again.on_event(quote(72))
    assert again.view.strategy_qty("s.canary", BTC) == D("0.05")
    assert sizes(after) == [("s", "a@1", D(1))]
    assert {one.intent.strategy for one in after.of(Rejected)} == {"s.canary"}


def test_a_twin_enters_nothing_where_there_is_no_canary() -> None:
    """On another instrument of its strategy, and where the canary that woke it could not be had."""
    eth = "ETH/USD@coinbase"
    strategy = Scripted(on_quote=lambda name, view: [intent(instrument=name)])
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    core = opened(recorder, shelf, strategy)
    core.slots[0].make_twin = lambda name: Scripted(
        name, on_quote=lambda at, view: [intent(strategy=name, instrument=at)]
    )
    core.on_event(e.InstrumentDefined(5, 5, spot(id=eth, venue_symbol="ETH-USD", base="ETH")))
    core.on_event(shelf.offer(11, "lost@1", "canary", 0.05))
    core.on_event(quote(12))
    core.on_event(shelf.offer(13, "b@1", "canary", 0.05))
    core.on_event(quote(14, instrument=eth))
    assert [(one.intent.strategy, one.intent.instrument) for one in recorder.of(NewOrder)] == [("s", BTC), ("s", eth)]
    assert {one.intent.strategy for one in recorder.of(Rejected)} == {"s.canary"}


def test_a_session_without_a_canary_carries_no_twin() -> None:
    """What it leaves is what it always left."""
    core = opened(MemoryRecorder(), Shelf(Answers("a@1")))
    assert [one.name for one in take(core, "").strategies] == ["s"]
