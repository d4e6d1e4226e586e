"""How often a strategy may ask: each window to the nanosecond, and nothing that grows."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import RiskState
from engine.events import Resumed, Side
from engine.instruments import AssetClass
from engine.ports import Tally
from risk import throttles
from risk.gate import Gate
from risk.limits import RATIO_FREE
from risk.throttles import Throttles
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import SECOND_NS, check_of, held, leave, market, order, send
from tests.support.limits import NAME, make_limits

D = Decimal


def later(view: FakeView, ns: int) -> None:
    view.now_ns += ns
    view.quote(NAME, 99.99, 100.01)


@pytest.mark.fault("F4")
def test_a_strategy_has_a_rate_of_its_own() -> None:
    """Two entries in any second for one strategy; another has its own two, and exits are not counted."""
    gate, view = Gate(make_limits(strategy_limits={"*": {"max_orders_per_s": 2}})), held()
    for strategy in ("s", "t"):
        assert [send(gate, view, order(strategy=strategy, qty=D(n))) for n in (1, 2, 3)] == [
            "",
            "",
            "strategy_order_rate",
        ]
    assert send(gate, view, leave()) == ""
    later(view, SECOND_NS - 1)
    assert send(gate, view, order()) == "strategy_order_rate"
    later(view, 1)
    assert send(gate, view, order()) == ""


@pytest.mark.fault("F4")
def test_a_twin_asks_out_of_the_rate_of_its_strategy() -> None:
    """Two entries in a second of both together; repeats likewise."""
    for limits in (
        {"strategy_limits": {"*": {"max_orders_per_s": 2}}},
        {"max_repeats": 2, "repeat_window_ns": SECOND_NS},
    ):
        gate, view = Gate(make_limits(**limits)), held()
        found = [send(gate, view, order(strategy=name, qty=D(n))) for n, name in ((1, "s"), (2, "s.canary"), (3, "s"))]
        assert found[:2] == ["", ""]
        assert found[2] in ("strategy_order_rate", "repeated_execution")
        assert send(gate, view, order(strategy="t")) == ""


@pytest.mark.fault("F3")
def test_entries_repeated_in_one_direction_stop() -> None:
    """Three buys of different sizes within ten seconds are enough; the other direction is another matter."""
    limits = make_limits(max_repeats=3, repeat_window_ns=10 * SECOND_NS)
    gate, view = Gate(limits), FakeView(make_instrument(asset_class=AssetClass.PERPETUAL, can_short=True))
    found = []
    for n in range(1, 5):
        found.append(send(gate, view, order(qty=D(n))))
        later(view, SECOND_NS)
    assert found == ["", "", "", "repeated_execution"]
    assert send(gate, view, order(side=Side.SELL, limit_px=D("99.98"))) == ""
    later(view, 6 * SECOND_NS)
    assert send(gate, view, order(qty=D(5))) == ""


@pytest.mark.fault("F3")
def test_a_strategy_that_repeats_without_looking_is_a_runaway() -> None:
    """A hundred refusals within a second latch the loop; a look at the breakers says HALT."""
    limits = make_limits(max_repeats=1, repeat_window_ns=SECOND_NS, max_rejections_per_s=100)
    gate, view = Gate(limits), FakeView()
    assert send(gate, view, order()) == ""
    for _ in range(100):
        view.now_ns += 1_000_000
        assert send(gate, view, order(qty=D(2))) == "repeated_execution"
    breach = gate.breach(view)
    assert breach is not None
    assert breach[0] is RiskState.HALTED
    assert "runaway" in breach[1]


@pytest.mark.parametrize(
    ("limits", "check"),
    [
        ({"max_orders_per_fill": 10}, "orders_per_fill"),
        ({"strategy_limits": {"*": {"max_orders_per_fill": 10}}}, "strategy_orders_per_fill"),
    ],
)
def test_orders_that_do_not_trade_stop(limits: dict[str, object], check: str) -> None:
    """The first fifty are free; then ten orders for each execution of this session, until an operator resumes."""
    gate, view = Gate(make_limits(**limits, duplicate_window_ns=1)), FakeView()
    view.tally_of = {"s": Tally(fills=1_000)}  # of an earlier session: no answer to these orders
    for n in range(RATIO_FREE):
        assert send(gate, view, order()) == "", n
        later(view, SECOND_NS)
    assert send(gate, view, order()) == check
    view.tally_of["s"].fills += 6
    for _ in range(10):
        assert send(gate, view, order()) == ""
        later(view, SECOND_NS)
    assert send(gate, view, order()) == check
    assert check_of(gate.review(leave(), held())) == ""
    gate.apply(Resumed(1, 1, "cli", "looked"))
    assert send(gate, view, order()) == ""


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("limits", "check"),
    [
        ({"strategy_limits": {"*": {"max_orders_per_s": 1}}}, "strategy_order_rate"),
        ({"max_repeats": 1, "repeat_window_ns": 9 * SECOND_NS}, "repeated_execution"),
        ({"strategy_limits": {"*": {"max_orders_per_fill": 10}}}, "strategy_orders_per_fill"),
        ({"max_orders_per_fill": 10}, "orders_per_fill"),
    ],
)
def test_no_throttle_of_entries_keeps_an_exit_back_that_others_hide(limits: dict[str, object], check: str) -> None:
    """1 held beside 1 that another strategy is short.  What would open something is refused as ever."""
    view = FakeView(make_instrument(asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD"))
    gate = Gate(make_limits(**limits, opposing="net", duplicate_window_ns=1))
    while (found := send(gate, view, market(side=Side.SELL, qty=D(2)))) == "":
        if "per_fill" in check:
            later(view, SECOND_NS)
    assert found == check
    view.strategy_qtys = {("s", NAME): D(1), ("t", NAME): D(-1)}
    assert send(gate, view, market(side=Side.SELL, qty=D("1.1"))) == check
    assert send(gate, view, market(side=Side.SELL)) == ""


@pytest.mark.fault("F12")
@pytest.mark.parametrize("limit", ["max_orders_per_s", "max_orders_per_s_instrument"])
def test_entries_of_others_at_the_accounts_rate_keep_no_exit_back_that_others_hide(limit: str) -> None:
    """It has the rate that exits have, and takes none of the entries'."""
    view = FakeView(make_instrument(asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD"))
    gate = Gate(make_limits(opposing="net", duplicate_window_ns=1, max_rejections_per_s=2, **{limit: 1}))
    view.strategy_qtys = {("s", NAME): D(1), ("t", NAME): D(-1)}
    exit_ = market(side=Side.SELL)
    assert send(gate, view, exit_) == ""
    assert send(gate, view, order(strategy="u")) == ""
    assert send(gate, view, exit_) == {"max_orders_per_s": "order_rate"}.get(limit, "order_rate_instrument")
    later(view, SECOND_NS)
    assert send(gate, view, order(strategy="u")) == ""
    assert send(gate, view, exit_) == ""
    assert gate.breach(view) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two kinds of entries; the third is refused, not forgotten."""
    monkeypatch.setattr(throttles, "KEYS_MAX", 2)
    memory = Throttles(make_limits(max_repeats=5, repeat_window_ns=SECOND_NS))
    for name in ("a", "b"):
        assert memory.check(order(instrument=name), {}, 1) is None
        memory.count(order(instrument=name), 1)
    found = memory.check(order(instrument="c"), {}, 1)
    assert found is not None
    assert found[0] == "repeated_execution"
    assert memory.check(order(instrument="a"), {}, 1) is None


def test_nothing_configured_is_idle() -> None:
    """So that the gate leaves it out."""
    assert Throttles(make_limits()).idle
    assert Throttles(make_limits(strategy_limits={"*": {"max_daily_loss": 1}})).idle
    assert not Throttles(make_limits(max_orders_per_fill=3)).idle
