"""The paper venue as the core meets it: commands in, events out, in feed time."""

from __future__ import annotations

import msgspec
import pytest

from connectors.paper.exchange import PaperExchange
from engine.commands import OrderType, TimeInForce
from engine.events import (
    BalanceReported,
    CancelRejected,
    FeedUp,
    InstrumentDefined,
    InstrumentStatus,
    Liquidity,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    RateReported,
    SessionScheduled,
    Side,
    TradingStatus,
    VenueStatus,
)
from engine.instruments import AssetClass
from engine.ports import VenueGateway
from tests.support.matching import NAN, PERPETUAL, SPOT, D, new, quote
from tests.support.paper import Desk, opened

BUY, SELL = Side.BUY, Side.SELL


def test_it_is_a_gateway():
    """The port's own runtime shape."""
    gateway: VenueGateway = Desk().exchange
    assert gateway.venue == "test"


def test_start_reports_instruments_balances_and_streams():
    """In the order in which a session needs them; a live feed asks for less."""
    desk = Desk()
    desk.exchange.start(5)
    assert [type(e) for e in desk.events] == [InstrumentDefined, BalanceReported, FeedUp, FeedUp]
    assert (desk.events[1].currency, desk.events[1].total) == ("USD", D(10_000))
    assert {e.ts_recv_ns for e in desk.events} == {5}
    desk.events.clear()
    desk.exchange.start(6, define=False, streams=("user",))
    assert [type(e) for e in desk.events] == [BalanceReported, FeedUp]


def test_an_order_arrives_after_the_latency_and_meets_the_market_of_that_moment():
    """Sent at 100 when the ask is 101; at 120 the ask is 103: it fills at 103, stamped 120."""
    desk = opened().send("c1", BUY, "1")
    assert desk.events == []
    desk.quote(102, 103, 110).at(119)
    assert desk.events == []
    desk.at(125)
    fill = desk.last(OrderFilled)
    assert desk.kinds("c1") == ["OrderAccepted", "OrderFilled"]
    assert (fill.px, fill.qty, fill.ts_event_ns) == (D(103), D(1), 120)
    assert (fill.fee, fill.fee_currency, fill.liquidity) == (D("0.206"), "USD", Liquidity.TAKER)
    assert fill.venue_order_id == desk.last(OrderAccepted).venue_order_id


def test_a_resting_order_fills_as_maker_when_the_queue_before_it_has_traded():
    """5 ahead of us at 100; a trade of 7 leaves us 2, at the maker's fee."""
    desk = opened().send("c1", BUY, "3", "100").at(200).trade(100, 7, -1, 210)
    fill = desk.last(OrderFilled)
    assert (fill.px, fill.qty, fill.liquidity, fill.fee) == (D(100), D(2), Liquidity.MAKER, D("0.2"))
    assert desk.kinds("c1") == ["OrderAccepted", "OrderFilled"]


def test_submitting_never_publishes_and_one_advance_ends_although_answers_cause_orders():
    """A core that answers each fill with an order, at no latency: one order a call, not an endless one."""
    desk = Desk(latency_ns=0)

    class Chatty(list):
        def append(self, event):
            super().append(event)
            if isinstance(event, OrderFilled):
                desk.send(f"c{len(self)}", BUY, "0.1")

    desk.events = Chatty()
    desk.exchange = PaperExchange(desk.events.append, [SPOT], venue="test", balances={"USD": D(10_000)}, latency_ns=0)
    desk.quote(100, 101, 1).send("c0", BUY, "0.1")
    assert not desk.events
    for expected in (1, 2, 3):
        desk.at(1)
        assert sum(isinstance(e, OrderFilled) for e in desk.events) == expected


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (new("x", BUY, "0.15", "100"), "invalid_qty_precision"),
        (new("x", BUY, "1", "100.2"), "invalid_px_precision"),
        (new("x", BUY, "0.1", "50"), "below_minimum"),
        (new("x", BUY, "1001"), "above_maximum"),
        (new("x", BUY, "200", "100"), "insufficient_funds"),
        (new("x", SELL, "1", "100"), "insufficient_position"),
        (new("x", BUY, "1", "101", post_only=True), "post_only_would_cross"),
        (new("x", BUY, "1", "100", of=PERPETUAL), "unknown_instrument"),
        (new("x", BUY, "1", "100", trailing_px=D(1)), "unsupported"),
        (new("x", BUY, "1", "100", tif=TimeInForce.GTD, expire_ns=50), "invalid_expiry"),
        (new("x", SELL, "1", reduce_only=True), "nothing_to_close"),
    ],
)
def test_each_refusal_is_one_rejection_that_leaves_nothing_behind(order, reason):
    """The order never exists: no hold, nothing open."""
    desk = opened()
    desk.exchange.submit(order)
    desk.at(200)
    assert [(type(e), e.reason) for e in desk.events] == [(OrderRejected, reason)]
    assert desk.exchange.open_orders == 0
    assert desk.exchange.balances()["USD"].available == D(10_000)


@pytest.mark.parametrize(
    "odd",
    [
        {"side": 1}, {"side": -1}, {"time_in_force": "ioc"}, {"order_type": "market"}, {"qty": 1.5},
        {"limit_px": 100.0}, {"instrument": None}, {"instrument": []}, {"expire_ns": 1.5}, {"reduce_only": "no"},
        {"limit_px": "\ud800"},
    ],
    ids=ascii,
)  # fmt: skip
def test_a_field_of_another_kind_is_refused_and_never_taken_for_something_similar(odd):
    """As it would come from a strategy that nobody checked: one rejection with a text that any journal can hold."""
    desk = opened()
    order = new("o", BUY, "1", "101")
    desk.exchange.submit(msgspec.structs.replace(order, intent=msgspec.structs.replace(order.intent, **odd)))
    desk.at(1000)
    assert desk.kinds("o") == ["OrderRejected"]
    event = desk.last(OrderRejected)
    assert event.reason == "unsupported"
    assert event.text.startswith(next(iter(odd)))
    assert msgspec.json.encode(event.text)


def test_before_the_first_quote_and_in_a_halt_nothing_is_accepted():
    """No market, then a halt, then trading again."""
    desk = Desk().at(50).send("early", BUY, "1").at(90)
    assert desk.last(OrderRejected).reason == "no_price"
    desk.quote(100, 101, 100)
    desk.exchange.on_market(InstrumentStatus(1, 1, SPOT.id, TradingStatus.HALTED))
    desk.send("halted", BUY, "1").at(200)
    assert desk.last(OrderRejected).reason == "trading_halted"
    desk.exchange.on_market(InstrumentStatus(1, 1, SPOT.id, TradingStatus.TRADING))
    assert desk.send("fine", BUY, "1").at(300).kinds("fine") == ["OrderAccepted", "OrderFilled"]


@pytest.mark.fault("C10")
@pytest.mark.parametrize(
    ("shut", "opened_again"),
    [
        (
            InstrumentStatus(1, 1, SPOT.id, TradingStatus.HALTED),
            InstrumentStatus(1, 1, SPOT.id, TradingStatus.TRADING),
        ),
        (
            VenueStatus(1, 1, "test", TradingStatus.HALTED, "closed"),
            VenueStatus(1, 1, "test", TradingStatus.TRADING),
        ),
        (SessionScheduled(1, 1, "test", "", 1, 205, "venue"), SessionScheduled(1, 1, "test", "", 1, 900, "venue")),
    ],
)
def test_what_rests_does_not_fill_while_the_market_is_shut(shut, opened_again):
    """Prices still come after the close, through the order's own: nobody deals at them.  It fills when trading goes on,
    and can be cancelled meanwhile."""
    desk = opened().send("rests", BUY, "1", "99").send("leaves", BUY, "1", "98").at(200)
    desk.exchange.on_market(shut)
    desk.at(210).quote(90, 91, 211).trade(90, 50, -1, 212)
    assert desk.kinds("rests") == ["OrderAccepted"]
    desk.cancel("leaves").at(240).send("late", BUY, "1").at(270)
    assert (desk.kinds("leaves")[-1], desk.last(OrderRejected).reason) == ("OrderCancelled", "trading_halted")
    desk.exchange.on_market(opened_again)
    assert desk.kinds("rests") == ["OrderAccepted"]
    assert desk.quote(90, 91, 300).kinds("rests") == ["OrderAccepted", "OrderFilled"]


def test_a_cancel_is_answered_whatever_became_of_the_order():
    """Open: cancelled and its money free; filled: already closed; never seen: unknown."""
    desk = opened().send("rest", BUY, "10", "99").at(200)
    assert desk.exchange.balances()["USD"].available < 9100
    desk.cancel("rest").at(300)
    assert desk.last(OrderCancelled).reason == "cancelled"
    assert desk.exchange.balances()["USD"].available == D(10_000)
    desk.send("done", BUY, "1").at(400).cancel("done").cancel("never").at(500)
    rejected = {e.client_order_id: e.reason for e in desk.events if isinstance(e, CancelRejected)}
    assert rejected == {"done": "already_closed", "never": "unknown_order"}


def test_a_cancel_sent_at_once_finds_its_order():
    """Both are under way together and arrive in the order sent."""
    assert opened().send("c", BUY, "1", "99").cancel("c").at(200).kinds("c") == ["OrderAccepted", "OrderCancelled"]


def test_an_order_with_an_end_expires_by_feed_time():
    """Good until 500: there at 499, expired at 500."""
    desk = opened().send("c", BUY, "1", "99", tif=TimeInForce.GTD, expire_ns=500).at(499)
    assert desk.kinds("c") == ["OrderAccepted"]
    assert isinstance(desk.at(500).last(OrderExpired), OrderExpired)
    assert desk.exchange.open_orders == 0


def test_immediate_and_fill_or_kill_orders_end_as_cancelled_with_their_reason():
    """Nothing crosses an IOC at 100; a FOK of 6 does not fit into 5."""
    desk = opened().send("ioc", BUY, "1", "100", tif=TimeInForce.IOC).send("fok", BUY, "6", "101", tif=TimeInForce.FOK)
    desk.at(200)
    reasons = {e.client_order_id: e.reason for e in desk.events if isinstance(e, OrderCancelled)}
    assert reasons == {"ioc": "ioc", "fok": "fok"}


def test_an_id_that_comes_twice_is_one_order():
    """A resend under the same id neither doubles the position nor disturbs the first order's state."""
    desk = opened().send("c", BUY, "1").send("c", BUY, "1").at(200).send("c", BUY, "1").at(300)
    assert desk.kinds("c") == ["OrderAccepted", "OrderFilled"]
    assert desk.exchange.duplicates == 2
    assert desk.exchange.position(SPOT.id).qty == D(1)


def test_bad_market_data_is_survived_and_counted():
    """NaN, zero and crossed quotes, a trade without a price: no event, no exception."""
    desk = opened()
    for bid_px, ask_px in ((NAN, NAN), (0, 1), (102, 101)):
        desk.quote(bid_px, ask_px, 110)
    desk.trade(NAN, 1, 1, 120)
    assert desk.events == []
    assert desk.exchange.ignored() == 4
    assert desk.send("c", BUY, "1").at(200).last(OrderFilled).px == D(101)


@pytest.mark.parametrize("wild", ["quote", "trade"])
def test_a_bad_tick_fills_nobody(wild):
    """Half the price for one quote or trade: the resting bid that it runs through keeps waiting, in its place."""
    desk = opened().send("c1", BUY, "3", "100").at(200)
    if wild == "quote":
        desk.quote(50, 51, 210)
    else:
        desk.trade(50, 1000, -1, 210)
    assert desk.kinds("c1") == ["OrderAccepted"]
    desk.quote(100, 101, 220).trade(100, 7, -1, 230)
    assert desk.last(OrderFilled).qty == D(2)


def test_nothing_is_offered_while_the_price_is_in_doubt():
    """After one wild quote a market order finds nobody, neither there nor at the last price; after the next it does."""
    desk = opened().quote(50, 51, 200)
    desk.send("c1", BUY, "1", order_type=OrderType.MARKET).at(230)
    assert desk.kinds("c1") == ["OrderAccepted", "OrderCancelled"]
    desk.quote(100, 101, 240).send("c2", BUY, "1", order_type=OrderType.MARKET).at(270)
    assert desk.last(OrderFilled).px == D(101)


def test_a_resting_order_that_joins_in_doubt_has_the_queue_before_it():
    """At the best bid of before, behind the 5 that were there: a trade of 7 leaves 2."""
    desk = opened().quote(50, 51, 200).send("c1", BUY, "3", "100").at(230)
    desk.quote(100, 101, 240).trade(100, 7, -1, 250)
    assert desk.last(OrderFilled).qty == D(2)


def test_prices_of_which_only_the_time_is_refused_are_good_enough_to_leave_at():
    """The venue's clock is 20 s ahead, for six seconds: the order meets the price of now."""
    desk = opened()
    ahead_ns, s = 20_000_000_000, 1_000_000_000
    for at_ns in (s, 7 * s):
        desk.exchange.advance(at_ns)
        desk.exchange.on_market(
            msgspec.structs.replace(quote(98, 99, ts=at_ns, of=SPOT.id), ts_event_ns=at_ns + ahead_ns)
        )
    assert desk.send("c1", BUY, "1", order_type=OrderType.MARKET).at(8 * s).last(OrderFilled).px == D(99)


def test_new_rules_of_an_instrument_apply_from_then_on():
    """The lot becomes 1: 0.5 is refused now."""
    desk = opened()
    desk.exchange.on_market(InstrumentDefined(1, 1, msgspec.structs.replace(SPOT, lot_qty=D(1))))
    assert desk.send("c", BUY, "0.5").at(200).last(OrderRejected).reason == "invalid_qty_precision"


def test_an_instrument_of_another_venue_is_a_mistake():
    """The wiring error is told at once."""
    with pytest.raises(ValueError, match="elsewhere"):
        PaperExchange(lambda _event: None, [msgspec.structs.replace(SPOT, venue="elsewhere")], venue="test")


def test_equal_input_gives_equal_events():
    """Two runs of the same quotes and orders, ids included."""

    def run():
        desk = opened(PERPETUAL)
        for n in range(50):
            desk.send(f"c{n}", BUY if n % 3 else SELL, "1", None if n % 2 else str(100 + n % 2))
            desk.quote(100 + n % 4, 101 + n % 4, 200 + n * 30).trade(100 + n % 4, 3, -1, 210 + n * 30)
        return desk.events

    assert run() == run()
    assert len(run()) > 60


def test_an_account_of_currencies_is_in_one_of_them() -> None:
    """Play money is in the home currency alone; margin in yen is taken from it at the rate that the feed told last and
    a result in yen is the account's as well."""
    yen, euro = (
        msgspec.structs.replace(
            PERPETUAL, id=f"{pair}@test", venue_symbol=pair, base=pair[:3], quote=pair[4:], settlement=pair[4:],
            asset_class=AssetClass.FX, margin_rate=D("0.1"), maker_fee_rate=D(0), taker_fee_rate=D(0),
            max_qty=D(10**6),
        )
        for pair in ("USD/JPY", "EUR/USD")
    )  # fmt: skip
    desk = Desk(yen, balances=None, default_balance=D(1_000), home="USD")
    desk.exchange.define(euro)
    assert {name: one.total for name, one in desk.exchange.balances().items()} == {"USD": D(1_000)}
    desk.quote(150, 151, 100, bid_qty=100_000, ask_qty=100_000).send("unrated", BUY, "1").at(200)
    assert desk.last(OrderRejected).reason == "insufficient_funds"
    desk.exchange.on_market(RateReported(200, 200, "JPY", D("0.005")))
    desk.send("much", BUY, "14000").at(300)
    assert desk.last(OrderRejected).text.endswith("available 200000 JPY")
    desk.send("fits", BUY, "13000").at(400)
    assert desk.kinds("fits") == ["OrderAccepted", "OrderFilled"]
    desk.send("more", BUY, "1000").at(500)
    assert desk.kinds("more") == ["OrderRejected"]
    desk.quote(150.5, 151.5, 600, bid_qty=100_000, ask_qty=100_000).send("out", SELL, "13000").at(700)
    assert desk.kinds("out")[-1] == "OrderFilled"
    assert desk.exchange.balances()["JPY"].total == 13_000 * (D("150.5") - 151)
