"""Orders that hang on a trade: which of ours become such, as the sandbox takes them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.oanda.books import OneTrade
from connectors.oanda.exits import encode_exit
from connectors.oanda.orders import read_answer
from connectors.oanda.refusals import Unfit
from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.settings import SandboxInstrument
from connectors.verdicts import Verdict
from engine.commands import NewOrder, OrderType, TimeInForce
from engine.events import Side
from tests.support.oanda import Venue
from tests.unit.connectors.oanda.test_orders import EUR, order

D = Decimal
GUARANTEEING = SandboxInstrument(
    "EUR_USD", D("1.08402"), guaranteed="ALLOWED", guaranteed_distance=D("0.00100"), guaranteed_premium=D("0.00010")
)


def leave(kind: OrderType, qty: str = "250", **fields: Any) -> NewOrder:
    given = {"side": Side.SELL, "qty": D(qty), "limit_px": None, "time_in_force": TimeInForce.GTC, "reduce_only": True}
    return order(**given | {"order_type": kind} | fields)


BRACKET = leave(OrderType.BRACKET, limit_px=D("1.09"), trigger_px=D("1.07"))
TRAILING = leave(OrderType.STOP, trigger_px=D("1.08"), trailing_px=D("0.004"))
STOP = leave(OrderType.STOP, trigger_px=D("1.07"))


def held(venue: Venue, units: int = 250) -> OneTrade:
    return OneTrade(venue.buy(units)["tradeOpened"]["tradeID"], D(units), has_exits=False)


def test_a_bracket_is_the_take_profit_and_the_stop_loss_of_its_trade() -> None:
    """One request for both; the answer names the first of them; what fills takes the other along."""
    venue = Venue()
    trade = held(venue)
    made = encode_exit(BRACKET, EUR, trade, guaranteed=False)
    assert made.trade == trade.id
    assert json.loads(made.body) == {
        "takeProfit": {
            "price": "1.09000", "timeInForce": "GTC", "triggerCondition": "DEFAULT",
            "clientExtensions": {"id": "eng-1"},
        },
        "stopLoss": {
            "price": "1.07000", "timeInForce": "GTC", "triggerCondition": "DEFAULT",
            "clientExtensions": {"id": "eng-1.2"},
        },
    }  # fmt: skip
    said = venue.exchange.closing.exits(venue.account, made.trade, json.loads(made.body), venue.now_ns)
    answer = read_answer(200, msgspec.json.encode(said))
    assert (answer.verdict, answer.venue_order_id) == (
        Verdict.ACCEPTED,
        said["takeProfitOrderTransaction"]["id"],
    )
    venue.quote("1.06900", "1.06910")
    assert venue.kinds()[-2:] == ["ORDER_FILL:STOP_LOSS_ORDER", "ORDER_CANCEL:LINKED_TRADE_CLOSED"]
    assert venue.account.units_of("EUR_USD") == (0, 0)


@pytest.mark.parametrize(
    ("wish", "guaranteed", "kind", "fields"),
    [
        (TRAILING, False, "TRAILING_STOP_LOSS", {"distance": "0.00400"}),
        (STOP, True, "GUARANTEED_STOP_LOSS", {"price": "1.07000"}),
    ],
)
def test_a_trailing_or_guaranteed_stop_is_one_order_of_its_trade(
    wish: NewOrder, guaranteed: bool, kind: str, fields: dict[str, str]
) -> None:
    """As the venue takes it; nothing is said of units, which are the trade's."""
    venue = Venue(instruments=(GUARANTEEING,))
    trade = held(venue)
    made = encode_exit(wish, EUR, trade, guaranteed=guaranteed)
    body = json.loads(made.body)
    assert body["order"] == {
        "type": kind, "tradeID": trade.id, "timeInForce": "GTC", "triggerCondition": "DEFAULT",
        "clientExtensions": {"id": "eng-1"}, **fields,
    }  # fmt: skip
    said = venue.exchange.desk.place(venue.account, body, venue.now_ns)
    assert read_answer(201, msgspec.json.encode(said)).verdict is Verdict.ACCEPTED
    assert venue.account.open_trades[int(trade.id)].exits.keys() == {kind}


def test_a_guaranteed_bracket_has_the_guaranteed_stop() -> None:
    """In the stop-loss's place."""
    made = encode_exit(BRACKET, EUR, OneTrade("7", D(250), has_exits=False), guaranteed=True)
    assert json.loads(made.body).keys() == {"takeProfit", "guaranteedStopLoss"}


@pytest.mark.parametrize(
    ("trade", "reason"),
    [
        (None, "exit_refused"),
        (OneTrade("7", D(300), has_exits=False), "exit_refused"),
        (OneTrade("7", D(200), has_exits=False), "exit_refused"),
        (OneTrade("7", D(-250), has_exits=False), "exit_refused"),
        (OneTrade("7", D(250), has_exits=True), "exit_exists"),
    ],
)
@pytest.mark.parametrize("wish", [BRACKET, TRAILING])
def test_it_hangs_on_a_trade_that_is_just_the_position_and_on_no_other(
    wish: NewOrder, trade: OneTrade | None, reason: str
) -> None:
    """More, less, the other way round, or one with exits of somebody's: nothing leaves."""
    with pytest.raises(Unfit) as caught:
        encode_exit(wish, EUR, trade, guaranteed=False)
    assert caught.value.reason == reason


def test_an_exit_that_could_open_a_position_hangs_on_nothing() -> None:
    """It is asked of the order, whatever is held."""
    wish = leave(OrderType.STOP, trigger_px=D("1.08"), trailing_px=D("0.004"), reduce_only=False)
    with pytest.raises(Unfit, match="reduce_only"):
        encode_exit(wish, EUR, OneTrade("7", D(250), has_exits=False), guaranteed=False)


def test_a_refusal_of_either_half_is_a_refusal() -> None:
    """The sandbox's own words for a trade that is gone and for a stop that is not guaranteed to anybody."""
    venue = Venue()
    trade = held(venue)
    body = json.loads(encode_exit(BRACKET, EUR, trade, guaranteed=True).body)
    for number, reason in ((trade.id, "exit_refused"), ("99", "unknown_trade")):
        with pytest.raises(ApiError) as caught:
            venue.exchange.closing.exits(venue.account, number, body, venue.now_ns)
        answer = read_answer(caught.value.status, msgspec.json.encode(caught.value.body()))
        assert (answer.verdict, answer.reason) == (Verdict.REJECTED, reason)
    halves = {"takeProfitOrderTransaction": {"type": "TAKE_PROFIT_ORDER", "id": "9"}}
    assert read_answer(200, msgspec.json.encode(halves)).verdict is Verdict.UNKNOWN
