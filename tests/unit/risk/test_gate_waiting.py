"""The gate and orders at market that wait for a price: their form, their worst case, and whose way they are in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.commands import Approved, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from risk.gate import Gate
from tests.support.fake_view import FakeView
from tests.support.gate import PERP, check_of, held, order, review, short_view
from tests.support.limits import make_limits

D = Decimal
STOP, TOUCH = OrderType.STOP, OrderType.MARKET_IF_TOUCHED


def waiting(kind: OrderType = STOP, trigger_px: str | None = "101", **fields: Any) -> OrderIntent:
    px = None if trigger_px is None else D(trigger_px)
    return order(**{"limit_px": None, "time_in_force": TimeInForce.GTC, "order_type": kind, "trigger_px": px, **fields})


@pytest.mark.parametrize("kind", [STOP, TOUCH])
def test_an_entry_that_waits_is_judged_like_any_other(kind: OrderType) -> None:
    """Until a date or for ever; the limits of value hold it as they do a market order."""
    assert review(waiting(kind)) == ""
    assert review(waiting(kind, time_in_force=TimeInForce.GTD, expire_ns=2**62)) == ""
    assert (
        check_of(Gate(make_limits(max_order_notional=D(90))).review(waiting(kind), FakeView())) == "max_order_notional"
    )


@pytest.mark.fault("F1")
@pytest.mark.parametrize(
    ("intent", "check"),
    [
        (waiting(trigger_px=None), "order_form"),
        (waiting(TOUCH, trigger_px=None), "order_form"),
        (waiting(limit_px=D(101)), "order_form"),
        (waiting(TOUCH, post_only=True), "order_form"),
        (waiting(time_in_force=TimeInForce.IOC), "order_form"),
        (waiting(TOUCH, time_in_force=TimeInForce.FOK), "order_form"),
        (waiting(trigger_px="NaN"), "order_form"),
        (waiting(trigger_px="101.005"), "tick"),
        (waiting(trigger_px="-1"), "price_sign"),
        (waiting(trailing_px=D(0)), "order_form"),
        (waiting(trailing_px=D("NaN")), "order_form"),
        (waiting(TOUCH, trailing_px=D(1)), "order_form"),
        (order(order_type=OrderType.MARKET, limit_px=None, trailing_px=D(1)), "order_form"),
    ],
)
def test_what_could_not_wait_is_denied_by_name(intent: OrderIntent, check: str) -> None:
    """One defect each."""
    assert review(intent) == check


@pytest.mark.fault("F2")
@pytest.mark.parametrize(
    ("trigger_px", "worth"), [("100", "101"), ("120", "121.2"), ("80", "101")], ids=["at the mid", "above", "below"]
)
def test_it_is_worth_what_it_costs_at_its_trigger_and_the_slip_beyond(trigger_px: str, worth: str) -> None:
    """Mid 100, slip 100 bps; never less than at the mid."""
    verdict = Gate(make_limits()).review(waiting(trigger_px=trigger_px), FakeView())
    assert isinstance(verdict, Approved)
    assert verdict.notional == D(worth)


def test_a_stop_that_reduces_passes_at_any_trigger() -> None:
    """It takes exposure away; what it holds is its worst worth."""
    view = held()
    wish = waiting(side=Side.SELL, trigger_px="50", trailing_px=D(5), reduce_only=True)
    verdict = Gate(make_limits()).review(wish, view)
    assert isinstance(verdict, Approved)
    assert verdict.notional >= 100
    assert check_of(Gate(make_limits()).review(msgspec.structs.replace(wish, qty=D(2)), view)) == "reduce_only"


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("kind", "trigger_px", "check"),
    [
        (STOP, "99.90", ""),
        (STOP, "100.50", "exit_waits"),
        (TOUCH, "100.50", ""),
        (TOUCH, "99.90", "exit_waits"),
    ],
    ids=["stop that waits", "stop whose price came", "touch that waits", "touch whose price came"],
)
def test_what_waits_is_in_nobodys_way(kind: OrderType, trigger_px: str, check: str) -> None:
    """A sell of another strategy, mid 100: in no book until its price has come, then a market order under way."""
    view, gate = short_view(), Gate(make_limits(allowed_instruments=[PERP]))
    view.open(waiting(kind, trigger_px, instrument=PERP, side=Side.SELL, strategy="other"))
    assert check_of(gate.review(order(instrument=PERP), view)) == check
