"""The contract's rig of Robinhood crypto, where everything is asked for and nothing streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from config.venue_kind import Connector
from connectors.robinhood.names import venue_name
from connectors.robinhood.sandbox.records import ACCOUNT, OPEN_STATES, OrderRecord
from connectors.robinhood.sandbox.server import RunningSandbox, serve
from connectors.robinhood.sandbox.settings import DEFAULT_PAIRS, SandboxSettings
from engine.carried import CarriedOrder
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from tests.support.venues.rig import STRATEGY, Rig, Truth
from tests.support.venues.wire import Wire

D = Decimal
PAIR = "BTC-USD"
AWAY_S = 0.6
"""Longer than the connector takes to give up its questions in these sessions."""


class PolledWire(Wire):
    """Where there is no stream to cut, nobody is reached for a while."""

    _away_until_s = 0.0

    async def cut_streams(self) -> None:
        self._away_until_s = time.monotonic() + AWAY_S
        await self._end(list(self._open))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if time.monotonic() < self._away_until_s:
            writer.transport.abort()
            return
        await super()._accept(reader, writer)


class RobinhoodRig(Rig):
    venue = "robinhood"
    instrument = "BTC/USD@robinhood"
    qty = D("0.01")
    order_request = b"POST /api/v2/crypto/trading/orders/?"
    wire_type = PolledWire
    sandbox: RunningSandbox
    _bid = D("60000.00")

    async def start(self) -> str:
        settings = SandboxSettings(
            key_file=self.folder / "key.json", warmup_s=0.0, pairs=DEFAULT_PAIRS[:1], rate_limits=None
        )
        self.sandbox = await serve(settings)
        self._pin()
        return self.sandbox.url

    def _pin(self) -> None:
        levels = [(Side.BUY, self._bid, D(1)), (Side.SELL, self._bid + D("0.10"), D(1))]
        self.sandbox.exchange.pin(PAIR, levels, time.time_ns())

    async def stop(self) -> None:
        await self.sandbox.stop()

    @property
    def said(self) -> Mapping[str, Any]:
        return {"rest": f"http://{self.wire.address}", "key_file": str(self.sandbox.key_file)}

    @property
    def overrides(self) -> Mapping[str, Any]:
        return {"venue.name": "robinhood", "venue.symbols": ["BTC/USD"]}

    def impatient(self, connector: Connector) -> None:
        connector.settings = msgspec.structs.replace(  # type: ignore[attr-defined]
            connector.settings,  # type: ignore[attr-defined]
            unknown_grace_s=self.grace_s,
            quote_poll_s=0.1,
            order_poll_s=0.3,
            idle_poll_s=0.3,
            requests_per_minute=100_000.0,
            backoff_base_s=0.05,
            backoff_cap_s=0.1,
        )

    def best(self) -> tuple[Decimal, Decimal]:
        return self._bid, self._bid + D("0.10")

    def _orders(self, client_order_id: str) -> list[OrderRecord]:
        name = venue_name(client_order_id)
        return [one for one in self.sandbox.exchange.orders.values() if one.spec.client_order_id == name]

    def found(self, client_order_id: str) -> list[Truth]:
        return [Truth(one.state in OPEN_STATES, one.filled_qty) for one in self._orders(client_order_id)]

    def position(self) -> Decimal:
        return self.sandbox.exchange.ledger.balance(ACCOUNT, "BTC").total

    async def fill(self, client_order_id: str, qty: Decimal) -> None:
        (order,) = self._orders(client_order_id)
        assert order.spec.limit_px is not None
        exchange, now_ns = self.sandbox.exchange, time.time_ns()
        exchange.pin(PAIR, [], now_ns)  # whoever asks or bids a better price comes first
        exchange.trade(PAIR, order.spec.side.opposite, qty, order.spec.limit_px, now_ns)
        self._pin()

    def has_line(self, connector: Any) -> bool:
        return connector._channel.free > 0  # type: ignore[no-any-return]

    async def lose_message(self) -> None:
        await self.operate("answer", path="/best_bid_ask/", status=500)

    async def halt(self, *, halted: bool) -> None:
        await self.operate("pair", symbol=PAIR, status="untradable" if halted else "tradable")

    async def move(self, steps: int) -> tuple[Decimal, Decimal]:
        self._bid += steps * D("0.01")
        self._pin()
        return self.best()

    async def reach(self, px: Decimal) -> None:
        self._bid = px
        self._pin()

    async def trade_before(self, count: int) -> list[CarriedOrder]:
        carried = []
        px = D("59950.00")
        for number in range(count):
            client, now_ns = f"before-{number}", time.time_ns()
            intent = OrderIntent(
                now_ns, STRATEGY, self.instrument, Side.BUY, self.qty, OrderType.LIMIT, px, TimeInForce.GTC
            )
            config = {"asset_quantity": str(self.qty), "limit_price": str(px), "time_in_force": "gtc"}
            body = {
                "client_order_id": venue_name(client),
                "side": "buy",
                "type": "limit",
                "symbol": PAIR,
                "limit_order_config": config,
            }
            self.sandbox.exchange.place(body, "v2", now_ns)
            order = NewOrder(now_ns, client, self.venue, intent)
            carried.append(CarriedOrder(order, "accepted", "", D(0), D(0), ()))
        exchange = self.sandbox.exchange
        exchange.pin(PAIR, [], time.time_ns())
        exchange.trade(PAIR, Side.SELL, self.qty * count, px, time.time_ns())
        self._pin()
        assert self.position() == self.qty * count
        return carried
