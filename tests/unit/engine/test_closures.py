"""Open orders under rules that changed and in markets that closed, through a whole core."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.closures import misfit
from engine.commands import Approved, CancelOrder, GroupIntent, NewOrder, OrderType, TimeInForce
from engine.orders import OrderManager
from engine.withdrawals import CANCEL_AGAIN_NS
from risk.gate import Gate
from tests.support.account import Account
from tests.support.core import BTC, D, intent, perpetual, quote, spot
from tests.support.limits import make_limits


def cancels(account: Account) -> list[tuple[str, str]]:
    return [(one.client_order_id, one.reason) for one in account.records if isinstance(one, CancelOrder)]


def tick(account: Account) -> None:
    account.now_ns += CANCEL_AGAIN_NS
    at = account._at()
    account.publish(e.Timer(at, at, "tick"))


def placed(account: Account, **wish: Any) -> NewOrder:
    """An order of the strategy that the venue has accepted."""
    account.wish(intent(**wish))
    order = account.venue.orders[-1]
    account.accept(order)
    return order


@pytest.fixture
def account() -> Account:
    return Account()


def redefine(account: Account, **changes: Any) -> None:
    at = account._at()
    account.publish(e.InstrumentDefined(at, at, spot(**changes)))


@pytest.mark.fault("D9")
@pytest.mark.parametrize(
    "kind",
    [{"inverse": True, "multiplier": D(100)}, {"allows_negative_px": True, "min_notional": D(0)}],
    ids=["inverse", "below zero"],
)
def test_the_smallest_order_is_counted_in_quote_currency_whatever_the_contract(kind: dict[str, Any]) -> None:
    """10 contracts of 100 USD each are worth 1,000 USD at any price, and what is sold below zero is worth more than
    nothing: an exit stays when something else of the rules changes."""
    rules = perpetual(**{"min_notional": D(100), **kind})
    orders = OrderManager("k")
    px = D(-5) if rules.allows_negative_px else D(50_000)
    opened = orders.open(Approved(intent(qty="10", limit_px=px), D(0)), 1, rules.venue)
    order = orders.get(opened.client_order_id)
    assert order is not None
    assert misfit(order, rules) == ""


@pytest.mark.fault("D9")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tick_px": D("0.5")}, "price 100.01 is no multiple of 0.5"),
        ({"lot_qty": D("0.2")}, "quantity 0.1 is no multiple of 0.2"),
        ({"min_qty": D("0.5")}, "quantity 0.1 is below 0.5"),
        ({"max_qty": D("0.05")}, "quantity 0.1 is above 0.05"),
        ({"min_notional": D("50")}, "0.1 at 100.01 is worth less than 50"),
    ],
)
def test_an_open_order_that_new_rules_would_refuse_is_cancelled(
    account: Account, changes: dict[str, Any], why: str
) -> None:
    """Two orders rest; one does not fit the rules that are told, exits included; the other one stays."""
    bad = placed(account, qty="0.1", limit_px=D("100.01"), reduce_only=True)
    good = placed(account, qty="1", limit_px=D("100")) if "max_qty" not in changes else None
    redefine(account, **changes)
    assert cancels(account) == [(bad.client_order_id, f"rules changed: {why}")]
    assert good is None or account.core.orders.get(good.client_order_id) is not None
    # The rules that hold from now on are the new ones.
    (field,) = changes
    assert getattr(account.core.view.instrument(BTC), field) == changes[field]


@pytest.mark.fault("D9")
def test_a_target_that_new_rules_refuse_leaves_its_stop_watched() -> None:
    """The target of a bracket rests, and its price is not on the new grid: what is held is still stopped."""
    account = Account(gate=Gate(make_limits(max_rejections_per_s=10**6)))
    tick(account)
    account.wish()
    account.fill(account.place(qty="1"), "1", "100", "t1")
    shared: dict[str, Any] = {"time_in_force": TimeInForce.GTC, "reduce_only": True}
    stop = intent(e.Side.SELL, order_type=OrderType.STOP, limit_px=None, trigger_px=D("99.5"), **shared)
    account.wish(GroupIntent(1, "s", (intent(e.Side.SELL, limit_px=D("100.51"), **shared), stop)))
    target = account.venue.orders[-1]
    account.accept(target)
    redefine(account, tick_px=D("0.5"))
    assert cancels(account) == [(target.client_order_id, "rules changed: price 100.51 is no multiple of 0.5")]
    account.end(target, e.OrderCancelled)
    tick(account)
    assert account.venue.orders[-1] is target
    account.publish(quote(account._at(), 99.5, 100.0))
    sale = account.venue.orders[-1].intent
    assert (sale.order_type, sale.qty, sale.reduce_only) == (OrderType.MARKET, D(1), True)


@pytest.mark.fault("D9")
def test_rules_that_an_order_fits_leave_it_alone(account: Account) -> None:
    """A finer price step, and the same rules told once more."""
    placed(account, limit_px=D("100"))
    redefine(account, tick_px=D("0.001"))
    redefine(account)
    assert cancels(account) == []


@pytest.mark.fault("D9")
@pytest.mark.parametrize(
    "changes", [{"base": "BCH"}, {"venue_symbol": "BTC-USDC"}, {"multiplier": D(10)}, {"settlement": "EUR"}]
)
def test_an_id_that_means_another_thing_takes_no_order_and_loses_those_it_has(
    account: Account, changes: dict[str, Any]
) -> None:
    """Entries and exits; the definition is not taken, what is held is still valued by the old one.  When the old one
    is told again, orders may leave again."""
    orders = [placed(account), placed(account, reduce_only=True, side=e.Side.SELL)]
    account.fill(orders[0], "0.5", "100", "t1")
    redefine(account, **changes)
    assert [name for name, _ in cancels(account)] == [order.client_order_id for order in orders]
    (field,) = changes
    closed = account.core.view.tradable(BTC)
    assert f"{BTC} was defined anew as another thing: {field}" in closed
    assert account.core.view.instrument(BTC) == account.core.lanes[BTC].instrument == spot()
    assert account.core.view.position(BTC).qty == D("0.5")
    redefine(account, tick_px=D("0.001"))
    assert account.core.view.tradable(BTC) == ""


@pytest.mark.fault("D9")
@pytest.mark.fault("C10")
@pytest.mark.fault("C8")
@pytest.mark.parametrize(
    "event",
    [
        e.InstrumentStatus(20, 20, BTC, e.TradingStatus.HALTED),
        e.InstrumentStatus(20, 20, BTC, e.TradingStatus.CANCEL_ONLY),
        e.VenueStatus(20, 20, "coinbase", e.TradingStatus.HALTED, "key refused"),
        e.VenueStatus(20, 20, "coinbase", e.TradingStatus.CANCEL_ONLY),
    ],
)
def test_a_market_that_stops_loses_our_entries_and_keeps_exits(account: Account, event: e.InputEvent) -> None:
    """Somebody else's order is his own.  A cancel that the venue refuses is asked for again, a second later."""
    entry = placed(account)
    placed(account, reduce_only=True, side=e.Side.SELL)
    account.publish(e.OrderFound(15, 15, "coinbase", "by-hand", "v-9", BTC, e.Side.BUY, D(1), D(0), D(90)))
    account.publish(event)
    assert [name for name, _ in cancels(account)] == [entry.client_order_id]
    assert cancels(account)[0][1] == account.core.view.tradable(BTC)
    account.end(entry, e.CancelRejected)
    account.publish(e.Timer(30, 30, "tick"))
    assert len(cancels(account)) == 1
    for again_ns in (CANCEL_AGAIN_NS + 30, CANCEL_AGAIN_NS + 40):
        account.publish(e.Timer(again_ns, again_ns, "tick"))
    assert len(cancels(account)) == 2
    account.end(entry, e.OrderCancelled)
    account.publish(e.Timer(3 * CANCEL_AGAIN_NS, 3 * CANCEL_AGAIN_NS, "tick"))
    assert len(cancels(account)) == 2


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    "status", [e.TradingStatus.POST_ONLY, e.TradingStatus.LIMIT_ONLY, e.TradingStatus.UNKNOWN, e.TradingStatus.TRADING]
)
def test_a_market_that_takes_some_orders_or_says_nothing_clear_keeps_what_rests(
    account: Account, status: e.TradingStatus
) -> None:
    """What is there may fill; what comes is judged by kind (``test_venues``, ``test_gate_entries``)."""
    placed(account)
    account.publish(e.InstrumentStatus(20, 20, BTC, status))
    assert cancels(account) == []
