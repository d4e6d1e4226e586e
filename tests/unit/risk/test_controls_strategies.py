"""Controls between strategies of one account: what each may hold, its twin with it, and who opposes whom."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import Approved
from engine.events import Side
from engine.instruments import AssetClass
from risk.gate import Gate
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import OTHER, TWO, check_of, order, review, two_coins
from tests.support.limits import NAME, make_limits

D = Decimal


@pytest.mark.fault("F12")
def test_opposing_strategies_are_netted_only_where_short_sales_are_possible() -> None:
    """Another strategy is long 3; this one sells 1: refused, and under ``net`` only where nothing is stranded by it."""
    for can_short, policy, check in (
        (True, "block", "opposing_strategy"),
        (True, "net", ""),
        (False, "net", "opposing_strategy"),
    ):
        view = FakeView(make_instrument(can_short=can_short, asset_class=AssetClass.PERPETUAL))
        view.hold(NAME, D(3), strategy="t")
        wish = order(side=Side.SELL, limit_px=D("99.98"))
        assert review(wish, view, make_limits(opposing=policy)) == check


@pytest.mark.fault("F12")
@pytest.mark.parametrize("policy", ["block", "net"])
def test_a_strategy_and_its_twin_oppose_each_other_where_neither_is_stranded(policy: str) -> None:
    """The twin is long 0.1 and its strategy sells as much, or the other way round; not where nothing can be sold short,
    and another strategy's 3 count as ever."""
    for holder, seller in (("s.canary", "s"), ("s", "s.canary")):
        for can_short, others, check in (
            (True, "", ""),
            (False, "", "opposing_strategy"),
            (True, "t", "opposing_strategy" if policy == "block" else ""),
        ):
            view = FakeView(make_instrument(can_short=can_short, asset_class=AssetClass.PERPETUAL))
            view.hold(NAME, D("0.1"), strategy=holder)
            if others:
                view.hold(NAME, D(3), strategy=others)
            wish = order(side=Side.SELL, limit_px=D("99.98"), qty=D("0.1"), strategy=seller)
            assert review(wish, view, make_limits(opposing=policy)) == check


@pytest.mark.fault("F12")
def test_a_flat_account_shows_not_what_twin_and_others_hold() -> None:
    """The twin is long 0.1 beside another's short 0.1: the strategy that buys is against that one."""
    view = FakeView(make_instrument(can_short=True, asset_class=AssetClass.PERPETUAL))
    view.strategy_qtys = {("s.canary", NAME): D("0.1"), ("t", NAME): D("-0.1")}
    assert review(order(), view, make_limits()) == "opposing_strategy"
    view.strategy_qtys = {("s.canary", NAME): D("0.1"), ("s", NAME): D("-0.1")}
    assert review(order(), view, make_limits()) == ""


@pytest.mark.fault("F4")
@pytest.mark.parametrize("holder", ["s", "s.canary"])
def test_a_flat_account_does_not_hide_what_a_strategy_holds_elsewhere(holder: str) -> None:
    """3 of another coin against another strategy's short of 3: its gross of 300 is in use all the same."""
    view = two_coins()
    view.strategy_qtys = {(holder, OTHER): D(3), ("t", OTHER): D(-3)}
    wish, both = order(limit_px=D(100)), {"allowed_instruments": TWO, "opposing": "net"}
    for limit, check in ((399, "strategy_gross_notional"), (401, "")):
        limits = {**both, "strategy_limits": {"*": {"max_gross_notional": limit}}}
        assert review(wish, view, make_limits(**limits)) == check


def test_a_limit_of_gross_asks_for_no_list_of_instruments() -> None:
    """The short way takes as long with hundreds of them as with one: it asks which of them the strategy holds."""
    view, wish = two_coins(), order(limit_px=D(100))
    gate = Gate(make_limits(allowed_instruments=TWO, strategy_limits={"*": {"max_gross_notional": 399}}))
    assert check_of(gate.review(wish, view)) == ""  # once it is known whether the instrument is listed
    view.instruments = None  # type: ignore[method-assign,assignment]
    assert check_of(gate.review(wish, view)) == ""


@pytest.mark.fault("F4")
def test_a_strategy_and_its_twin_have_one_limit_together() -> None:
    """300 of position, order count 2: what one holds or has open is taken from the other."""
    for mine, other in (("s", "s.canary"), ("s.canary", "s")):
        limits = {"strategy_limits": {"s": {"max_position_notional": 300}, "*": {"max_position_notional": 1}}}
        view = FakeView()
        view.hold(NAME, D("1.5"), strategy=other)
        assert review(order(limit_px=D(100), strategy=mine), view, make_limits(**limits)) == ""
        view.open(order(limit_px=D(100), qty=D("0.6"), strategy=other))
        assert (
            review(order(limit_px=D(100), strategy=mine), view, make_limits(**limits)) == "strategy_position_notional"
        )
        limits = {"strategy_limits": {"s": {"max_open_orders": 2}}}
        view.open(order(limit_px=D(100), strategy=other))
        assert review(order(limit_px=D(100), strategy=mine), view, make_limits(**limits)) == "strategy_open_orders"


@pytest.mark.fault("F4")
def test_many_small_orders_stop_at_the_strategys_total() -> None:
    """Orders of 1, each far below the order limit, until what is open reaches the strategy's position limit."""
    view, gate = FakeView(), Gate(make_limits(strategy_limits={"*": {"max_position_notional": 501}}))
    opened = 0
    for _ in range(10):
        verdict = gate.review(order(limit_px=D("100.00")), view)
        if isinstance(verdict, Approved):
            gate.on_opened(view.open(verdict.intent))
            opened += 1
            view.now_ns += 2
            view.quote(NAME, 99.99, 100.01)
    assert opened == 5
    assert check_of(gate.review(order(limit_px=D("100.00")), view)) == "strategy_position_notional"
    assert check_of(gate.review(order(limit_px=D("100.00"), strategy="t"), view)) == ""


def test_what_a_strategy_holds_against_its_order_is_its_gross() -> None:
    """The account is long 1, this strategy short 5: buying 1 leaves it 4 to 5 short, 500 at worst, beyond its 300."""
    view = FakeView(make_instrument(can_short=True, asset_class=AssetClass.PERPETUAL, margin_rate=D("0.1")))
    view.hold(NAME, D(1))
    view.strategy_qtys = {("s", NAME): D(-5), ("t", NAME): D(6)}
    limits = make_limits(strategy_limits={"*": {"max_gross_notional": 300}}, opposing="net")
    assert review(order(reduce_only=False, qty=D("0.5")), view, limits) == "strategy_gross_notional"


def test_a_twin_is_judged_by_the_limits_of_its_strategy() -> None:
    """Lists and amounts name the strategy; its canary needs no line of its own, and is not one of every other."""
    limits = {"strategy_limits": {"s": {"max_order_notional": "100.02"}, "*": {"max_order_notional": 1}}}
    twin = order(strategy="s.canary")
    assert check_of(Gate(make_limits(**limits)).review(twin, FakeView())) == ""
    limits["strategy_limits"]["s"] = {"max_order_notional": "100.01"}
    assert check_of(Gate(make_limits(**limits)).review(twin, FakeView())) == "strategy_order_notional"
    assert check_of(Gate(make_limits(allowed_strategies=["s"])).review(twin, FakeView())) == ""
    assert check_of(Gate(make_limits(restricted_strategies=["s"])).review(twin, FakeView())) == "strategy_allow_list"
