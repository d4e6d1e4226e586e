"""What tests of the ccxt connector share: a market as the library tells it, and sessions with a local exchange."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from connectors.ccxt_venue.settings import CcxtSettings
from connectors.ccxt_venue.venue import CcxtVenue
from engine.commands import CancelOrder, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side

MARKET: dict[str, Any] = {
    "symbol": "BTC/USD", "id": "XXBTZUSD", "base": "BTC", "quote": "USD", "type": "spot", "spot": True,
    "contract": False, "active": True, "maker": 0.0025, "taker": 0.004,
    "precision": {"amount": 1e-08, "price": 0.1},
    "limits": {"amount": {"min": 0.0001, "max": None}, "cost": {"min": 0.5, "max": None}},
}  # fmt: skip
STILL_MS = 1e9
QUICK: dict[str, Any] = {
    "unknown_grace_s": 0.3, "poll_s": 0.05, "listing_lag_s": 0.02, "backoff_base_s": 0.05, "backoff_cap_s": 0.2,
    "confirm_timeout_s": 10.0,
}  # fmt: skip


def clients_tasks() -> set[asyncio.Task[Any]]:
    """All that run but those of servers in this process, which end when they have noticed that a client is gone."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task.get_coro())}


class MachineClock:
    def now_ns(self) -> int:
        return time.time_ns()

    wall_ns = now_ns


class LocalExchange:
    """A server that speaks an exchange's own protocol, in this process."""

    def __init__(self, exchange: str, symbol: str, running: Any) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.running = running
        self.said: dict[str, Any] = running.addresses()
        self.key_file = Path(self.said["key_file"])

    def settings(self, *, keyed: bool = True, **changes: Any) -> CcxtSettings:
        said = self.said
        made = CcxtSettings(
            exchange=self.exchange,
            symbols=(self.symbol,),
            rest_url=said["rest"],
            ws_market_url=said.get("ws_market") or said["ws"],
            ws_user_url=said.get("ws_user") or said.get("ws_auth") or said["ws_api"],
            key_file=str(self.key_file) if keyed else "",
            money="play",
            **QUICK,
        )
        return msgspec.structs.replace(made, **changes)

    async def operate(self, act: str, **fields: Any) -> None:
        """One request to the server's door for its own people."""
        async with aiohttp.ClientSession() as http:
            url = f"{self.said['rest']}/sandbox/operator"
            async with http.post(url, json={"act": act, **fields}) as answer:
                assert answer.status == 200, await answer.text()


@asynccontextmanager
async def local_exchange(exchange: str, folder: Path, **changes: Any) -> AsyncIterator[LocalExchange]:
    """One whose market stands still after its first second."""
    given: dict[str, Any] = {"key_file": folder / f"{exchange}.json", "step_ms": STILL_MS, "warmup_s": 1.0, **changes}
    symbol = "BTC/USDT" if exchange == "binance" else "BTC/USD"
    if exchange == "coinbase":
        from connectors.coinbase.sandbox.server import serve as serve_coinbase
        from connectors.coinbase.sandbox.settings import SandboxSettings

        running: Any = await serve_coinbase(SandboxSettings(**given))
    elif exchange == "kraken":
        from connectors.kraken.sandbox.server import serve as serve_kraken
        from connectors.kraken.sandbox.settings import KrakenSettings

        running = await serve_kraken(KrakenSettings(**{"history_minutes": 5, **given}))
    else:
        from connectors.binance.sandbox.server import serve as serve_binance
        from connectors.binance.sandbox.settings import BinanceSettings

        running = await serve_binance(BinanceSettings(**{"history_minutes": 5, **given}))
    try:
        yield LocalExchange(exchange, symbol, running)
    finally:
        await running.stop()


class Session:
    """A connector and everything that it told."""

    def __init__(self, settings: CcxtSettings, **given: Any) -> None:
        self.log: list[Any] = []
        self.venue = CcxtVenue(settings, self.log.append, MachineClock(), **given)
        self._count = 0

    @property
    def instrument(self) -> Any:
        return next(iter(self.venue.instruments.values()))

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.log if type(event) is kind]

    def kinds(self, client_order_id: str) -> list[type]:
        return [type(event) for event in self.log if getattr(event, "client_order_id", None) == client_order_id]

    def order(self, side: Side = Side.BUY, **fields: Any) -> str:
        """Rests far away by default; its client order id."""
        self._count += 1
        client_id = f"k20261122T093304-ab12-{self._count}"
        given: dict[str, Any] = {
            "qty": Decimal("0.01"),
            "order_type": OrderType.LIMIT,
            "time_in_force": TimeInForce.GTC,
        }
        given |= fields
        if given["order_type"] is OrderType.LIMIT and "limit_px" not in given:
            given["limit_px"] = Decimal(30_000)
        intent = OrderIntent(time.time_ns(), "s", self.instrument.id, side, **given)
        self.venue.gateway.submit(NewOrder(time.time_ns(), client_id, self.venue.name, intent))
        return client_id

    def cancel(self, client_order_id: str) -> None:
        command = CancelOrder(time.time_ns(), client_order_id, self.venue.name, "", self.instrument.id)
        self.venue.gateway.cancel(command)

    async def heard(self, client_order_id: str, kind: type) -> Any:
        await self.until(lambda: kind in self.kinds(client_order_id), f"{kind.__name__} of {client_order_id}")
        mine = [event for event in self.of(kind) if event.client_order_id == client_order_id]
        return mine[-1]

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        try:
            async with asyncio.timeout(30):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            told = "\n".join(str(event) for event in self.log[-12:])
            raise AssertionError(f"never: {what}; the last events:\n{told}") from None


@asynccontextmanager
async def session(settings: CcxtSettings, **given: Any) -> AsyncIterator[Session]:
    one = Session(settings, **given)
    await one.venue.start()
    try:
        yield one
    finally:
        await one.venue.stop()
