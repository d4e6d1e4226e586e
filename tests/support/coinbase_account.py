"""Sessions of the connector on a Coinbase account one after the other, and a hand that acts there meanwhile.

The exchange is the sandbox with a market that stands still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from connectors.coinbase.sandbox.server import RunningSandbox, serve
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.venue import CoinbaseVenue
from connectors.fakes import EventLog
from connectors.matching.orders import BookOrder
from engine.carried import CarriedOrder
from engine.commands import CancelOrder, NewOrder, OrderType, TimeInForce
from engine.events import (
    AccountSettled,
    OrderAccepted,
    OrderFilled,
    Side,
)
from tests.support.coinbase import BTC, new_order
from tests.support.coinbase_sandbox import STILL_MS
from tests.support.waiting import until

D = Decimal
GRACE_S = 0.3


class Clock:
    def now_ns(self) -> int:
        return time.time_ns()

    wall_ns = now_ns


class Hand:
    """Acts at the exchange behind everybody's back."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.exchange = sandbox.exchange
        self.market = sandbox.exchange.markets["BTC-USD"]
        self._count = 0

    def best(self) -> tuple[Decimal, Decimal]:
        found = self.market.engine.best()
        assert found is not None
        return found[0], found[2]

    def order_id(self, client: str) -> str:
        return next(o.order_id for o in self.exchange.orders.values() if o.spec.client_order_id == client)

    def place(self, client: str, side: str, qty: str, px: Decimal) -> None:
        """An order of this account that no session of ours hears the answer of."""
        body = {
            "client_order_id": client,
            "product_id": "BTC-USD",
            "side": side,
            "order_configuration": {"limit_limit_gtc": {"base_size": qty, "limit_price": str(px), "post_only": False}},
        }
        assert self.exchange.place(body, time.time_ns())["success"]
        self.sandbox.hub.pump()

    def fill(self, client: str, qty: str) -> None:
        """Somebody else sells into a purchase that is the best one there."""
        self._count += 1
        px = self.exchange.orders[self.order_id(client)].spec.limit_px
        taker = BookOrder(
            f"taker-{self._count}", "other", Side.SELL, OrderType.LIMIT, D(qty), px, time_in_force=TimeInForce.IOC
        )
        before = self.exchange.orders[self.order_id(client)].filled_qty
        self.exchange.absorb(self.market, self.market.engine.submit(taker, time.time_ns()), time.time_ns())
        assert self.exchange.orders[self.order_id(client)].filled_qty == before + D(qty)
        self.sandbox.hub.pump()

    def cancel(self, client: str) -> None:
        assert self.exchange.cancel(self.order_id(client), time.time_ns())["success"]
        self.sandbox.hub.pump()

    def pay_in(self, currency: str, amount: str) -> None:
        self.exchange.wallets.ledger.deposit(ACCOUNT, currency, D(amount))

    def totals(self) -> dict[str, Decimal]:
        return {name: one.total for name, one in self.exchange.wallets.ledger.balances(ACCOUNT).items()}


class One:
    """A session and what it was told."""

    def __init__(self, venue: CoinbaseVenue, log: EventLog) -> None:
        self.venue = venue
        self.log = log
        self.sent: dict[str, NewOrder] = {}

    def submit(self, client: str, **fields: Any) -> None:
        assert self.venue.gateway is not None
        order = msgspec.structs.replace(new_order(client, **fields), ts_ns=time.time_ns())
        self.sent[client] = order
        self.venue.gateway.submit(order)

    def cancel(self, client: str) -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.cancel(CancelOrder(time.time_ns(), client, "coinbase", "", BTC))

    async def accepted(self, client: str) -> None:
        await until(lambda: OrderAccepted in self.kinds(client))

    def of(self, client: str) -> list[Any]:
        return [event for event in self.log if getattr(event, "client_order_id", None) == client]

    def kinds(self, client: str) -> list[type]:
        return [type(event) for event in self.of(client)]

    def settled(self) -> list[AccountSettled]:
        return self.log.of(AccountSettled)

    def carries(self, client: str, *, known: bool = True, state: str = "") -> CarriedOrder:
        """The order as this session would leave it; not ``known``: it heard nothing of what it had sent."""
        fills = [event for event in self.of(client) if known and type(event) is OrderFilled]
        return CarriedOrder(
            self.sent[client],
            state or ("accepted" if known else "sent"),
            self.of(client)[0].venue_order_id if known else "",
            sum((event.qty for event in fills), D(0)),
            D(0),
            tuple(event.trade_id for event in fills),
        )


@asynccontextmanager
async def still_exchange(tmp_path: Path, **switches: Any) -> AsyncIterator[Hand]:
    settings = SandboxSettings(key_file=tmp_path / "key.json", warmup_s=2.0, step_ms=STILL_MS, **switches)
    sandbox = await serve(settings)
    await asyncio.sleep(0.1)  # its market takes a last step
    try:
        yield Hand(sandbox)
    finally:
        await sandbox.stop()


@asynccontextmanager
async def session(
    hand: Hand,
    carried: Sequence[CarriedOrder] = (),
    meanwhile: Callable[[CoinbaseVenue], object] = lambda _venue: None,
    parts: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> AsyncIterator[One]:
    """Started; ``meanwhile`` may change it before that.  ``parts`` are arguments of the connector, ``options`` its
    settings."""
    sandbox = hand.sandbox
    settings = CoinbaseSettings(
        rest_url=sandbox.rest_url,
        ws_market_url=sandbox.ws_market_url,
        ws_user_url=sandbox.ws_user_url,
        key_file=str(sandbox.key_file),
        unknown_grace_s=GRACE_S,
        backoff_base_s=0.05,
        **options,
    )
    log = EventLog()
    venue = CoinbaseVenue(settings, log, Clock(), carried=carried, **parts)
    meanwhile(venue)
    await venue.start()
    try:
        yield One(venue, log)
    finally:
        await venue.stop()
