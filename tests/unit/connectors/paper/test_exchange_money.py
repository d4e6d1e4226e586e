"""Money, margin and exits on the paper venue."""

from __future__ import annotations

import msgspec
import pytest

from connectors.paper.exchange import PaperExchange
from engine.commands import OrderType
from engine.events import (
    BalanceReported,
    InstrumentDefined,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    Side,
)
from tests.support.matching import PERPETUAL, SPOT, D
from tests.support.paper import opened

BUY, SELL = Side.BUY, Side.SELL


def test_spot_money_adds_up_over_a_round_trip():
    """Buy 1 at 101, sell 1 at 100, 0.2 % each: 10,000 - 101 - 0.202 + 100 - 0.2."""
    desk = opened().send("b", BUY, "1").at(200).send("s", SELL, "1").at(300)
    assert desk.kinds("s") == ["OrderAccepted", "OrderFilled"]
    balances = desk.exchange.balances()
    assert (balances["USD"].total, balances["USD"].available) == (D("9998.598"), D("9998.598"))
    assert balances["BTC"].total == 0


def test_a_short_is_margined_and_a_reduce_only_order_never_turns_it():
    """Short 2; a reduce-only buy of 5 buys 2 and the rest is cancelled; flat then refuses another."""
    desk = opened(PERPETUAL).send("s", SELL, "2").at(200)
    assert desk.exchange.position(PERPETUAL.id).qty == D(-2)
    desk.send("r", BUY, "5", reduce_only=True).at(300)
    assert desk.kinds("r") == ["OrderAccepted", "OrderFilled", "OrderCancelled"]
    assert desk.last(OrderCancelled).reason == "reduce_only"
    assert desk.exchange.position(PERPETUAL.id).qty == D(0)
    assert desk.send("r2", BUY, "1", reduce_only=True).at(400).last(OrderRejected).reason == "nothing_to_close"


def test_a_resting_exit_goes_when_another_exit_has_closed_the_position():
    """Take-profit and a market exit: after the exit the take-profit is cancelled, so it can never open a short."""
    desk = opened(PERPETUAL).send("b", BUY, "2").at(200)
    desk.send("tp", SELL, "2", "110", reduce_only=True).at(300)
    desk.send("part", SELL, "1", reduce_only=True).at(400)
    assert desk.kinds("tp") == ["OrderAccepted"]
    desk.send("rest", SELL, "1", reduce_only=True).at(500)
    assert desk.kinds("tp") == ["OrderAccepted", "OrderCancelled"]
    assert desk.quote(120, 121, 600).exchange.position(PERPETUAL.id).qty == D(0)


def test_a_trimmed_resting_exit_fills_only_what_was_left():
    """Long 2, take-profit of 2, 1 sold elsewhere: the take-profit then sells 1 and ends as reduced."""
    desk = opened(PERPETUAL).send("b", BUY, "2").at(200)
    desk.send("tp", SELL, "2", "110", reduce_only=True).at(300).send("part", SELL, "1", reduce_only=True).at(400)
    desk.quote(112, 113, 500).quote(112, 113, 510)  # told twice: a jump
    assert [(e.qty, e.px) for e in desk.events if isinstance(e, OrderFilled)][-1] == (D(1), D(110))
    assert desk.kinds("tp") == ["OrderAccepted", "OrderFilled", "OrderCancelled"]
    assert desk.exchange.position(PERPETUAL.id).qty == D(0)


def test_a_stop_limit_exit_fires_on_the_markets_trade():
    """Long 1, stop at 99: a trade at 99 sends a sell that hits the bid of 98.5."""
    desk = opened(PERPETUAL).send("b", BUY, "1").at(200)
    desk.send("s", SELL, "1", "95", order_type=OrderType.STOP_LIMIT, trigger_px=D(99), reduce_only=True).at(300)
    desk.quote(98.5, 99, 400)
    assert desk.kinds("s") == ["OrderAccepted"]
    desk.trade(99, 1, 1, 410)
    assert desk.last(OrderFilled).px == D("98.5")
    assert desk.exchange.position(PERPETUAL.id).qty == D(0)


@pytest.mark.parametrize(("way", "px"), [("target", "105"), ("trigger", "94.5")])
def test_a_bracket_exit_ends_by_one_of_its_prices(way, px):
    """Long 2 of spot, target 105, trigger 95: holds what it sells once, and sells it at the target or to the bid."""
    desk = opened().send("b", BUY, "2").at(200)
    desk.send("x", SELL, "2", "105", order_type=OrderType.BRACKET, trigger_px=D(95), reduce_only=True).at(300)
    assert desk.exchange.balances()["BTC"].available == 0
    if way == "target":
        desk.quote(104.5, 105, 400).quote(104.5, 105, 405).trade(105, 9, 1, 410)
    else:
        desk.quote(94.5, 95, 400).quote(94.5, 95, 405).trade(95, 1, -1, 410)
    assert desk.kinds("x") == ["OrderAccepted", "OrderFilled"]
    assert (desk.last(OrderFilled).qty, desk.last(OrderFilled).px) == (D(2), D(px))
    assert desk.exchange.position(SPOT.id).qty == D(0)
    desk.quote(105, 106, 500).quote(105, 106, 505).trade(105, 50, 1, 510)
    assert desk.kinds("x") == ["OrderAccepted", "OrderFilled"]


def test_a_buying_bracket_holds_what_its_trigger_may_cost():
    """2 at a target of 90 cost 180; fired at 120 they cost up to 126 each: 252 and the higher fee are held."""
    desk = opened(balances={"USD": D(1000)})
    desk.send("x", BUY, "2", "90", order_type=OrderType.BRACKET, trigger_px=D(120)).at(200)
    assert desk.exchange.balances()["USD"].available == D(1000) - D(252) * D("1.002")
    desk.send("y", BUY, "6", "90", order_type=OrderType.BRACKET, trigger_px=D(120)).at(300)
    assert desk.last(OrderRejected).reason == "insufficient_funds"


def test_margin_limits_what_can_be_opened_and_never_what_can_be_closed():
    """With 100 and 10 % margin 9 at 101 open, 10 do not; at a loss beyond the balance the exit still goes."""
    desk = opened(PERPETUAL, balances={"USDT": D(100)})
    desk.quote(100, 101, 110, bid_qty=50.0, ask_qty=50.0).send("big", BUY, "10").at(200)
    assert desk.last(OrderRejected).reason == "insufficient_funds"
    desk.send("ok", BUY, "9").at(300)
    for told_ns in range(400, 450, 10):  # told five times: a crash
        desk.quote(50, 51, told_ns, bid_qty=50.0, ask_qty=50.0)
    assert desk.send("exit", SELL, "9").at(500).kinds("exit") == ["OrderAccepted", "OrderFilled"]
    assert desk.exchange.balances()["USDT"].total < 0


def test_money_defaults_to_every_settlement_currency():
    """Two instruments, two currencies, nothing configured."""
    exchange = PaperExchange(lambda _event: None, [SPOT, PERPETUAL], venue="test")
    assert {c: b.total for c, b in exchange.balances().items()} == {"USD": D(100_000), "USDT": D(100_000)}


def test_an_instrument_told_by_a_live_feed_brings_its_default_balance():
    """Nothing known at the start; the first definition adds money and says so, the second of that currency does not."""
    events: list = []
    exchange = PaperExchange(events.append, (), venue="test")
    exchange.start(5, define=False, streams=("user",))
    exchange.on_market(InstrumentDefined(6, 6, SPOT))
    exchange.on_market(InstrumentDefined(7, 7, msgspec.structs.replace(SPOT, id="ETH/USD@test", base="ETH")))
    assert [(e.currency, e.total) for e in events if isinstance(e, BalanceReported)] == [("USD", D(100_000))]
