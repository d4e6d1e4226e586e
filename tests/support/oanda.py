"""An OANDA sandbox whose quotes are known: the venue's state without a server, and a server for clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.exchange import Exchange
from connectors.oanda.sandbox.records import Order
from connectors.oanda.sandbox.server import RunningSandbox, serve
from connectors.oanda.sandbox.settings import ACCOUNT_ID, SandboxSettings

NOW_NS = 1_795_183_387_000_000_000
"""Friday 2026-11-20 14:03:07 UTC, 09:03 in New York."""
SECOND_NS = 1_000_000_000
STILL_MS = 10_000.0
TOKEN = "sandbox-token"


class Venue:
    """EUR_USD at 1.08400/1.08410, a million each, USD_JPY at 150.000/150.010; 100,000 USD of ours."""

    def __init__(self, **settings: Any) -> None:
        self.exchange = Exchange(SandboxSettings(**{"history_days": 0, **settings}), NOW_NS)
        self.account: Account = next(iter(self.exchange.accounts.values()))
        self.now_ns = NOW_NS
        self.exchange.advance(NOW_NS)
        for market in self.exchange.markets.by_name.values():
            px = market.rules.start_px
            self.quote(px, px + market.rules.tick_px, market.rules.name)
        self.quote("1.08400", "1.08410")
        if "USD_JPY" in self.exchange.markets.by_name:
            self.quote("150.000", "150.010", "USD_JPY")

    def quote(
        self, bid: Decimal | str, ask: Decimal | str, instrument: str = "EUR_USD", units: int = 1_000_000
    ) -> None:
        """These are the prices from now on; what they trigger has happened."""
        market = self.exchange.markets.by_name[instrument]
        market.pin([(Decimal(bid), Decimal(units))], [(Decimal(ask), Decimal(units))], self.now_ns)
        self.exchange.look(self.now_ns)

    def pass_time(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)
        self.exchange.advance(self.now_ns)

    def place(self, kind: str = "MARKET", instrument: str = "EUR_USD", **fields: Any) -> dict[str, Any]:
        if kind in {"MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED"}:
            fields = {"instrument": instrument, **fields}
        self.account.log.begin("1")
        return self.exchange.desk.place(self.account, {"order": {"type": kind, **fields}}, self.now_ns)

    def refused(self, kind: str = "MARKET", **fields: Any) -> ApiError:
        """The error of an order that must not be taken."""
        try:
            made = self.place(kind, **fields)
        except ApiError as error:
            return error
        raise AssertionError(f"accepted: {made}")

    def rest(self, kind: str, **fields: Any) -> Order:
        """An order that is taken and waits."""
        made = self.place(kind, **fields)
        assert "orderFillTransaction" not in made, made
        assert "orderCancelTransaction" not in made, made
        return self.account.pending[int(made["orderCreateTransaction"]["id"])]

    def buy(self, units: int | str = 1_000, **fields: Any) -> dict[str, Any]:
        """A market order that fills; its ORDER_FILL."""
        made = self.place("MARKET", units=str(units), **fields)
        assert "orderFillTransaction" in made, made
        fill: dict[str, Any] = made["orderFillTransaction"]
        return fill

    def kinds(self, since: int = 3) -> list[str]:
        """Types of the transactions after a number, reasons of cancels and fills with them."""
        return [
            f"{entry.body['type']}:{entry.body['reason']}" if "reason" in entry.body else entry.body["type"]
            for entry in self.account.log.since(since)
        ]


class Client:
    """Plain HTTP to a running sandbox."""

    def __init__(self, sandbox: RunningSandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.base = f"{sandbox.url}/v3/accounts/{ACCOUNT_ID}"

    async def ask(
        self, path: str, body: Any = None, *, method: str = "GET", token: str = TOKEN, **headers: str
    ) -> tuple[int, Any]:
        """``path`` is below the account, or below the host when it begins with ``/v3``."""
        url = self.sandbox.url + path if path.startswith(("/v3", "/sandbox")) else self.base + path
        sent = {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        async with self.session.request(method, url, json=body, headers=sent) as answer:
            if answer.content_type != "application/json":
                return answer.status, await answer.text()
            return answer.status, await answer.json()

    async def order(self, kind: str = "MARKET", **fields: Any) -> tuple[int, Any]:
        given = {"type": kind, "instrument": "EUR_USD", **fields}
        return await self.ask("/orders", {"order": given}, method="POST")

    async def operate(self, act: str, **fields: Any) -> None:
        status, answer = await self.ask("/sandbox/operator", {"act": act, **fields}, method="POST")
        assert status == 200, answer


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Client]:
    """A sandbox on a free port whose market stands still."""
    given = {"token": TOKEN, "warmup_s": 1.0, "step_ms": STILL_MS, "history_days": 0, **settings}
    sandbox = await serve(SandboxSettings(**given))
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(sandbox, session)
    finally:
        await sandbox.stop()
