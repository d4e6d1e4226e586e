"""Orders of one account that would trade with each other: entries are refused, exits wait for what is in their way."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import OrderIntent, OrderType, Rejected, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass
from risk.gate import Gate
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import PERP, SECOND_NS, check_of, held, leave, leave_at_market, order, review, short_view
from tests.support.limits import NAME, make_limits

D = Decimal


@pytest.mark.fault("F12")
@pytest.mark.parametrize("policy", ["block", "net"])
def test_an_entry_never_trades_with_an_order_of_ours(policy: str) -> None:
    """Another strategy's bid rests at 99.99 and this one would sell into it, under either; above it, it passes."""
    view = FakeView(make_instrument(can_short=True, asset_class=AssetClass.PERPETUAL))
    view.open(order(strategy="t", limit_px=D("99.99")))
    limits = make_limits(opposing=policy)
    assert review(order(side=Side.SELL, limit_px=D("99.99")), view, limits) == "self_trade"
    assert review(order(side=Side.SELL, limit_px=D("100.00")), view, limits) == ""


def hiding() -> FakeView:
    """1 held by ``s``, in an account that is 2 short."""
    view = short_view()
    view.hold(PERP, D(1), strategy="s")
    view.hold(PERP, D(-3), strategy="t")
    view.hold(PERP, D(-2))
    return view


@pytest.mark.fault("F12")
@pytest.mark.parametrize("strategy", ["s", "t"])
@pytest.mark.parametrize(
    ("wish", "resting", "meets"),
    [
        (leave(), "99.98", True),
        (leave(), "99.97", False),
        (leave(reduce_only=False), "100.00", True),
        (leave_at_market(), "99.00", True),
        (leave_at_market(), "98.99", False),
    ],
)
def test_an_exit_waits_for_orders_of_ours_that_it_would_trade_with(
    wish: OrderIntent, resting: str, meets: bool, strategy: str
) -> None:
    """Sell into a bid of any strategy of ours: refused with its id for a second, then being out counts for more; at
    once when it is gone.  At market the slip of 100 bps is how far it goes."""
    view, gate = held(), Gate(make_limits())
    opened = view.open(order(strategy=strategy, limit_px=D(resting), time_in_force=TimeInForce.GTC))
    verdict = gate.review(wish, view)
    assert check_of(verdict) == ("in_the_way" if meets else "")
    if not isinstance(verdict, Rejected):
        return
    assert verdict.seen == opened.client_order_id
    view.now_ns += SECOND_NS - 1
    view.quote(NAME, 99.99, 100.01)
    assert check_of(gate.review(wish, view)) == "in_the_way"
    view.now_ns += 1
    assert check_of(gate.review(wish, view)) == ""
    assert check_of(gate.review(wish, view)) == "in_the_way"  # it came to nothing: what is in the way goes again
    view.now_ns += 10 * SECOND_NS + 1
    view.quote(NAME, 99.99, 100.01)
    assert check_of(gate.review(wish, view)) == "in_the_way"  # another time: it waits anew
    view.close(opened.client_order_id)
    assert check_of(gate.review(wish, view)) == ""


@pytest.mark.fault("F12")
@pytest.mark.parametrize("strategy", ["s", "t"])
def test_nothing_takes_the_place_of_what_went_out_of_an_exits_way(strategy: str) -> None:
    """A stop waits for a bid of ours to go: no bid that it would trade with is let in meanwhile, by the short way
    neither; bids below it, orders that rest nowhere, and offers are; so is everything once the stop is out, or asks no
    more."""
    gate, stop = Gate(make_limits(opposing="net")), leave_at_market()
    bid = order(strategy=strategy, limit_px=D("99.99"), time_in_force=TimeInForce.GTC)
    view = held()
    opened = view.open(bid)
    assert check_of(gate.review(stop, view)) == "in_the_way"
    view.close(opened.client_order_id)
    verdict = gate.review(bid, view)
    assert isinstance(verdict, Rejected)
    assert (verdict.check, D(verdict.seen.rpartition(" ")[2])) == ("exit_waits", D(99))
    low = order(strategy=strategy, limit_px=D("98.99"), time_in_force=TimeInForce.GTC)
    assert check_of(gate.review(low, view)) != "exit_waits"
    assert check_of(gate.review(order(strategy=strategy, limit_px=None, order_type=OrderType.MARKET), view)) == ""
    assert check_of(gate.review(leave(limit_px=D("100.01")), view)) == ""
    assert check_of(gate.review(stop, view)) == ""
    assert check_of(gate.review(bid, view)) == ""
    opened = view.open(bid)
    assert check_of(gate.review(stop, view)) == "in_the_way"
    view.close(opened.client_order_id)
    assert check_of(gate.review(bid, view)) == "exit_waits"
    view.now_ns += 5 * SECOND_NS + 1
    view.quote(NAME, 99.99, 100.01)
    assert check_of(gate.review(bid, view)) == ""


@pytest.mark.fault("F12")
def test_a_target_that_is_sent_again_and_again_holds_up_no_hidden_exit() -> None:
    """1 held beside another strategy's 3 short, whose target is back as soon as it was cancelled: an exit to the
    other side ends nobody's wait."""
    view, gate = hiding(), Gate(make_limits(opposing="net", allowed_instruments=[PERP]))
    target = order(strategy="t", instrument=PERP, limit_px=D("99.98"), time_in_force=TimeInForce.GTC, reduce_only=True)
    out = leave_at_market(instrument=PERP, reduce_only=False)
    seen = []
    for _ in range(5):
        assert check_of(gate.review(target, view)) == ""
        resting = view.open(target)
        seen.append(check_of(gate.review(out, view)))
        view.close(resting.client_order_id)
        view.now_ns += SECOND_NS // 4
        view.quote(PERP, 99.99, 100.01)
    assert seen == ["in_the_way"] * 4 + [""]


@pytest.mark.fault("F12")
def test_a_hidden_exit_that_waited_for_the_disk_waits_for_nothing_else() -> None:
    """Its second was over when it was opened: what is in its way still, and was asked to go, drops it no more."""
    view, gate = hiding(), Gate(make_limits(opposing="net", allowed_instruments=[PERP]))
    view.open(order(strategy="t", instrument=PERP, limit_px=D("99.98"), time_in_force=TimeInForce.GTC))
    out = leave_at_market(instrument=PERP, reduce_only=False)
    assert check_of(gate.review(out, view)) == "in_the_way"
    view.now_ns += SECOND_NS
    view.quote(PERP, 99.99, 100.01)
    assert check_of(gate.review(out, view)) == ""
    assert check_of(gate.review_again(out, view)) == ""


def test_an_exit_waits_for_nobody_elses_order_and_no_stop_for_any() -> None:
    """The owner's own bid in the same account; a protective stop far below, which trades only when all that is gone."""
    view = held()
    view.open(order(strategy="", limit_px=D(100), time_in_force=TimeInForce.GTC))
    assert review(leave(), view) == ""
    view.open(order(limit_px=D("99.90"), time_in_force=TimeInForce.GTC))
    stop = leave(order_type=OrderType.STOP_LIMIT, trigger_px=D(90), limit_px=D("89.90"), time_in_force=TimeInForce.GTC)
    assert review(stop, view) == ""
