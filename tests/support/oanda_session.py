"""Sessions of the connector on an OANDA account one after the other, with the books that a core would keep of them.

The exchange is the sandbox with a market that stands still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from connectors.fakes import EventLog
from connectors.oanda.settings import OandaSettings
from connectors.oanda.trading import Left
from connectors.oanda.venue import OandaVenue
from engine import events as e
from engine.carried import VERSION, Carried, CarriedOrder
from engine.codec import Record
from engine.commands import BalanceAdjusted, CancelOrder, NewOrder, OrderIntent, OrderType, RiskState
from engine.counters import Counters
from engine.fundings import Fundings
from engine.instruments import Instrument
from engine.portfolio import Portfolio
from engine.reconciliation import Reconciliation
from tests.support.oanda import Client, running

D = Decimal
EUR, JPY = "EUR/USD@oanda", "USD/JPY@oanda"
QUICK: dict[str, Any] = {"heartbeat_s": 0.1, "price_window_s": 0.02}


async def until(check: Callable[[], object]) -> None:
    """Waits for what must come true; the test's own time limit ends it."""
    while not check():
        await asyncio.sleep(0.01)


class Clock:
    def now_ns(self) -> int:
        return time.time_ns()

    wall_ns = now_ns


class Books:
    """The account as our core books it: the real portfolio and the real reconciliation, without a strategy."""

    def __init__(self, currency: str = "USD", left: Carried | None = None) -> None:
        self.portfolio = Portfolio(currency)
        self.instruments: dict[str, Instrument] = {}
        self.adjusted: list[BalanceAdjusted] = []
        self.moved: list[e.PositionReported] = []
        """Positions that were not as booked."""
        self.marks: dict[str, Decimal] = {}
        self.trades: list[str] = []
        self.fundings = Fundings()
        self._counters = Counters()
        self._reconciliation = Reconciliation(recorder=self, portfolio=self.portfolio, counters=self._counters)
        self.refused = ""
        if left is not None:
            self.portfolio.restore(left.money, left.instruments)
            self.trades = list(left.trades)
            self.fundings.restore(left.fundings)

    def record(self, record: Record) -> int:
        if isinstance(record, BalanceAdjusted):
            self.adjusted.append(record)
        return 0

    def mark(self, instrument: str) -> Decimal | None:
        return self.marks.get(instrument)

    def take(self, event: e.InputEvent) -> None:
        if isinstance(event, e.InstrumentDefined):
            self.instruments[event.definition.id] = event.definition
            self.portfolio.define(event.definition)
        elif isinstance(event, e.BalanceReported):
            self.portfolio.report_balance(event.venue, event.currency, event.total)
        elif isinstance(event, e.PositionReported):
            if not self.portfolio.knows_position(event.instrument):
                self.portfolio.report_position(event.instrument, event.qty, event.avg_px)
            elif self.portfolio.qty(event.instrument) != event.qty:
                self.moved.append(event)
                self.portfolio.adjust_position(event.instrument, event.qty, event.avg_px, self.mark)
        elif isinstance(event, e.RateReported):
            self.portfolio.set_rate(event.currency, event.rate)
        elif isinstance(event, e.OrderFilled):
            key = f"{event.venue}|{event.trade_id}"
            if key not in self.trades:
                self.trades.append(key)
                self.portfolio.apply_fill(event, "")
        elif isinstance(event, e.FundingSettled):
            if self.fundings.take(event):
                self.portfolio.apply_funding(event)
        elif isinstance(event, e.AccountSettled):
            self.refused = self._reconciliation.settle(event, self.mark)

    def qty(self, instrument: str = EUR) -> Decimal:
        return self.portfolio.qty(instrument)

    def cash(self, currency: str = "USD") -> Decimal | None:
        return self.portfolio.balance("oanda", currency)


class One:
    """A session and what it was told."""

    def __init__(self, client: Client, books: Books) -> None:
        self.client = client
        self.log = EventLog()
        self.books = books
        self.sent: dict[str, NewOrder] = {}
        self.venue: OandaVenue

    def publish(self, event: e.InputEvent) -> None:
        self.log(event)
        self.books.take(event)

    def submit(self, client_id: str, qty: str = "100", **fields: Any) -> None:
        assert self.venue.gateway is not None
        given = {"side": e.Side.BUY, "order_type": OrderType.MARKET, "instrument": EUR, **fields}
        intent = OrderIntent(time.time_ns(), "s", given.pop("instrument"), given.pop("side"), D(qty), **given)
        order = self.sent[client_id] = NewOrder(time.time_ns(), client_id, "oanda", intent)
        self.venue.gateway.submit(order)

    def cancel(self, client_id: str) -> None:
        assert self.venue.gateway is not None
        self.venue.gateway.cancel(CancelOrder(time.time_ns(), client_id, "oanda", "", EUR))

    def of(self, client_id: str) -> list[Any]:
        return [event for event in self.log if getattr(event, "client_order_id", None) == client_id]

    def kinds(self, client_id: str) -> list[str]:
        return [type(event).__name__ for event in self.of(client_id)]

    async def told(self, client_id: str, kind: type[e.InputEvent], count: int = 1) -> None:
        await until(lambda: sum(type(event) is kind for event in self.of(client_id)) >= count)

    def settled(self) -> list[e.AccountSettled]:
        return self.log.of(e.AccountSettled)

    def leaves(self, *, forgets: tuple[str, ...] = ()) -> Left:
        """As this session's journal would leave it; of the orders in ``forgets`` nothing but their sending."""
        orders = [self._carries(name, known=name not in forgets) for name in self.sent]
        state = Carried(
            VERSION,
            tuple(self.books.instruments.values()),
            tuple(orders),
            tuple(self.books.trades),
            self.books.portfolio.carried(),
            RiskState.ACTIVE,
            "",
            (),
            fundings=self.books.fundings.carried(),
        )
        return Left(state, time.time_ns())

    def _carries(self, client_id: str, *, known: bool) -> CarriedOrder:
        told = self.of(client_id) if known else []
        fills = [event for event in told if type(event) is e.OrderFilled]
        filled = sum((event.qty for event in fills), D(0))
        ends: dict[Any, str] = {
            e.OrderCancelled: "cancelled", e.OrderExpired: "expired", e.OrderRejected: "rejected"
        }  # fmt: skip
        state = next((ends[type(event)] for event in told if type(event) in ends), "accepted" if told else "sent")
        if filled >= self.sent[client_id].intent.qty:
            state = "filled"
        number = next((event.venue_order_id for event in told if type(event) is e.OrderAccepted), "")
        return CarriedOrder(self.sent[client_id], state, number, filled, D(0), tuple(event.trade_id for event in fills))


def settings_for(client: Client, folder: Path, **changes: Any) -> OandaSettings:
    token = folder / "token.txt"
    token.write_text(client.sandbox.token + "\n")
    given = OandaSettings(
        symbols=("EUR/USD", "USD/JPY"),
        rest_url=client.sandbox.url,
        stream_url=client.sandbox.url,
        token_file=str(token),
        money="play",
        counted_in="USD",
        order_timeout_s=0.5,
        dial_gap_s=0.0,
        unknown_grace_s=0.3,
        backoff_base_s=0.02,
        backoff_cap_s=0.05,
    )
    return msgspec.structs.replace(given, **changes)


@asynccontextmanager
async def session(
    client: Client, folder: Path, left: Left | None = None, *, currency: str = "USD", **changes: Any
) -> AsyncIterator[One]:
    """A connector that is started, and ends as one that is stopped."""
    parts = {name: changes.pop(name) for name in ("identify", "rival", "orders", "history") if name in changes}
    one = One(client, Books(currency, None if left is None else left.state))
    one.venue = OandaVenue(settings_for(client, folder, **changes), one.publish, Clock(), left=left, **parts)
    await one.venue.start()
    try:
        yield one
    finally:
        await one.venue.stop()


@asynccontextmanager
async def exchange(**settings: Any) -> AsyncIterator[Client]:
    """EUR_USD at 1.08400/1.08410 and USD_JPY at 150.000/150.010, a million each."""
    async with running(**{**QUICK, **settings}) as client:
        await pin(client)
        yield client


async def pin(client: Client, bid: str = "1.08400", ask: str = "1.08410", instrument: str = "EUR_USD") -> None:
    names = client.sandbox.exchange.markets.by_name
    if instrument == "EUR_USD" and "USD_JPY" in names:
        await pin(client, "150.000", "150.010", "USD_JPY")
    await client.operate("pin", instrument=instrument, bids=[[bid, "1000000"]], asks=[[ask, "1000000"]])
