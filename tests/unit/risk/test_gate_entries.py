"""Each check of the gate on entries, by name: form, market, limits, collar, what we hold and have open already."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.commands import Approved, OrderIntent, OrderType, Rejected, RiskState, TimeInForce
from engine.events import Side, TradingStatus
from engine.instruments import AssetClass
from engine.ports import Top
from engine.venues import Restriction
from risk.gate import Gate
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import (
    OTHER,
    PERP,
    age,
    change,
    check_of,
    leave,
    leave_at_market,
    market,
    order,
    quote,
    review,
    short_view,
)
from tests.support.limits import NAME, make_limits

D = Decimal
NAN = float("nan")


def test_a_sound_order_is_approved_with_its_worst_notional() -> None:
    """The limit lies above the mid: the notional is counted at the limit."""
    verdict = Gate(make_limits()).review(order(), FakeView())
    assert verdict == Approved(order(), D("100.02"))
    below = order(limit_px=D("99.90"))
    assert Gate(make_limits()).review(below, FakeView()) == Approved(below, D("100.00"))


@pytest.mark.parametrize(
    ("limits", "ask", "notional"),
    [
        ({}, 100.01, "101"),
        ({"collar_bps": 2}, 100.01, "101"),
        ({"market_slip_bps": 30}, 100.01, "100.3"),
        ({"market_slip_bps": 1, "collar_bps": 100}, 100.81, "100.81"),
    ],
)
def test_a_market_order_is_counted_at_the_mid_and_its_slip(limits: dict[str, Any], ask: float, notional: str) -> None:
    """100 bps unless set, whatever the collar is; never less than the far touch that it pays at once."""
    view = FakeView()
    view.quote(NAME, 200 - ask, ask)
    verdict = Gate(make_limits(**limits)).review(market(), view)
    assert isinstance(verdict, Approved)
    assert verdict.notional == D(notional)


@pytest.mark.fault("F1")
@pytest.mark.parametrize(
    ("intent", "check"),
    [
        (order(qty=D("0.0005")), "lot"),
        (order(qty=D(0)), "order_form"),
        (order(qty=D(-1)), "order_form"),
        (order(qty=D("NaN")), "order_form"),
        (order(qty=1.0), "order_form"),
        (order(limit_px=None), "order_form"),
        (order(limit_px=D("Infinity")), "order_form"),
        (order(limit_px=D("100.005")), "tick"),
        (order(limit_px=D(0)), "price_sign"),
        (order(limit_px=D(-100)), "price_sign"),
        (order(qty=D("0.009")), "min_notional"),
        (order(qty=D(2000)), "max_qty"),
        (order(order_type=OrderType.MARKET), "order_form"),
        (order(post_only=True), "order_form"),
        (order(time_in_force=TimeInForce.GTD), "order_form"),
        (order(time_in_force=TimeInForce.GTD, expire_ns=1), "order_form"),
        (order(order_type=OrderType.STOP_LIMIT), "order_form"),
        (order(trigger_px=D(100)), "order_form"),
        (order(trailing_px=D(1)), "order_form"),
        (order(order_type=OrderType.STOP, limit_px=None, trigger_px=D(101)), "order_form"),
        (order(order_type=OrderType.BRACKET), "order_form"),
        (order(order_type=OrderType.BRACKET, trigger_px=D(101), time_in_force=TimeInForce.GTC), "order_form"),
        (order(instrument="DOGE/USD@coinbase"), "instrument"),
        (order(side=7), "order_form"),
    ],
)
def test_malformed_orders_are_denied_by_name(intent: OrderIntent, check: str) -> None:
    """One defect each."""
    assert review(intent) == check


@pytest.mark.fault("F1")
def test_the_venues_smallest_quantity_binds() -> None:
    """min_qty above one lot."""
    view = FakeView(make_instrument(min_qty=D("0.5")))
    assert review(order(qty=D("0.4")), view) == "min_qty"
    assert review(order(qty=D("0.5")), view) == ""


MISSING: list[tuple[Callable[[FakeView], None], str]] = [
    (change("tops", {}), "no_quote"),
    (lambda view: view.tops.update({NAME: Top()}), "no_quote"),
    (age(1.1), "stale_quote"),
    (age(-1.1), "stale_quote"),
    (quote(100.02, 100.01), "crossed_book"),
    (quote(100.0, 100.0), "crossed_book"),
    (quote(NAN, 100.01), "crossed_book"),
    (quote(99.99, NAN), "crossed_book"),
    (quote(99.99, 100.01, crossed=True), "crossed_book"),
    (quote(99.99, 100.01, suspect=True), "suspect_book"),
    (change("marks_known", False), "no_price"),
    (change("rates", {}), "rate_unknown"),
    (change("rates", {"USD": D(0)}), "rate_unknown"),
    (change("rates", {"USD": D("NaN")}), "rate_unknown"),
    (change("equity_now", None), "equity_unknown"),
    (change("peak", None), "equity_unknown"),
    (change("day_start", None), "equity_unknown"),
    (change("closed", {NAME: "user stream down"}), "tradable"),
    (change("defined", {}), "instrument"),
    (change("risk_state", None), "risk_state"),
    (change("risk_state", RiskState.HALTED), "risk_state"),
    (change("risk_state", RiskState.REDUCING), "risk_state"),
    (change("equity_now", D(9_500)), "daily_loss"),
    (change("equity_now", D(0)), "daily_loss"),
    (change("peak", D(11_200)), "drawdown"),
]


@pytest.mark.fault("D2")
@pytest.mark.fault("D4")
@pytest.mark.fault("F6")
@pytest.mark.parametrize(("alter", "check"), MISSING)
@pytest.mark.parametrize("intent", [order(), market()])
def test_entries_are_denied_when_anything_is_missing_or_bad(
    alter: Callable[[FakeView], None], check: str, intent: OrderIntent
) -> None:
    """Takes one piece of a healthy view away."""
    view = FakeView()
    alter(view)
    assert review(intent, view) == check


@pytest.mark.fault("F2")
@pytest.mark.parametrize(
    ("limits", "check"),
    [
        ({"max_order_qty": {"*": "0.9"}}, "max_order_qty"),
        ({"max_order_qty": {OTHER: 5}}, "max_order_qty"),
        ({"max_order_qty": {NAME: "0.9", "*": 5}}, "max_order_qty"),
        ({"max_position_qty": {"*": "0.9"}}, "max_position_qty"),
        ({"max_position_qty": {OTHER: 5}}, "max_position_qty"),
        ({"max_order_notional": 100}, "max_order_notional"),
        ({"max_position_notional": 100}, "max_position_notional"),
        ({"max_gross_notional": 100}, "max_gross_notional"),
        ({"max_net_notional": 100}, "max_net_notional"),
        ({"allowed_instruments": [OTHER]}, "allow_list"),
        ({"collar_bps": "1.9"}, "collar"),
    ],
)
def test_each_limit_denies_by_name(limits: dict[str, Any], check: str) -> None:
    """The order is worth 100.02 at 2 bps from the mid; each limit is just below it, and just enough lets it pass."""
    assert review(order(), limits=make_limits(**limits)) == check


@pytest.mark.fault("F2")
def test_limits_are_inclusive() -> None:
    """Exactly at each limit the order passes."""
    exact = make_limits(
        max_order_qty={"*": 1},
        max_position_qty={"*": 1},
        max_order_notional="100.02",
        max_position_notional="100.02",
        max_gross_notional="100.02",
        max_net_notional="100.02",
        collar_bps=2,
    )
    assert review(order(), limits=exact) == ""


@pytest.mark.fault("D3")
@pytest.mark.fault("F2")
@pytest.mark.parametrize(("px", "check"), [("100.50", ""), ("100.51", "collar"), ("99.50", ""), ("99.49", "collar")])
def test_the_collar_of_entries_has_two_sides(px: str, check: str) -> None:
    """50 bps on a mid of 100."""
    assert review(order(limit_px=D(px))) == check


@pytest.mark.fault("F2")
def test_a_market_entry_is_denied_by_a_wide_spread() -> None:
    """The far touch is 60 bps from the mid, the collar 50."""
    view = FakeView()
    view.quote(NAME, 99.4, 100.6)
    assert review(market(), view) == "collar"


def test_a_stop_limit_is_collared_by_its_trigger() -> None:
    """Far from the mid, near its own trigger, and the reverse."""
    stop = order(
        order_type=OrderType.STOP_LIMIT, trigger_px=D(110), limit_px=D("110.10"), time_in_force=TimeInForce.GTC
    )
    assert review(stop) == ""
    assert review(order(order_type=OrderType.STOP_LIMIT, trigger_px=D(110))) == "collar"


def test_spot_cannot_be_sold_short_but_a_perpetual_can() -> None:
    """Sells 1 of nothing."""
    sell = order(side=Side.SELL, limit_px=D("99.98"))
    assert review(sell) == "short_sale"
    limits = make_limits(allowed_instruments=[PERP])
    assert review(order(side=Side.SELL, limit_px=D("99.98"), instrument=PERP), short_view(), limits) == ""


def test_an_expired_instrument_is_denied() -> None:
    """Expiry at this very nanosecond."""
    assert review(order(), FakeView(make_instrument(expiry_ns=FakeView().now_ns))) == "expiry"


@pytest.mark.fault("F4")
def test_open_orders_are_bounded() -> None:
    """The second of two with a limit of one; a reducing one passes."""
    view, gate = FakeView(), Gate(make_limits(max_open_orders=1))
    view.open(order(limit_px=D("99.90"), time_in_force=TimeInForce.GTC))
    assert check_of(gate.review(order(), view)) == "max_open_orders"


@pytest.mark.fault("F12")
def test_no_entry_may_trade_with_an_order_of_ours() -> None:
    """A resting sell at 100.02 of another strategy stands in the way of a buy at that price, not of one below."""
    view, gate = short_view(), Gate(make_limits(allowed_instruments=[PERP]))
    view.open(order(instrument=PERP, side=Side.SELL, strategy="other"))
    assert check_of(gate.review(order(instrument=PERP), view)) == "self_trade"
    assert check_of(gate.review(market(instrument=PERP), view)) == "self_trade"
    assert check_of(gate.review(order(instrument=PERP, limit_px=D("100.01")), view)) == ""


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("limit_px", "quoted", "slip_bps", "meets"),
    [
        ("100.52", {}, 50, True),
        ("100.53", {}, 50, False),
        ("100.23", {}, 20, False),
        ("101.00", {"ask_px": 100.80, "bid_px": 99.20}, 20, True),
        ("101.01", {"ask_px": 100.80, "bid_px": 99.20}, 20, False),
    ],
    ids=["within the slip", "beyond it", "beyond a smaller one", "within it behind a far touch", "beyond that"],
)
def test_an_entry_at_market_is_stopped_only_by_what_it_could_reach(
    limit_px: str, quoted: dict[str, float], slip_bps: int, meets: bool
) -> None:
    """A sell of another strategy rests above the market, mid 100; as far below it a bid, for a sale: the same."""
    limits = make_limits(allowed_instruments=[PERP], market_slip_bps=D(slip_bps), collar_bps=D(200))
    for side in (Side.BUY, Side.SELL):
        view, gate = short_view(), Gate(limits)
        view.quote(PERP, **{"ask_px": 100.02, "bid_px": 99.98, **quoted})
        px = D(limit_px) if side is Side.BUY else 200 - D(limit_px)
        view.open(order(instrument=PERP, side=side.opposite, strategy="other", limit_px=px))
        assert check_of(gate.review(market(instrument=PERP, side=side), view)) == ("self_trade" if meets else "")


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("limit_px", "trigger_px", "meets"),
    [("99.80", "99.90", False), ("99.80", "100.50", True), ("100.50", "99.90", False), ("100.01", "99.90", True)],
    ids=["stop that waits", "stop whose price came", "bracket above", "bracket at the price"],
)
def test_a_stop_that_waits_for_its_price_is_in_nobodys_way(limit_px: str, trigger_px: str, meets: bool) -> None:
    """A sell stop below the market is in no book, whatever its limit; a bracket rests at its target."""
    view, gate = short_view(), Gate(make_limits(allowed_instruments=[PERP]))
    kind = OrderType.STOP_LIMIT if D(limit_px) <= D(trigger_px) else OrderType.BRACKET
    stop = order(instrument=PERP, side=Side.SELL, strategy="other", order_type=kind, limit_px=D(limit_px))
    view.open(msgspec.structs.replace(stop, trigger_px=D(trigger_px)))
    assert check_of(gate.review(order(instrument=PERP), view)) == ("self_trade" if meets else "")


@pytest.mark.fault("F12")
def test_no_entry_against_what_another_strategy_holds() -> None:
    """The other is long 2: our sell is no exit of ours, so it is an entry against it; our own exit passes."""
    view, gate = short_view(), Gate(make_limits(allowed_instruments=[PERP]))
    view.hold(PERP, D(2), strategy="other")
    sell = order(instrument=PERP, side=Side.SELL, limit_px=D("99.98"))
    assert check_of(gate.review(sell, view)) == "opposing_strategy"
    view.hold(PERP, D(3))
    view.strategy_qtys["s", PERP] = D(1)
    assert check_of(gate.review(sell, view)) == ""


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("restriction", "wish", "check"),
    [
        (Restriction("post_only", status=TradingStatus.POST_ONLY), order(), "tradable"),
        (
            Restriction("post_only", status=TradingStatus.POST_ONLY),
            order(post_only=True, time_in_force=TimeInForce.GTC, limit_px=D("99.90")),
            "",
        ),
        (Restriction("limit_only", status=TradingStatus.LIMIT_ONLY), market(), "tradable"),
        (Restriction("limit_only", status=TradingStatus.LIMIT_ONLY), order(), ""),
        (Restriction("not confirmed", exits_only=True), order(), "tradable"),
        (Restriction("not confirmed", exits_only=True), leave(), ""),
        (Restriction("limit_only", status=TradingStatus.LIMIT_ONLY), leave_at_market(), "tradable"),
        ("closed", leave(), "tradable"),
    ],
)
def test_a_restriction_stops_the_orders_that_it_names(restriction: str, wish: OrderIntent, check: str) -> None:
    """Post-only, limit-only, and an account that waits to be confirmed: that one lets whatever reduces go."""
    view = FakeView()
    view.hold(NAME, D(1), strategy=leave().strategy)
    view.closed[NAME] = restriction
    found = Gate(make_limits(max_position_qty={"*": 10})).review(wish, view)
    assert check_of(found) == check
    if check:
        assert isinstance(found, Rejected)
        assert (type(found.seen), found.seen) == (str, str(restriction))


def test_a_price_below_zero_is_worth_what_it_is_above() -> None:
    """Where the instrument allows it: entries and exits pass that would be a smallest order's worth above zero."""
    rules = {"allows_negative_px": True, "asset_class": AssetClass.FUTURE, "can_short": True, "min_notional": D(5)}
    view = FakeView(make_instrument(**rules))
    view.quote(NAME, -5.02, -4.98)
    assert review(order(limit_px=D("-5.00")), view) == ""
    assert review(order(limit_px=D("-4.98")), view) == "min_notional"
    assert review(market(), view) == ""
    view.hold(NAME, D(1), strategy="s")
    assert review(leave(limit_px=D("-5.02"), reduce_only=False), view) == ""
