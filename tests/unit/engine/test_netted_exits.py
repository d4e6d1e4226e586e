"""Exits beside an opposite position: what the account has first, the rest by an order that may turn it."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelOrder, NewOrder, OrderIntent, OrderType, Rejected, ReplaceIntent, TimeInForce
from engine.core import TradingCore
from engine.events import Side
from engine.instruments import Instrument
from engine.netted_exits import unnet
from risk.gate import Gate
from tests.support.core import (
    BTC,
    D,
    MemoryRecorder,
    Scripted,
    build_core,
    fill,
    intent,
    open_market,
    perpetual,
    quote,
    spot,
)
from tests.support.limits import make_limits


def holding(rules: Instrument | None = None, **held: str) -> TradingCore:
    """A core whose strategies hold so much each, by orders of their own."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core, rules or perpetual(lot_qty=D("0.1"), min_qty=D("0.1")), cash="100000")
    for number, (name, qty) in enumerate(held.items()):
        side = Side.BUY if D(qty) > 0 else Side.SELL
        order = core.desk.place(intent(side, str(abs(D(qty))), name))
        assert isinstance(order, NewOrder)
        core.on_event(fill(order, str(abs(D(qty))), "100", f"t{number}"))
    return core


def leaving(qty: str, side: Side = Side.SELL, **changes: Any) -> OrderIntent:
    return intent(side, qty, reduce_only=True, **changes)


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("own", "other", "qty", "expected", "reduces"),
    [
        ("1", "-0.4", "1", "0.6", True),
        ("1", "-0.4", "0.6", "0.6", True),
        ("1", "-1", "1", "1", False),
        ("1", "-3", "0.5", "0.5", False),
        ("-1", "0.4", "1", "0.6", True),
        ("-1", "1", "1", "1", False),
        ("1", "-0.4", "1.1", "1.1", True),  # more than is its own: risk says so
        ("1", "0.4", "2", "2", True),
    ],
)
def test_what_the_account_has_goes_first(own: str, other: str, qty: str, expected: str, reduces: bool) -> None:
    """By either side."""
    core = holding(s=own, other=other)
    side = Side.SELL if D(own) > 0 else Side.BUY
    found = unnet(leaving(qty, side), core.view)
    assert (found.qty, found.reduce_only) == (D(expected), reduces)


@pytest.mark.parametrize(("own", "other", "qty", "first"), [("3", "-1", "2.5", "1.5"), ("2", "-0.5", "2", "1")])
def test_what_is_left_for_later_is_no_less_than_the_venue_takes(own: str, other: str, qty: str, first: str) -> None:
    """1 at least in an order: of the account's 2 or 1.5 so much goes first that the rest can leave after it."""
    core = holding(perpetual(lot_qty=D("0.1"), min_qty=D(1)), s=own, other=other)
    found = unnet(leaving(qty), core.view)
    assert (found.qty, found.reduce_only) == (D(first), True)


@pytest.mark.fault("F1")
@pytest.mark.parametrize(
    ("own", "other", "qty", "first", "reduces"),
    [("3", "-1", "2.5", "1.3", True), ("3", "-2.9", "1", "1", False), ("3", "-1", "2", "2", True)],
)
def test_no_part_is_worth_less_than_the_venue_takes(own: str, other: str, qty: str, first: str, reduces: bool) -> None:
    """110 at least at a price of 100, and some room: 1.2.  Of the account's 2, so much goes first that the rest can
    leave after it; 0.1 goes not by itself, as it would be refused again and again."""
    core = holding(perpetual(lot_qty=D("0.1"), min_qty=D("0.1"), min_notional=D(110)), s=own, other=other)
    core.on_event(quote(60))
    found = unnet(leaving(qty), core.view)
    assert (found.qty, found.reduce_only) == (D(first), reduces)


def test_where_both_parts_would_be_too_small_all_of_it_may_turn_the_account() -> None:
    """1.5 of which the account has 1, where an order is of 1 at least."""
    core = holding(perpetual(lot_qty=D("0.1"), min_qty=D(1)), s="2.5", other="-1.5")
    found = unnet(leaving("1.5"), core.view)
    assert (found.qty, found.reduce_only) == (D("1.5"), False)


def test_what_its_own_open_exits_close_is_not_closed_twice() -> None:
    """1 held beside 1 short, 0.7 of it on its way out: 0.3 may follow, and no more."""
    core = holding(s="1", other="-1")
    assert isinstance(core.desk.place(intent(Side.SELL, "0.7")), NewOrder)
    assert unnet(leaving("0.3"), core.view).reduce_only is False
    wish = leaving("0.4")
    assert unnet(wish, core.view) is wish


@pytest.mark.fault("F12")
def test_what_another_strategy_wants_to_sell_takes_no_exit_away() -> None:
    """1 held and 1 by another, whose sale of 3 rests and would turn it: what the account then has not is sold by an
    order that may turn the account as well."""
    core = holding(s="1", other="1")
    order = core.desk.place(intent(Side.SELL, "3", "other", limit_px=D(120), time_in_force=TimeInForce.GTC))
    assert isinstance(order, NewOrder)
    found = unnet(leaving("1"), core.view)
    assert (found.qty, found.reduce_only) == (D(1), False)
    wish = leaving("1.1")
    assert unnet(wish, core.view) is wish


@pytest.mark.parametrize("closer", ["operator", "guardian", ""])
def test_what_somebody_closes_for_it_is_not_closed_twice(closer: str) -> None:
    """1 held and 1 by another: an operator's sale of 2 is out and closes both."""
    core = holding(s="1", other="1")
    assert isinstance(core.desk.place(intent(Side.SELL, "2", closer, order_type=OrderType.MARKET)), NewOrder)
    wish = leaving("1")
    assert unnet(wish, core.view) is wish


@pytest.mark.fault("F12")
@pytest.mark.parametrize("rests", [True, False])
def test_what_rests_in_the_way_of_a_hidden_exit_goes_first(rests: bool) -> None:
    """As with any exit: a bid of the other strategy is cancelled, and none takes its place meanwhile.  Its own way out
    at market is not cancelled; this one waits for it."""
    gate = Gate(make_limits(opposing="net", max_rejections_per_s=10**6))
    core = build_core(recorder := MemoryRecorder(), Scripted(), gate=gate)
    open_market(core, perpetual(lot_qty=D("0.1"), min_qty=D("0.1")), cash="10000")
    core.on_event(quote(10))
    core.on_event(e.Timer(11, 11, "tick"))
    for number, (name, side) in enumerate({"s": Side.BUY, "other": Side.SELL}.items()):
        order = core.desk.place(intent(side, "1", name, limit_px=D("100.01") if side > 0 else D(100)))
        assert isinstance(order, NewOrder)
        core.on_event(fill(order, "1", "100", f"t{number}"))
    market = {"order_type": OrderType.MARKET, "limit_px": None}
    changes = {"limit_px": D("99.9"), "time_in_force": TimeInForce.GTC} if rests else market
    bid = core.desk.place(intent(Side.BUY, "1", "other", reduce_only=not rests, **changes))
    assert isinstance(bid, NewOrder)
    way_out = leaving("1", **market)
    core.desk.carry_out([way_out])
    assert recorder.of(Rejected)[-1].check == "in_the_way"
    assert [one.client_order_id for one in recorder.of(CancelOrder)] == ([bid.client_order_id] if rests else [])
    if rests:
        core.on_event(e.OrderCancelled(60, 60, "coinbase", bid.client_order_id, "v"))
        core.desk.carry_out([intent(Side.BUY, "1", "other", limit_px=D("99.9"), time_in_force=TimeInForce.GTC)])
        assert recorder.of(Rejected)[-1].check == "exit_waits"
    else:
        core.on_event(fill(bid, "1", "100", "t9", ts_ns=60))
    core.desk.carry_out([way_out])
    left = recorder.of(NewOrder)[-1].intent
    assert (left.strategy, left.side, left.qty, left.reduce_only) == ("s", Side.SELL, D(1), not rests)


@pytest.mark.fault("F12")
@pytest.mark.parametrize("stopped", [False, True])
def test_what_keeps_a_strategy_from_entering_keeps_no_hidden_exit_back(stopped: bool) -> None:
    """1 held beside another's 1, whose sale of 3 rests, where entries against others are blocked; or after the strategy
    has lost its day.  A sale that would open something is refused as ever."""
    limits = {"strategy_limits": {"*": {"max_daily_loss": 5}}} if stopped else {}
    gate = Gate(make_limits(opposing="net" if stopped else "block", **limits))
    core = build_core(MemoryRecorder(), Scripted(), gate=gate)
    open_market(core, perpetual(lot_qty=D("0.1"), min_qty=D("0.1")), cash="10000")
    core.on_event(quote(10))
    core.on_event(e.Timer(11, 11, "tick"))
    buys = {"limit_px": D("100.01")}
    for name in ("other", "s"):
        order = core.desk.place(intent(Side.BUY, "1", name, **buys))
        assert isinstance(order, NewOrder)
        core.on_event(fill(order, "1", "110" if stopped and name == "s" else "100", f"t-{name}"))
        if name == "other":
            assert isinstance(core.desk.place(intent(Side.SELL, "3", name, limit_px=D("100.4"))), NewOrder)
    market = {"order_type": OrderType.MARKET, "limit_px": None}
    entry = core.desk.place(intent(Side.SELL, "1.1", **market))
    assert isinstance(entry, Rejected)
    assert entry.check == ("strategy_daily_loss" if stopped else "opposing_strategy")
    made = core.desk.place(leaving("1", **market))
    assert isinstance(made, NewOrder)
    assert (made.intent.qty, made.intent.reduce_only) == (D(1), False)


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("closer", "limits", "check"),
    [
        ("guardian", {"guardian": {"stop_bps": 100, "cooldown_s": 60}}, "guardian_cooldown"),
        ("operator", {"strategy_limits": {"*": {"max_daily_loss": 5}}}, "strategy_daily_loss"),
    ],
)
def test_what_a_closing_order_that_is_out_leaves_nothing_of_is_no_exit(
    closer: str, limits: dict[str, Any], check: str
) -> None:
    """A strategy that leaves by plain sales beside the guardian's: both filled, it would be short by all it had."""
    core = build_core(MemoryRecorder(), Scripted(), gate=Gate(make_limits(opposing="net", **limits)))
    open_market(core, perpetual(), cash="10000")
    core.on_event(quote(10))
    core.on_event(e.Timer(11, 11, "tick"))
    bought = core.desk.place(intent(limit_px=D("100.01")))
    assert isinstance(bought, NewOrder)
    core.on_event(fill(bought, "1", "110", "t1"))
    market = {"order_type": OrderType.MARKET, "limit_px": None}
    assert isinstance(core.desk.place(leaving("1", strategy=closer, **market)), NewOrder)
    refused = core.desk.place(intent(Side.SELL, "1", **market))
    assert isinstance(refused, Rejected)
    assert refused.check == check


@pytest.mark.parametrize("closer", ["operator", "guardian"])
def test_no_exit_takes_the_order_back_that_closes_the_account(closer: str) -> None:
    """3 long beside 1 short: the sale of 2 at market that is out is the guardian's, or made by hand."""
    gate = Gate(make_limits(opposing="net"))
    core = build_core(recorder := MemoryRecorder(), Scripted(), gate=gate)
    open_market(core, perpetual(lot_qty=D("0.1"), min_qty=D("0.1")), cash="10000")
    core.on_event(quote(10))
    core.on_event(e.Timer(11, 11, "tick"))
    for number, (name, side, qty) in enumerate((("s", Side.BUY, "3"), ("other", Side.SELL, "1"))):
        order = core.desk.place(intent(side, qty, name, limit_px=D("100.01") if side > 0 else D(100)))
        assert isinstance(order, NewOrder)
        core.on_event(fill(order, qty, "100", f"t{number}"))
    market = {"order_type": OrderType.MARKET, "limit_px": None}
    assert isinstance(core.desk.place(leaving("2", strategy=closer, **market)), NewOrder)
    core.desk.carry_out([leaving("1", Side.BUY, strategy="other", **market)])
    assert recorder.of(Rejected)[-1].check == "in_the_way"
    assert recorder.of(CancelOrder) == []


def test_what_an_operator_closes_is_turned_by_nobody() -> None:
    """2 long beside 1 short: while the account's 1 is closed by hand, the strategy's exit cannot sell it once more."""
    core = holding(s="2", other="-1")
    core.on_event(quote(60))
    gate = core.gate
    gate.refuse = "tradable"  # type: ignore[attr-defined]
    core.on_event(e.OperatorRequested(61, 61, "close", "cli", "x", instrument=BTC))
    gate.refuse = ""  # type: ignore[attr-defined]
    made = core.desk.place(leaving("2", order_type=OrderType.MARKET, limit_px=None))
    assert isinstance(made, NewOrder)
    assert (made.intent.qty, made.intent.reduce_only) == (D(2), True)  # risk judges it as it is


def test_what_may_rest_stays_an_order_that_only_reduces() -> None:
    """Its position may be another by then."""
    core = holding(s="1", other="-1")
    wish = leaving("1", limit_px=D(120), time_in_force=TimeInForce.GTC)
    assert unnet(wish, core.view) is wish
    # A stop waits for its trigger, whatever it is to do then.
    for at_once in (TimeInForce.IOC, TimeInForce.FOK):
        wish = leaving("1", order_type=OrderType.STOP_LIMIT, limit_px=D(89), trigger_px=D(90), time_in_force=at_once)
        assert wish.may_rest
        assert unnet(wish, core.view) is wish
    assert not unnet(leaving("1", order_type=OrderType.MARKET, limit_px=None), core.view).reduce_only


@pytest.mark.parametrize(("total", "left", "reduces"), [("1", "0.6", False), ("2", "1.6", True)])
def test_what_follows_an_exit_that_may_turn_the_account_reduces_only(total: str, left: str, reduces: bool) -> None:
    """0.4 of 1 sold, when another version was wished for: one that closes what is held still leaves as the first did,
    and one that is larger is risk's to refuse."""
    core = holding(s="1", other="-1")
    first = core.desk.place(leaving("1", limit_px=D("99.9"), time_in_force=TimeInForce.IOC))
    assert isinstance(first, NewOrder)
    assert not first.intent.reduce_only
    core.desk.carry_out([ReplaceIntent(51, "s", first.client_order_id, D(total), D("99.8"))])
    core.on_event(fill(first, "0.4", "100", "t9", ts_ns=52))
    (after,) = core.on_event(e.OrderCancelled(53, 53, "coinbase", first.client_order_id, "v"))
    assert isinstance(after, NewOrder)
    assert (after.intent.qty, after.intent.reduce_only) == (D(left), reduces)


def test_where_nothing_can_be_sold_short_nothing_is_hidden() -> None:
    """The account has less than the strategy believes: no order of ours mends that."""
    core = holding(spot(can_short=False), s="1", other="-0.4")
    wish = leaving("1")
    assert unnet(wish, core.view) is wish
