"""A session of the connector with its sandbox, as quick as a test wants it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from connectors.fakes import EventLog
from connectors.robinhood.sandbox.records import ACCOUNT
from connectors.robinhood.settings import RobinhoodSettings
from connectors.robinhood.venue import RobinhoodVenue
from engine.commands import CancelOrder, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import (
    AccountSettled,
    OrderFilled,
    Side,
)
from tests.support.robinhood import Client, running
from tests.support.waiting import until

D = Decimal


BTC = "BTC/USD@robinhood"


QUICK: dict[str, Any] = {
    "quote_poll_s": 0.05,
    "order_poll_s": 0.1,
    "idle_poll_s": 0.2,
    "requests_per_minute": 100_000.0,
    "unknown_grace_s": 0.3,
    "backoff_base_s": 0.05,
    "backoff_cap_s": 0.1,
    "products_s": 0.0,
    "money": "play",
}


class Clock:
    """The machine's, which a test may set forward."""

    ahead_ns = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    wall_ns = now_ns


def new_order(client_id: str, kind: OrderType = OrderType.LIMIT, **fields: Any) -> NewOrder:
    given: dict[str, Any] = {"side": Side.BUY, "qty": D("0.1"), "limit_px": D("50000.00"), **fields}
    if kind is OrderType.MARKET:
        given["limit_px"] = None
    side, qty = given.pop("side"), given.pop("qty")
    intent = OrderIntent(time.time_ns(), "s", BTC, side, qty, kind, time_in_force=TimeInForce.GTC, **given)
    return NewOrder(time.time_ns(), client_id, "robinhood", intent)


class Session:
    """A connector, what it told, and the sandbox where the truth is."""

    def __init__(self, client: Client, venue: RobinhoodVenue, log: EventLog) -> None:
        self.client = client
        self.venue = venue
        self.log = log
        self.exchange = client.sandbox.exchange

    def submit(self, client_id: str, kind: OrderType = OrderType.LIMIT, **fields: Any) -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.submit(new_order(client_id, kind, **fields))

    def cancel(self, client_id: str) -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.cancel(CancelOrder(time.time_ns(), client_id, "robinhood", "", BTC))

    def of(self, client_id: str) -> list[Any]:
        return [event for event in self.log if getattr(event, "client_order_id", None) == client_id]

    def kinds(self, client_id: str) -> list[type]:
        return [type(event) for event in self.of(client_id)]

    async def heard(self, client_id: str, kind: type) -> Any:
        await until(lambda: kind in self.kinds(client_id))
        return next(event for event in self.of(client_id) if type(event) is kind)

    def filled(self, client_id: str) -> Decimal:
        return sum((event.qty for event in self.of(client_id) if type(event) is OrderFilled), D(0))

    async def settled(self) -> dict[str, Decimal]:
        """Balances as they are confirmed next."""
        before = len(self.log.of(AccountSettled))
        self.venue.confirm()
        await until(lambda: len(self.log.of(AccountSettled)) > before)
        return dict(self.log.of(AccountSettled)[-1].balances)

    def truth(self, currency: str) -> Decimal:
        return self.exchange.ledger.balance(ACCOUNT, currency).total


def connector(client: Client, log: EventLog, **options: Any) -> RobinhoodVenue:
    of_venue = {
        name: options.pop(name) for name in ("carried", "carried_balances", "identify", "rival") if name in options
    }
    given = {**QUICK, "rest_url": client.sandbox.url, "key_file": str(client.sandbox.key_file), **options}
    return RobinhoodVenue(RobinhoodSettings(**given), log, Clock(), **of_venue)


@asynccontextmanager
async def started(client: Client, **options: Any) -> AsyncIterator[Session]:
    log = EventLog()
    venue = connector(client, log, **options)
    await venue.start()
    try:
        yield Session(client, venue, log)
    finally:
        await venue.stop()


@asynccontextmanager
async def session(folder: Path, sandbox: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Session]:
    async with running(folder, **(sandbox or {})) as client, started(client, **options) as made:
        yield made
