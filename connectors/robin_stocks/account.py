"""Orders and money of the account, asked for again and again: what this venue has in place of a user stream.

Owns how often listings are read, and ``AccountSettled``: balances count only when the listings before and after them
show the same executions.

Money is told as the engine keeps it.  The venue pays an option from cash when it is bought; the engine books a position
on margin and its profit when it is closed.  So the dollars told are the cash and what the open contracts have cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from connectors.account_health import AccountHealth
from connectors.robin_stocks import wire
from connectors.robin_stocks.messages import Outcome, Told
from connectors.robin_stocks.orders import Listing
from connectors.robin_stocks.protocol import OrderBooks
from connectors.robin_stocks.settings import RobinStocksSettings
from engine.errors import VenueError
from engine.events import AccountSettled, BalanceReported, InputEvent, PositionReported
from engine.ports import Publish

USD = "USD"
TRIES = 8
SOON_S = 0.25
LAG_S = 0.1
OPENING_DAYS = 100
"""An order that is good till cancelled ends after ninety days."""
FAILURES_TOLERATED = 3
SHORT_TOLERATED = 10
"""Looks in a row at an order whose executions are claimed and not listed."""
_NS_PER_DAY = 86_400 * wire.NS_PER_S
_log = logging.getLogger(__name__)
Call = Callable[[str, dict[str, Any]], Awaitable[Told]]
T = TypeVar("T", bound=msgspec.Struct)


class Money(msgspec.Struct):
    """What was read at once: totals and what is free by currency, contracts held as ``(instrument, qty, price)``."""

    totals: dict[str, Decimal] = {}
    free: dict[str, Decimal] = {}
    contracts: dict[str, tuple[Decimal, Decimal]] = {}


class AccountPoll:
    """One task.  ``tell`` publishes events of orders (the gateway's)."""

    def __init__(
        self,
        settings: RobinStocksSettings,
        account: str,
        listings: Mapping[str, Listing],
        books: OrderBooks,
        *,
        call: Call,
        tell: Callable[[list[InputEvent]], None],
        publish: Publish,
        health: AccountHealth,
        now_ns: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._account = account
        self._books = books
        self._call = call
        self._tell = tell
        self._publish = publish
        self._health = health
        self._now_ns = now_ns
        self._stocks = {each.url: each.instrument.base for each in listings.values() if not each.is_option}
        self._options = {each.url: name for name, each in listings.items() if each.is_option}
        self._multipliers = {each.url: each.instrument.multiplier for each in listings.values()}
        self._listed_ns = 0
        self._wake = asyncio.Event()
        self._settle_due_ns = 0
        self._failed = 0
        self._short = 0
        self._said: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self.last_error = ""

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Orders that are open, then balances.  Raises ``VenueError``."""
        self._listed_ns = self._now_ns() - OPENING_DAYS * _NS_PER_DAY
        await self.read_orders()
        money = await self._balances()
        self._books.open()
        now_ns = self._now_ns()
        name = self._settings.name
        for currency, total in money.totals.items():
            self._publish(BalanceReported(now_ns, now_ns, name, currency, total, money.free[currency]))
        self._settled(money)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._settings.name}-account")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def look(self) -> None:
        """Ask about orders soon."""
        self._wake.set()

    def confirm(self) -> None:
        """Have the account confirmed soon."""
        self._settle_due_ns = 0
        self._wake.set()

    async def _run(self) -> None:
        settings = self._settings
        while True:
            pause_s = settings.orders_s if self._books.open_orders() else settings.idle_s
            left_s = (self._settle_due_ns - self._now_ns()) / wire.NS_PER_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(pause_s, left_s))):
                    await self._wake.wait()
                await asyncio.sleep(SOON_S)  # an order is not filled at the moment of its answer
            self._wake.clear()
            try:
                if self._now_ns() >= self._settle_due_ns:
                    await self.settle()
                else:
                    await self.read_orders()
                self._went_well()
            except VenueError as error:
                self._went_wrong(str(error))
            except Exception as error:
                self._went_wrong(f"{type(error).__name__}: {error}")
                _log.exception("%s: looking at the account failed; it goes on", settings.name)

    def _went_well(self) -> None:
        if self._failed:
            self._failed = 0
            self.confirm()  # what happened meanwhile is not known before
        self._health.recovered("listings")
        short = self._books.short()
        self._short = self._short + 1 if short else 0
        if self._short > SHORT_TOLERATED:
            self._health.trouble("executions", f"order {short[0]} has filled more than its executions show")
        elif not short:
            self._health.recovered("executions")
        for order in self._books.doubtful():
            if order not in self._said:
                self._said.add(order)
                _log.error(
                    "%s: the answer to order %s was lost, and an order like it is listed that may be somebody else's: "
                    "it stays unknown; look it up at the venue", self._settings.name, order,
                )  # fmt: skip
        for word, order in self._books.unknown_states.items():
            if word not in self._said:
                self._said.add(word)
                _log.error(
                    "%s says that order %s is %r, which this release does not know: it counts as open and is asked "
                    "about; look it up at the venue", self._settings.name, order, word,
                )  # fmt: skip

    def _went_wrong(self, text: str) -> None:
        self.last_error = text
        self._failed += 1
        self._settle_due_ns = max(self._settle_due_ns, self._now_ns() + 2 * wire.NS_PER_S)
        if self._failed > FAILURES_TOLERATED:
            self._health.trouble("listings", text)

    # --- orders -------------------------------------------------------------------------------------------------------

    async def read_orders(self) -> int:
        """Everything that changed since the last time; how many executions were new.  Raises ``VenueError`` when a
        listing was not read to its end: what is missing in it is not gone."""
        asked_ns = self._now_ns()
        since_ns = self._books.since_ns(self._listed_ns or asked_ns)
        events: list[InputEvent] = []
        calls = ["orders", "option_orders"] if self._options else ["orders"]
        for call in calls:
            given = {"account": self._account, "since": _iso(since_ns)}
            rows, broken = _rows(await self._call(call, given), wire.OrderRow, "orders")
            if broken:
                raise VenueError(f"{broken} orders in a listing of {self._settings.name} cannot be read")
            events += self._books.read(rows[::-1], self._now_ns())
        self._listed_ns = asked_ns
        events += self._books.listed((True, len(calls) > 1), since_ns, self._now_ns())
        self._tell(events)
        return len(events)

    # --- money --------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Confirm the account once.  Raises ``VenueError`` when that cannot be had now."""
        await self.read_orders()
        self._settled(await self._balances())

    def _settled(self, money: Money) -> None:
        now_ns = self._now_ns()
        name = self._settings.name
        for instrument in self._options.values():
            qty, avg_px = money.contracts.get(instrument, (Decimal(0), Decimal(0)))
            self._publish(PositionReported(now_ns, now_ns, name, instrument, qty, avg_px))
        balances = tuple(money.totals.items())
        self._publish(AccountSettled(now_ns, now_ns, name, balances, self._books.unresolved()))
        self._settle_due_ns = now_ns + int(self._settings.reconcile_s * wire.NS_PER_S)

    async def _balances(self) -> Money:
        """Balances with every execution that is told, and no other."""
        for _ in range(TRIES):
            money = await self._read_money()
            await asyncio.sleep(LAG_S)
            if not await self.read_orders():
                return money
        raise VenueError(
            f"{self._settings.name} account was traded during each of {TRIES} readings of its balances",
            expected="a moment without an execution",
            do="stop other programs that trade on it",
        )

    async def _read_money(self) -> Money:
        of = {"account": self._account}
        account = _one(await self._call("account", of), wire.AccountRow, "the account")
        positions, broken = _rows(await self._call("positions", of), wire.PositionRow, "positions")
        contracts: list[wire.OptionPositionRow] = []
        if self._options:
            told = await self._call("option_positions", of)
            contracts, more = _rows(told, wire.OptionPositionRow, "option positions")
            broken += more
        if broken:
            raise VenueError(f"{broken} positions of {self._settings.name} cannot be read")
        money = Money({USD: account.cash}, {USD: account.buying_power})
        for base in self._stocks.values():
            money.totals[base] = money.free[base] = Decimal(0)
        for row in positions:
            held = self._stocks.get(row.instrument)
            if held is not None:
                money.totals[held] = row.quantity
                money.free[held] = row.quantity - row.shares_held_for_sells
        for each in contracts:
            self._count(each, money)
        return money

    def _count(self, row: wire.OptionPositionRow, money: Money) -> None:
        """A contract that is traded here: what it has cost counts as money that is still there."""
        name = self._options.get(row.option)
        if name is None or not row.quantity:
            return
        multiplier = self._multipliers[row.option]
        qty = row.quantity if row.type == "long" else -row.quantity
        px = abs(row.average_price) / multiplier
        money.contracts[name] = (qty, px)
        money.totals[USD] += qty * px * multiplier


def _whole(told: Told, what: str) -> bytes:
    if told.outcome is not Outcome.OK:
        raise VenueError(f"{what} could not be read: {wire.refusal(told.body) or told.text or told.outcome.value}")
    return told.body


def _rows(told: Told, kind: type[T], what: str) -> tuple[list[T], int]:
    try:
        return wire.read_rows(_whole(told, what), kind)
    except wire.UNREADABLE as error:
        raise VenueError(f"{what} cannot be read: {error}") from None


def _one(told: Told, kind: type[T], what: str) -> T:
    try:
        return wire.read(_whole(told, what), kind)
    except wire.UNREADABLE as error:
        raise VenueError(f"{what} cannot be read: {error}") from None


def _iso(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // wire.NS_PER_S, UTC):%Y-%m-%dT%H:%M:%SZ}"
