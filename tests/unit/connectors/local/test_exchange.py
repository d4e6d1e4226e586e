"""Orders and money of a local spot venue, without a server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.local.exchange import ACCOUNT, Exchange
from connectors.local.records import Act, OrderSpec, Refused
from connectors.matching.orders import CloseReason
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from tests.support.local_venues import NOW_NS, spot

LATER_NS = NOW_NS + 2_000_000_000


def spec(side: Side = Side.BUY, kind: OrderType = OrderType.LIMIT, qty: str = "0.01", **more: Any) -> OrderSpec:
    amounts = {name: Decimal(more.pop(name)) for name in ("limit_px", "trigger_px", "quote_qty") if name in more}
    return OrderSpec("BTC/USDT", side, kind, kind.value, qty=Decimal(qty), **amounts, **more)


def total(venue: Exchange, asset: str) -> Decimal:
    return venue.ledger.balance(ACCOUNT, asset).total


def best(venue: Exchange) -> tuple[Decimal, Decimal]:
    found = venue.markets["BTC/USDT"].engine.best()
    assert found is not None
    return found[0], found[2]


def test_a_market_order_pays_its_fee_in_quote_currency() -> None:
    """What came and what went are the fill's numbers."""
    venue = spot(fees_in="quote")
    record = venue.place(spec(kind=OrderType.MARKET), LATER_NS)
    assert (record.reason, record.filled_qty) == (CloseReason.FILLED, Decimal("0.01"))
    fee = record.filled_value * Decimal("0.001")
    assert record.fees == {"USDT": fee}
    assert total(venue, "BTC") == Decimal("2.01")
    assert total(venue, "USDT") == 100_000 - record.filled_value - fee


def test_a_fee_in_what_the_trade_gives_comes_out_of_the_bought_coins() -> None:
    """A buyer has less of the base, a seller less of the quote."""
    venue = spot(fees_in="received")
    bought = venue.place(spec(kind=OrderType.MARKET), LATER_NS)
    assert bought.fees == {"BTC": Decimal("0.00001")}
    assert total(venue, "BTC") == Decimal("2.01") - Decimal("0.00001")
    sold = venue.place(spec(Side.SELL, OrderType.MARKET), LATER_NS)
    assert sold.fees == {"USDT": sold.filled_value * Decimal("0.001")}


def test_an_order_of_so_much_money_spends_no_more() -> None:
    """Bought by cost, the rest comes back."""
    venue = spot()
    record = venue.place(spec(kind=OrderType.MARKET, qty="0", quote_qty="500"), LATER_NS)
    assert 490 < record.filled_value <= 500
    balance = venue.ledger.balance(ACCOUNT, "USDT")
    assert balance.available == balance.total


@pytest.mark.parametrize(
    ("reason", "order"),
    [
        ("tick_px", spec(limit_px="50000.001")),
        ("lot_qty", spec(qty="0.000015", limit_px="50000")),
        ("min_notional", spec(qty="0.00001", limit_px="50000")),
        ("max_qty", spec(qty="10000", limit_px="50000")),
        ("funds", spec(qty="5", limit_px="50000")),
        ("funds", spec(Side.SELL, qty="3", limit_px="70000")),
        ("post_only", spec(limit_px="70000", post_only=True)),
        ("stop_side", spec(Side.SELL, OrderType.STOP_LIMIT, limit_px="69000", trigger_px="70000", stop_up=False)),
        ("min_notional", spec(kind=OrderType.MARKET, qty="0", quote_qty="1")),
    ],
)
def test_what_breaks_a_rule_is_refused_and_holds_nothing(reason: str, order: OrderSpec) -> None:
    """By its reason; money and orders are as before."""
    venue = spot()
    for asked in (venue.place, venue.check):
        with pytest.raises(Refused) as caught:
            asked(order, LATER_NS)
        assert caught.value.reason == reason
    assert not venue.open_orders
    assert venue.ledger.balance(ACCOUNT, "USDT").available == 100_000
    assert venue.find("") is None


def test_a_halted_market_takes_cancels_only() -> None:
    """Nothing trades while it stands."""
    venue = spot()
    order = venue.place(spec(limit_px="50000"), LATER_NS)
    market = venue.markets["BTC/USDT"]
    market.halted = True
    with pytest.raises(Refused) as caught:
        venue.place(spec(limit_px="50000"), LATER_NS)
    assert caught.value.reason == "halted"
    trades = len(market.tape.trades)
    venue.step(LATER_NS + 10_000_000_000)
    assert len(market.tape.trades) == trades
    assert venue.cancel(order, LATER_NS)
    assert not venue.cancel(order, LATER_NS)


def test_stops_fire_at_a_trade_with_and_without_a_limit() -> None:
    """Others trade down to the trigger: the stop at market sells at once, the other rests at its limit."""
    venue = spot()
    bid, _ = best(venue)
    trigger_px = (bid - 50).quantize(Decimal("0.01"))
    at_market = venue.place(spec(Side.SELL, OrderType.STOP, trigger_px=trigger_px, stop_up=False), LATER_NS)
    limited = venue.place(
        spec(Side.SELL, OrderType.STOP_LIMIT, trigger_px=trigger_px, limit_px="65000", stop_up=False), LATER_NS
    )
    market = venue.markets["BTC/USDT"]
    venue.trade(market, Side.SELL, trigger_px, Decimal(2_000), LATER_NS, rest=True)
    venue.trade(market, Side.BUY, trigger_px, Decimal("0.5"), LATER_NS, rest=True)
    assert at_market.triggered
    assert at_market.reason in (CloseReason.FILLED, CloseReason.IOC)
    assert limited.triggered
    assert limited.is_open


def test_an_amended_order_keeps_its_number_and_its_money_is_right() -> None:
    """Smaller, larger, dearer; what cannot be leaves it as it was."""
    venue = spot()
    order = venue.place(spec(limit_px="50000"), LATER_NS)
    for qty, px in (("0.005", "50000"), ("0.02", "50000"), ("0.02", "51000")):
        venue.amend(order, Decimal(qty), Decimal(px), LATER_NS)
        held = venue.ledger.balance(ACCOUNT, "USDT")
        assert held.total - held.available == Decimal(qty) * Decimal(px) * Decimal("1.001")
        live = venue.markets["BTC/USDT"].engine.order(str(order.number))
        assert live is not None
        assert (live.leaves_qty, live.limit_px) == (Decimal(qty), Decimal(px))
    for qty, px, reason in (("5", "51000", "funds"), ("0.02", "51000.001", "tick_px"), ("0", "51000", "bad_qty")):
        with pytest.raises(Refused) as caught:
            venue.amend(order, Decimal(qty), Decimal(px), LATER_NS)
        assert caught.value.reason == reason
        assert order.spec.qty == Decimal("0.02")
    acts = [event.act for event in venue.drain().orders]
    assert acts == [Act.NEW, Act.AMEND, Act.AMEND, Act.AMEND]
    assert venue.cancel(order, LATER_NS)
    assert venue.ledger.balance(ACCOUNT, "USDT").available == 100_000


def test_an_order_whose_time_is_up_ends_by_itself() -> None:
    """Also where the market stands still."""
    venue = spot()
    order = venue.place(spec(limit_px="50000", time_in_force=TimeInForce.GTD, expire_ns=LATER_NS + 5), LATER_NS)
    venue.expire(LATER_NS + 5)
    assert order.reason is CloseReason.EXPIRED


def test_what_streams_tell_is_each_thing_once() -> None:
    """An order's life in order, with the state that it had; the second drain has nothing."""
    venue = spot()
    venue.drain()
    _, ask = best(venue)
    order = venue.place(spec(qty="0.5", limit_px=str(ask)), LATER_NS)
    if order.is_open:
        venue.cancel(order, LATER_NS)
    updates = venue.drain()
    acts = [event.act for event in updates.orders]
    assert acts[0] is Act.NEW
    assert acts[-1] is Act.END
    assert set(acts[1:-1]) == {Act.FILL}
    filled = [event.order.filled_qty for event in updates.orders]
    assert filled == sorted(filled)
    assert updates.trades["BTC/USDT"][-1].qty == venue.fills[-1].qty
    assert set(updates.assets) == {"BTC", "USDT"}
    again = venue.drain()
    assert not again.orders
    assert not again.trades
    assert not again.changes


def test_closed_orders_are_kept_up_to_a_bound() -> None:
    """The oldest goes, with its client id."""
    venue = spot(max_orders=3)
    numbers = []
    for turn in range(5):
        order = venue.place(spec(limit_px="50000", client_id=f"c{turn}"), LATER_NS)
        venue.cancel(order, LATER_NS)
        numbers.append(order.number)
    assert list(venue.orders) == numbers[2:]
    assert venue.find("c1") is None
    assert venue.find("c4") is not None


def test_open_orders_are_bounded() -> None:
    """One more is refused."""
    venue = spot(max_open_orders=2)
    for _ in range(2):
        venue.place(spec(limit_px="50000"), LATER_NS)
    with pytest.raises(Refused) as caught:
        venue.place(spec(limit_px="50000"), LATER_NS)
    assert caught.value.reason == "too_many"


_ORDERS = st.tuples(
    st.sampled_from(list(Side)),
    st.sampled_from(["market", "limit", "ioc", "cost", "cancel", "amend", "others"]),
    st.integers(1, 40_000),
    st.integers(-300, 300),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_ORDERS, max_size=25), st.sampled_from(["quote", "received"]))
def test_no_money_comes_from_nowhere(acts: list[tuple[Side, str, int, int]], fees_in: str) -> None:
    """Whatever is asked, in any order: fills and fees explain both balances, and nothing is held when all has ended."""
    venue = spot(fees_in=fees_in)
    market = venue.markets["BTC/USDT"]
    now_ns = LATER_NS
    for side, act, lots, off in acts:
        now_ns += 50_000_000
        venue.step(now_ns)
        qty = (Decimal(lots) / 100_000).quantize(Decimal("0.00001"))
        px = (best(venue)[0] + off).quantize(Decimal("0.01"))
        mine = list(venue.open_orders.values())
        try:
            if act == "others":
                venue.trade(market, side, px, qty, now_ns, rest=bool(lots % 2))
            elif act in ("cancel", "amend"):
                if mine and act == "cancel":
                    venue.cancel(mine[0], now_ns)
                elif mine:
                    venue.amend(mine[0], qty, px, now_ns)
            elif act == "cost":
                venue.place(spec(side, OrderType.MARKET, "0", quote_qty=qty * 1_000), now_ns)
            elif act == "market":
                venue.place(spec(side, OrderType.MARKET, str(qty)), now_ns)
            else:
                in_force = TimeInForce.IOC if act == "ioc" else TimeInForce.GTC
                venue.place(spec(side, qty=str(qty), limit_px=px, time_in_force=in_force), now_ns)
        except Refused:
            pass
    for order in list(venue.open_orders.values()):
        venue.cancel(order, now_ns)
    usdt, btc = Decimal(100_000), Decimal(2)
    for fill in venue.fills:
        bought = fill.order.spec.side is Side.BUY
        btc += fill.qty if bought else -fill.qty
        usdt -= fill.px * fill.qty if bought else -fill.px * fill.qty
        if fill.fee_asset == "BTC":
            btc -= fill.fee
        else:
            usdt -= fill.fee
    for asset, amount in (("USDT", usdt), ("BTC", btc)):
        balance = venue.ledger.balance(ACCOUNT, asset)
        assert balance.total == amount
        assert balance.available == balance.total
        assert balance.total >= 0
