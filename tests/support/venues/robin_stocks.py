"""The contract's rig of robin_stocks, where everything is asked for, by another process, and nothing streams."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from config.venue_kind import Connector
from connectors.robin_stocks.orders import ref_id
from connectors.robin_stocks.sandbox.account import Account
from connectors.robin_stocks.sandbox.records import API, Order
from connectors.robin_stocks.sandbox.server import RunningSandbox, serve
from connectors.robin_stocks.sandbox.settings import SandboxSettings, stocks_named
from engine.carried import CarriedOrder
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from tests.support.venues.rig import STRATEGY, Rig, Truth
from tests.support.venues.robinhood import PolledWire

D = Decimal
TICK, MANY = D("0.01"), D(10_000)


class RobinStocksRig(Rig):
    venue = "robin_stocks"
    instrument = "AAPL/USD@robin_stocks"
    qty = D(1)
    order_request = b"POST /orders/ "
    wire_type = PolledWire
    sandbox: RunningSandbox
    _bid = D("231.40")

    async def start(self) -> str:
        settings = SandboxSettings(
            warmup_s=0.0,
            stocks=stocks_named(["AAPL"]),
        )
        self.sandbox = await serve(settings, self.folder / "login.json")
        self._pin()
        return self.sandbox.url

    def _pin(self) -> None:
        market = self.sandbox.exchange.stocks["AAPL"].market
        market.pin([(self._bid, MANY)], [(self._bid + TICK, MANY)], time.time_ns())
        market.last_px = self._bid

    async def stop(self) -> None:
        await self.sandbox.stop()

    @property
    def said(self) -> Mapping[str, Any]:
        return {"rest": f"http://{self.wire.address}", "key_file": str(self.sandbox.key_file)}

    @property
    def overrides(self) -> Mapping[str, Any]:
        return {"venue.name": "robin_stocks", "venue.symbols": ["AAPL/USD"]}

    def impatient(self, connector: Connector) -> None:
        connector.settings = msgspec.structs.replace(  # type: ignore[attr-defined]
            connector.settings,  # type: ignore[attr-defined]
            absent_s=self.grace_s,
            quotes_s=0.1,
            orders_s=0.2,
            idle_s=0.2,
            silence_s=0.3,
            requests_per_min=100_000,
            backoff_base_s=0.05,
            backoff_cap_s=0.2,
        )

    @property
    def _account(self) -> Account:
        return next(iter(self.sandbox.exchange.accounts.values()))

    def best(self) -> tuple[Decimal, Decimal]:
        return self._bid, self._bid + TICK

    def _orders(self, client_order_id: str) -> list[Order]:
        return [one for one in self._account.orders.values() if one.ref_id == ref_id(client_order_id)]

    def found(self, client_order_id: str) -> list[Truth]:
        return [Truth(one.is_open, one.filled) for one in self._orders(client_order_id)]

    def position(self) -> Decimal:
        return self._account.qty("AAPL")

    async def fill(self, client_order_id: str, qty: Decimal) -> None:
        (order,) = self._orders(client_order_id)
        assert order.price is not None
        self._trade(order.price, qty)

    def _trade(self, px: Decimal, qty: Decimal) -> None:
        """Somebody sells so much at a price, and then everything is as it was."""
        exchange, now_ns = self.sandbox.exchange, time.time_ns()
        exchange.stocks["AAPL"].market.pin([(px - TICK, MANY)], [(px, qty)], now_ns)
        exchange.look(now_ns)
        self._pin()

    async def lose_message(self) -> None:
        await self.operate("answer", path="/quotes/", status=500)

    async def halt(self, *, halted: bool) -> None:
        await self.operate("halt" if halted else "open", symbol="AAPL")

    async def move(self, steps: int) -> tuple[Decimal, Decimal]:
        self._bid += steps * TICK
        self._pin()
        return self.best()

    async def reach(self, px: Decimal) -> None:
        self._bid = px
        self._pin()
        self.sandbox.exchange.look(time.time_ns())

    async def trade_before(self, count: int) -> list[CarriedOrder]:
        carried = []
        exchange, px = self.sandbox.exchange, self._bid - D(1)
        for number in range(count):
            client, now_ns = f"before-{number}", time.time_ns()
            intent = OrderIntent(
                now_ns, STRATEGY, self.instrument, Side.BUY, self.qty, OrderType.LIMIT, px, TimeInForce.GTC
            )
            form = {
                "account": f"{API}/accounts/{self._account.number}/",
                "instrument": f"{API}/instruments/{exchange.stocks['AAPL'].id}/",
                "symbol": "AAPL",
                "quantity": str(self.qty),
                "ref_id": ref_id(client),
                "type": "limit",
                "price": str(px),
                "time_in_force": "gtc",
                "trigger": "immediate",
                "side": "buy",
            }
            exchange.desk.place(self._account, exchange.reader.stock(self._account, form, now_ns), now_ns)
            order = NewOrder(now_ns, client, self.venue, intent)
            carried.append(CarriedOrder(order, "accepted", "", D(0), D(0), ()))
        self._trade(px, count * self.qty)
        assert self.position() == self.qty * count
        return carried
