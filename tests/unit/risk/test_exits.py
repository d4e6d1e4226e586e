"""The gate and orders that reduce: what they skip, what still binds them, when they are no exits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.commands import Approved, OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass
from risk.gate import Gate
from risk.limits import parse_limits
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import (
    OTHER,
    PERP,
    SECOND_NS,
    age,
    change,
    check_of,
    held,
    leave,
    leave_at_market,
    order,
    review,
    send,
    short_view,
)
from tests.support.limits import NAME, NUMBERS, make_limits, with_number

D = Decimal


@pytest.mark.parametrize("state", [RiskState.REDUCING, RiskState.HALTED])
@pytest.mark.parametrize("intent", [leave(), leave_at_market(), leave(reduce_only=False)])
def test_reducing_orders_pass_in_every_state(state: RiskState, intent: OrderIntent) -> None:
    """The state is latched in the gate and shown by the view; entries are denied, the exit is not (I4)."""
    view, gate = held(), Gate(make_limits())
    gate.latch(state, "test", 1)
    view.risk_state = gate.state
    assert check_of(gate.review(intent, view)) == ""
    assert check_of(gate.review(order(), view)) == "risk_state"


@pytest.mark.parametrize(
    "alter",
    [
        change("equity_now", None),
        change("equity_now", D(1)),
        change("rates", {}),
        change("peak", D(10**9)),
        change("risk_state", None),
    ],
)
def test_exits_are_not_trapped_by_what_only_entries_need(alter: Callable[[FakeView], None]) -> None:
    """Money unknown or lost."""
    view = held()
    alter(view)
    assert review(leave(), view) == ""


def test_exits_are_not_trapped_by_size_limits() -> None:
    """A position far over every limit may be closed in one order."""
    tight = make_limits(
        allowed_instruments=[OTHER],
        max_order_qty={"*": "0.1"},
        max_position_qty={"*": "0.1"},
        max_order_notional=1,
        max_position_notional=1,
        max_gross_notional=1,
        max_net_notional=1,
        max_open_orders=1,
    )
    view = held("100")
    view.open(order(limit_px=D(90), time_in_force=TimeInForce.GTC))
    assert review(leave(qty=D(100)), view, tight) == ""


@pytest.mark.fault("F5")
@pytest.mark.parametrize("path", NUMBERS)
def test_an_unusable_limit_denies_entries_but_not_exits(path: str) -> None:
    """Each number set to zero in turn; the breaker asks for REDUCING."""
    limits = parse_limits(with_number(path, 0))
    assert review(order(), limits=limits) == "limit_unusable"
    assert review(leave(), held(), limits) == ""
    assert review(leave_at_market(), held(), limits) == ""
    breach = Gate(limits).breach(FakeView())
    assert breach is not None
    assert breach[0] is RiskState.REDUCING
    assert path.rsplit(".", maxsplit=1)[-1] in breach[1]


@pytest.mark.parametrize("alter", [change("tops", {}), age(1.1), age(-1.1)])
def test_without_a_fresh_price_exits_go_by_market_only(alter: Callable[[FakeView], None]) -> None:
    """A limit would cross blindly at a price nobody can judge."""
    view = held()
    alter(view)
    assert review(leave(), view) in {"no_quote", "stale_quote"}
    assert review(leave_at_market(), view) == ""


def test_the_collar_of_exits_has_one_side() -> None:
    """Selling 1 % too low is denied, a take-profit 10 % above is not."""
    assert review(leave(limit_px=D(99)), held()) == "collar"
    assert review(leave(limit_px=D(110)), held()) == ""


def test_a_protective_stop_is_collared_by_its_trigger_only() -> None:
    """Stop 10 % below, its limit close to it, without any quote."""
    view = held()
    view.tops = {}
    stop = leave(order_type=OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D("89.90"), time_in_force=TimeInForce.GTC)
    assert review(stop, view) == ""
    assert review(leave(order_type=OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D(80)), view) == "collar"


def bracket(limit_px: str, trigger_px: str, **more: Any) -> OrderIntent:
    fields = {"order_type": OrderType.BRACKET, "limit_px": D(limit_px), "trigger_px": D(trigger_px)}
    return leave(**{"time_in_force": TimeInForce.GTC} | fields | more)


@pytest.mark.parametrize(
    ("intent", "check"),
    [
        (bracket("110", "90"), ""),
        (bracket("110", "90", time_in_force=TimeInForce.GTD, expire_ns=2**62), ""),
        (bracket("110", "90", reduce_only=False), ""),
        (bracket("110", "90", qty=D(2)), "reduce_only"),
        (bracket("110", "90", qty=D(2), reduce_only=False), "order_form"),
        (bracket("90", "110"), "order_form"),
        (bracket("100", "100"), "order_form"),
        (bracket("99", "90"), "collar"),
        (bracket("110.005", "90"), "tick"),
        (bracket("110", "90.005"), "tick"),
        (bracket("110", "90", time_in_force=TimeInForce.IOC), "order_form"),
        (bracket("110", "90", time_in_force=TimeInForce.FOK), "order_form"),
        (bracket("110", "90", post_only=True), "order_form"),
        (bracket("110", "NaN"), "order_form"),
    ],
)
def test_a_bracket_closes_with_its_target_on_the_good_side_of_its_trigger(intent: OrderIntent, check: str) -> None:
    """Long 1 at a mid of 100: a target 10 % above is no price to be collared, one 1 % below the mid is; one that would
    open or exceed the position is refused, whatever the state."""
    assert review(intent, held()) == check


def test_a_bracket_is_not_placed_on_an_old_quote() -> None:
    """Its target may trade at once; a stop alone may be placed blind."""
    view = held()
    view.tops = {}
    assert review(bracket("110", "90"), view) == "no_quote"


def test_a_buyers_bracket_is_worth_what_it_pays_after_its_trigger() -> None:
    """Short 1, target 90, trigger 120: up to 126, the venue's limit 5 % beyond."""
    view = short_view()
    view.hold(PERP, D(-1), strategy="s")
    buy = bracket("90", "120", side=Side.BUY, instrument=PERP, time_in_force=TimeInForce.GTC)
    verdict = Gate(make_limits()).review(buy, view)
    assert isinstance(verdict, Approved)
    assert verdict.notional == D(126)


@pytest.mark.parametrize(
    ("position", "side", "qty", "check"),
    [
        ("0", Side.SELL, "1", "reduce_only"),
        ("1", Side.SELL, "1", ""),
        ("1", Side.SELL, "1.001", "reduce_only"),
        ("1", Side.BUY, "1", "reduce_only"),
        ("-1", Side.BUY, "1", ""),
        ("-1", Side.BUY, "2", "reduce_only"),
    ],
)
def test_reduce_only_really_reduces(position: str, side: Side, qty: str, check: str) -> None:
    """Never opens, never over-closes."""
    intent = leave_at_market(side=side, qty=D(qty))
    assert review(intent, held(position)) == check


def test_open_exits_count_against_the_next_one() -> None:
    """Two halves fit, a third does not, whoever sent them."""
    view, gate = held("1"), Gate(make_limits())
    for _ in range(2):
        assert check_of(gate.review(leave(qty=D("0.5")), view)) == ""
        view.open(leave(qty=D("0.5"), strategy="other"))
    assert check_of(gate.review(leave(qty=D("0.001")), view)) == "reduce_only"


def test_an_order_that_would_flip_is_an_entry() -> None:
    """Selling 2 of 1 without the flag: denied in REDUCING, though half of it would reduce."""
    view = short_view()
    view.hold(PERP, D(1), strategy="s")
    flip = order(instrument=PERP, side=Side.SELL, qty=D(2), limit_px=D("99.98"))
    gate = Gate(make_limits(allowed_instruments=[PERP]))
    assert check_of(gate.review(flip, view)) == ""
    view.risk_state = RiskState.REDUCING
    assert check_of(gate.review(flip, view)) == "risk_state"


def test_entries_cannot_starve_exits_of_their_rate() -> None:
    """The entry bucket is full, an exit passes; exits have a bucket of the same size."""
    view, gate = held("10"), Gate(make_limits(max_orders_per_s=1))
    assert send(gate, view, order()) == ""
    assert send(gate, view, order(qty=D(2))) == "order_rate"
    assert send(gate, view, leave()) == ""
    assert send(gate, view, leave(qty=D(2))) == "order_rate"


def test_an_exit_that_waits_in_a_runaway_still_leaves() -> None:
    """Runaway blocks entries only."""
    view, gate = held(), Gate(make_limits(duplicate_window_ns=SECOND_NS, max_rejections_per_s=1))
    send(gate, view, order())
    assert send(gate, view, order()) == "duplicate"
    assert send(gate, view, order(qty=D(2))) == "runaway"
    assert send(gate, view, leave()) == ""


def test_an_exit_judged_again_is_not_counted_twice() -> None:
    """It waited for the disk: its rate is used up by itself, and it may still leave."""
    view, gate = held(), Gate(make_limits(max_orders_per_s=1))
    intent = leave()
    assert send(gate, view, intent) == ""
    assert check_of(gate.review_again(intent, view)) == ""
    assert check_of(gate.review(intent, view)) == "order_rate"


@pytest.mark.parametrize(
    ("asset_class", "flagged", "check"),
    [
        (AssetClass.PERPETUAL, True, ""),
        (AssetClass.PERPETUAL, False, "min_notional"),
        (AssetClass.SPOT, True, "min_notional"),
    ],
)
def test_a_remainder_on_margin_can_be_closed_however_small(asset_class: AssetClass, flagged: bool, check: str) -> None:
    """A tenth of the smallest notional, where the venue is told that it reduces; a spot holding has no such rule."""
    view = FakeView(make_instrument(NAME, asset_class=asset_class, min_notional=D(100)))
    view.hold(NAME, D("0.1"), strategy="s")
    limits = make_limits(max_order_qty={"*": D(10)})
    assert review(leave(qty=D("0.1"), reduce_only=flagged), view, limits) == check


@pytest.mark.fault("F2")
@pytest.mark.parametrize(("strategy", "passes"), [("mine", False), ("guardian", True), ("operator", True)])
def test_what_a_strategy_does_not_hold_is_not_its_to_close(strategy: str, passes: bool) -> None:
    """Reduce-only against what the account's owner holds: an entry like any other, which a halt refuses; the guardian
    and an operator close whatever is held."""
    view, gate = FakeView(), Gate(make_limits())
    view.hold(NAME, D(5))
    wish = leave(strategy=strategy)
    gate.latch(RiskState.HALTED, "test", view.now_ns)
    assert check_of(gate.review(wish, view)) == ("" if passes else "risk_state")


@pytest.mark.fault("F2")
@pytest.mark.parametrize("state", [RiskState.ACTIVE, RiskState.HALTED])
def test_a_strategy_closes_what_it_holds_once_also_beside_what_its_owner_has(state: RiskState) -> None:
    """Its exit for half of its part is open: the other half may go, nothing beyond, flagged or not; the owner's nine
    would cover it many times.  What another strategy is closing there does not count against it."""
    view, gate = FakeView(), Gate(make_limits())
    view.hold(NAME, D(1), strategy="s")
    view.hold(NAME, D(10))
    if state is RiskState.HALTED:
        gate.latch(state, "test", view.now_ns)
    beyond = "risk_state" if state is RiskState.HALTED else "opposing_strategy"
    view.open(leave(qty=D("0.5"), limit_px=D(105)))
    view.open(leave(qty=D(2), limit_px=D(105), strategy="t"))
    for intent, check in (
        (leave(qty=D("0.6")), "reduce_only"),
        (leave_at_market(qty=D("0.6")), "reduce_only"),
        (leave(qty=D("0.6"), reduce_only=False), beyond),
        (leave(qty=D("1.5")), beyond),
        (leave(qty=D("0.5")), ""),
        (leave(qty=D("0.6"), strategy="guardian"), ""),
    ):
        assert check_of(gate.review(intent, view)) == check, intent


@pytest.mark.fault("F2")
@pytest.mark.parametrize(
    ("out", "flagged", "unflagged"),
    [
        (leave_at_market(strategy="guardian"), "reduce_only", "opposing_strategy"),
        (leave(strategy="guardian"), "reduce_only", "opposing_strategy"),
        (leave_at_market(strategy="operator"), "reduce_only", "opposing_strategy"),
        (leave(strategy="operator", limit_px=D(105)), "", ""),
    ],
)
def test_what_a_closing_order_that_is_out_closes_is_not_closed_once_more(
    out: OrderIntent, flagged: str, unflagged: str
) -> None:
    """1 held beside the owner's 5: what the guardian sells already, or an operator at market, the strategy's own stop
    sells as well, both fill, and the second has sold the owner's.  A target by hand keeps no stop in."""
    view, gate = FakeView(), Gate(make_limits())
    view.hold(NAME, D(1), strategy="s")
    view.hold(NAME, D(6))
    view.open(out)
    for changes in ({}, {"order_type": OrderType.MARKET, "limit_px": None}):
        assert check_of(gate.review(leave(**changes), view)) == flagged
        assert check_of(gate.review(leave(**changes, reduce_only=False), view)) == unflagged
