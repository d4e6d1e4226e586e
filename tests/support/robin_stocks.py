"""robin_stocks in tests: orders, the sandbox without a server, and a connector with its worker on one that serves."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.fakes import EventLog
from connectors.robin_stocks.orders import Listing, define_option, define_stock
from connectors.robin_stocks.sandbox.account import Account
from connectors.robin_stocks.sandbox.api import Api
from connectors.robin_stocks.sandbox.errors import ApiError
from connectors.robin_stocks.sandbox.exchange import Exchange
from connectors.robin_stocks.sandbox.operator import Operator
from connectors.robin_stocks.sandbox.pages import API_HOST, Request
from connectors.robin_stocks.sandbox.records import API, Order
from connectors.robin_stocks.sandbox.server import RunningSandbox, serve
from connectors.robin_stocks.sandbox.settings import SandboxSettings, stocks_named
from connectors.robin_stocks.settings import RobinStocksSettings
from connectors.robin_stocks.venue import RobinStocksVenue
from connectors.robin_stocks.wire import ContractRow, InstrumentRow, Ticks
from engine.commands import CancelOrder, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side

D = Decimal
NOW_NS = 1_795_183_387_000_000_000
"""Friday 2026-11-20 14:03:07 UTC, 09:03 in New York."""
SECOND_NS = 1_000_000_000
STOCK, OPTION = "AAPL/USD@robin_stocks", "AAPL/USD:USD-261218-230-C@robin_stocks"
STOCK_URL, OPTION_URL = f"{API}/instruments/stock-1/", f"{API}/options/instruments/option-1/"
STILL_MS = 10_000.0


def listings() -> dict[str, Listing]:
    """One stock, one option whose prices step by a cent below three dollars and by five above."""
    stock = define_stock(InstrumentRow("stock-1", STOCK_URL, "AAPL"), "robin_stocks", 231.4, fractional=False)
    row = ContractRow("option-1", OPTION_URL, "AAPL", "2026-12-18", D(230), "call")
    option = define_option(row, "robin_stocks", OPTION.partition("@")[0], NOW_NS + 10**15)
    ticks = Ticks(D("0.05"), D("0.01"), D("3.00"))
    return {STOCK: Listing(stock, STOCK_URL), OPTION: Listing(option, OPTION_URL, ticks)}


def new_order(number: int = 1, side: Side = Side.BUY, instrument: str = STOCK, **fields: Any) -> NewOrder:
    """A limit order for two at 230.00, good till cancelled."""
    given: dict[str, Any] = {
        "ts_ns": NOW_NS,
        "strategy": "s",
        "instrument": instrument,
        "side": side,
        "qty": D(2),
        "order_type": OrderType.LIMIT,
        "limit_px": D("230.00"),
        "time_in_force": TimeInForce.GTC,
        **fields,
    }
    if given["order_type"] is OrderType.MARKET:
        given |= {"limit_px": None, "time_in_force": TimeInForce.IOC}
    return NewOrder(NOW_NS, f"k20261120T140307-abcd-{number}", "robin_stocks", OrderIntent(**given))


def cancel(order: NewOrder) -> CancelOrder:
    return CancelOrder(NOW_NS, order.client_order_id, "robin_stocks", "", order.intent.instrument)


class StillVenue:
    """The sandbox's state without a server: AAPL at 231.40/231.42, a thousand each; one account."""

    def __init__(self, now_ns: int = NOW_NS, **settings: Any) -> None:
        given = {"stocks": stocks_named(["AAPL", "PNNY"]), **settings}
        tokens = iter(range(10**6))
        self.now_ns = now_ns
        self.settings = SandboxSettings(**given)
        self.settings.check()
        self.exchange = Exchange(self.settings, now_ns, lambda: f"token-{next(tokens)}")
        self.account: Account = next(iter(self.exchange.accounts.values()))
        self.api = Api(self.exchange)
        self.exchange.open_books(now_ns)
        self.quote("231.40", "231.42")

    def quote(self, bid: str, ask: str, symbol: str = "AAPL", qty: int = 1_000, last: str = "") -> None:
        market = self.exchange.stocks[symbol].market
        market.pin([(D(bid), D(qty))], [(D(ask), D(qty))], self.now_ns)
        market.last_px = D(last or bid)

    def pass_time(self, seconds: float = 0.1) -> None:
        self.now_ns += int(seconds * SECOND_NS)
        self.exchange.advance(self.now_ns)

    def form(self, side: str = "buy", quantity: str = "2", **fields: Any) -> dict[str, Any]:
        symbol = fields.pop("symbol", "AAPL")
        given = {
            "account": f"{API}/accounts/{self.account.number}/",
            "instrument": f"{API}/instruments/{self.exchange.stocks[symbol].id}/",
            "symbol": symbol,
            "side": side,
            "quantity": quantity,
            "type": "limit",
            "price": "231.00",
            "trigger": "immediate",
            "time_in_force": "gtc",
            "ref_id": f"00000000-0000-4000-8000-{random.getrandbits(48):012x}",
            **fields,
        }
        return {name: value for name, value in given.items() if value is not None}

    def place(self, side: str = "buy", quantity: str = "2", **fields: Any) -> Order:
        """Raises ``ApiError``."""
        order = self.exchange.reader.stock(self.account, self.form(side, quantity, **fields), self.now_ns)
        return self.exchange.desk.place(self.account, order, self.now_ns)

    def refused(self, side: str = "buy", quantity: str = "2", **fields: Any) -> str:
        """Why an order that must not be taken was not."""
        with pytest.raises(ApiError) as refused:
            self.place(side, quantity, **fields)
        assert refused.value.status == 400
        return str(refused.value.body)

    def login(self) -> str:
        mine = self.account.settings
        form = {
            "client_id": "c82SH0WZOsabOXGP2sxqcj34FxkvfnWRZBKlBjFS", "grant_type": "password", "device_token": "one",
            "username": mine.username, "password": mine.password, "mfa_code": mine.mfa,
        }  # fmt: skip
        token: str = self.exchange.login.oauth(form, self.now_ns)["access_token"]
        return f"Bearer {token}"

    def ask(self, path: str, method: str = "GET", host: str = API_HOST, token: str | None = None, **form: Any) -> Any:
        """The answer of a path with its query.  Raises ``ApiError``."""
        at, _, raw = path.partition("?")
        query = dict(pair.split("=", 1) for pair in raw.split("&") if pair)
        authorization = self.login() if token is None else token
        return self.api.answer(Request(host, method, at, query, form, authorization, self.now_ns))[1]


class Trial:
    """A connector that has begun, its sandbox, and everything that was told."""

    def __init__(self, sandbox: RunningSandbox, venue: RobinStocksVenue, log: EventLog) -> None:
        self.sandbox = sandbox
        self.venue = venue
        self.log = log
        self._number = 0

    @property
    def exchange(self) -> Exchange:
        return self.sandbox.exchange

    @property
    def account(self) -> Account:
        return next(iter(self.exchange.accounts.values()))

    @property
    def operator(self) -> Operator:
        return self.sandbox.rest.operator

    def operate(self, act: str, **fields: Any) -> None:
        self.operator.act({"act": act, **fields}, self.sandbox.rest.now_ns())

    def pin(self, bid: str = "231.40", ask: str = "231.42", qty: str = "1000") -> None:
        self.operate("pin", symbol="AAPL", bids=[[bid, qty]], asks=[[ask, qty]])

    def submit(self, side: Side = Side.BUY, **fields: Any) -> NewOrder:
        self._number += 1
        order = new_order(self._number, side, ts_ns=time.time_ns(), **fields)
        assert self.venue.gateway is not None
        self.venue.gateway.submit(order)
        return order

    def cancel(self, order: NewOrder) -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.cancel(cancel(order))

    def kinds(self, order: NewOrder) -> list[str]:
        name = order.client_order_id
        return [type(event).__name__ for event in self.log if getattr(event, "client_order_id", "") == name]

    def of(self, order: NewOrder) -> list[Any]:
        return [event for event in self.log if getattr(event, "client_order_id", "") == order.client_order_id]

    async def until(self, condition: Callable[[], object], what: str) -> None:
        try:
            async with asyncio.timeout(30):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            told = "\n".join(str(event)[:200] for event in list(self.log)[-12:])
            raise AssertionError(f"never: {what}; the last events:\n{told}") from None

    async def heard(self, order: NewOrder, kind: str) -> None:
        await self.until(lambda: kind in self.kinds(order), f"{kind} of {order.client_order_id}")


class RealClock:
    def now_ns(self) -> int:
        return time.time_ns()

    wall_ns = now_ns


@asynccontextmanager
async def trading(
    folder: Path, *, server: dict[str, Any] | None = None, start: bool = True, **settings: Any
) -> AsyncIterator[Trial]:
    """A sandbox whose market stands still, and a connector on it that asks often."""
    given = {"stocks": stocks_named(["AAPL"]), "warmup_s": 0.0, **(server or {})}
    sandbox = await serve(SandboxSettings(**given), folder / "login.json")
    log = EventLog()
    quick = RobinStocksSettings(
        key_file=str(folder / "login.json"), rest_url=sandbox.url, money="play", quotes_s=0.1, orders_s=0.1, idle_s=0.1,
        silence_s=0.5, absent_s=0.3, immediate_s=0.2, requests_per_min=100_000, backoff_base_s=0.05, backoff_cap_s=0.2,
    )  # fmt: skip
    venue = RobinStocksVenue(msgspec.structs.replace(quick, **settings), log, RealClock(), rng=random.Random(7))
    trial = Trial(sandbox, venue, log)
    trial.pin()
    try:
        if start:
            await venue.start()
        yield trial
    finally:
        await venue.stop()
        await sandbox.stop()
