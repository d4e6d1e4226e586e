"""The gate and orders that reduce: what they skip, what still binds them, when they are no exits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from engine.commands import OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass
from risk.gate import Gate
from risk.limits import parse_limits
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import (
    OTHER,
    PERP,
    SECOND,
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
    view, gate = held(), Gate(make_limits(duplicate_window_ns=SECOND, max_rejections_per_s=1))
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
