"""Contracts: what a position binds, earns and costs, by hand; and what becomes of it by force and with time."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.settings import FUTURES, SandboxSettings
from connectors.coinbase.sandbox.times import BadRequest
from connectors.matching.orders import MARKET_ACCOUNT, BookOrder
from engine.commands import OrderType
from engine.events import Side

NOW_NS = 1_795_183_387_000_000_000
HOUR_NS = 3_600_000_000_000
PERPETUAL = FUTURES[0].product_id
RATE = Decimal("0.006")


class Desk:
    """Bids at 59,995 and asks at 60,005, a hundred contracts of 0.01 BTC each, and 10,000 USD of ours."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        settings = SandboxSettings(products=FUTURES, balances=(("USD", Decimal(10_000)),))
        self.exchange = Exchange(settings, now_ns=NOW_NS, new_id=lambda: f"id{next(self.ids)}")
        self.market = self.exchange.markets[PERPETUAL]
        self.others(Side.BUY, 59_995)
        self.others(Side.SELL, 60_005)
        self.futures = self.exchange.futures

    def others(self, side: Side, px: int, qty: int = 100) -> None:
        order = BookOrder(f"o{next(self.ids)}", MARKET_ACCOUNT, side, OrderType.LIMIT, Decimal(qty), Decimal(px))
        self.exchange.absorb(self.market, self.market.engine.submit(order, NOW_NS), NOW_NS)

    def trade(self, side: str, contracts: str) -> Any:
        body = {
            "client_order_id": f"c{next(self.ids)}",
            "product_id": PERPETUAL,
            "side": side,
            "order_configuration": {"market_market_ioc": {"base_size": contracts}},
        }
        reply = self.exchange.place(body, NOW_NS)
        assert reply["success"], reply
        return self.exchange.orders[reply["order_id"]]

    def dollars(self) -> Decimal:
        return self.exchange.wallets.ledger.balance("portfolio", "USD").total


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_position_binds_margin_and_pays_fees_of_its_notional(desk: Desk) -> None:
    """Ten contracts are 0.1 BTC: 6,000.5 USD, a quarter of it bound, 60 bps paid."""
    record = desk.trade("BUY", "10")
    assert (record.filled_value, record.average_px) == (Decimal("6000.5"), 60_005)
    assert record.fees == Decimal("6000.5") * RATE
    summary = desk.futures.summary()
    assert summary["initial_margin"] == Decimal("6000.5") / 4
    assert summary["available_margin"] == 10_000 - record.fees - Decimal("6000.5") / 4
    position = desk.futures.find(PERPETUAL)
    assert position is not None
    assert (position["side"], position["number_of_contracts"], position["unrealized_pnl"]) == ("LONG", "10", "0")


def test_profit_is_open_then_realised(desk: Desk) -> None:
    """Bought at 60,005, the market trades at 60,505, sold there: 0.1 BTC times 500."""
    desk.trade("BUY", "10")
    desk.others(Side.BUY, 60_005, 90)
    desk.others(Side.SELL, 60_505, 50)
    desk.others(Side.BUY, 60_505, 1)
    assert desk.futures.positions()[0]["unrealized_pnl"] == "50"
    desk.others(Side.BUY, 60_505, 80)
    before = desk.dollars()
    sold = desk.trade("SELL", "10")
    assert desk.dollars() - before == 50 - sold.fees
    assert desk.futures.positions() == []
    assert desk.futures.summary()["daily_realized_pnl"] == 50
    desk.futures.pass_time(NOW_NS + 24 * HOUR_NS)
    assert desk.futures.summary()["daily_realized_pnl"] == 0


@pytest.mark.parametrize(("side", "pays"), [("BUY", 1), ("SELL", -1)])
def test_funding_is_paid_once_at_each_whole_hour(desk: Desk, side: str, pays: int) -> None:
    """Longs pay a positive rate and shorts receive it; nothing between the hours."""
    desk.trade(side, "10")
    before, last = desk.dollars(), desk.market.tape.last_px
    assert last is not None
    desk.futures.pass_time(NOW_NS)
    assert desk.dollars() == before
    for _ in range(3):
        desk.futures.pass_time(NOW_NS + HOUR_NS)
    assert before - desk.dollars() == pays * 10 * Decimal("0.01") * last * Decimal("0.00001")


def test_who_is_worth_too_little_is_closed_by_force(desk: Desk) -> None:
    """60 contracts on 10,000 USD; the price falls until half the margin is not there any more."""
    desk.trade("BUY", "60")
    desk.others(Side.SELL, 59_995, 100)
    desk.others(Side.BUY, 46_000, 100)
    desk.others(Side.SELL, 46_000, 1)
    desk.futures.pass_time(NOW_NS)
    assert desk.futures.liquidations == 1
    assert desk.futures.positions() == []
    forced = [record for record in desk.exchange.orders.values() if record.is_liquidation]
    assert [(record.status, record.filled_qty) for record in forced] == [("FILLED", 60)]


def test_a_contract_that_expires_is_settled_without_a_fee_and_is_gone(desk: Desk) -> None:
    """Orders end, the position becomes money at the last price."""
    desk.trade("BUY", "10")
    body = {"client_order_id": "x", "product_id": PERPETUAL, "side": "BUY"}
    resting = {"limit_limit_gtc": {"base_size": "1", "limit_price": "50000"}}
    desk.exchange.place(body | {"order_configuration": resting}, NOW_NS)
    terms = FUTURES[0].future
    assert terms is not None
    worth = desk.dollars()
    desk.futures._expire(desk.market, terms.expires_ns)
    assert desk.futures.positions() == []
    assert desk.dollars() == worth, "settled at the price of the only trade"
    assert not desk.exchange.open_orders
    assert (
        desk.exchange.place(body | {"order_configuration": resting, "client_order_id": "y"}, NOW_NS)["success"] is False
    )


def test_sweeps_and_settings_are_kept_and_checked(desk: Desk) -> None:
    """An amount is a number, a setting one of two, and the list has an end."""
    desk.futures.schedule_sweep({"usd_amount": "5"}, NOW_NS)
    desk.futures.schedule_sweep({}, NOW_NS)
    assert [one["should_sweep_all"] for one in desk.futures.sweeps] == [False, True]
    for body in ({"usd_amount": "1e3"}, {"usd_amount": "-1"}):
        with pytest.raises(BadRequest):
            desk.futures.schedule_sweep(body, NOW_NS)
    with pytest.raises(BadRequest):
        desk.futures.choose({"setting": "X"})
    for _ in range(48):
        desk.futures.schedule_sweep({}, NOW_NS)
    with pytest.raises(BadRequest):
        desk.futures.schedule_sweep({}, NOW_NS)
