"""What exists at OANDA before anything moves, read by REST: accounts, instruments, the account as a whole, the past.

Owns the questions and the reading of their answers.  What they mean for a session is ``reconcile``'s and ``venue``'s.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from connectors.oanda import requests, wire
from connectors.oanda.candles import fetch_bars
from connectors.oanda.orders import define
from connectors.oanda.requests import Request
from connectors.oanda.settings import OandaSettings
from connectors.rest import Gets, RestError
from engine.errors import VenueError
from engine.events import Bar
from engine.instruments import Instrument
from engine.ports import Clock

LAG_S, LAG_TRIES = 0.25, 20

T = TypeVar("T")


class Directory:
    """Of one account: ``find_account`` comes first, then ``define``, which fills ``instruments`` (by the venue's
    names)."""

    def __init__(self, settings: OandaSettings, rest: Gets, clock: Clock) -> None:
        self._settings = settings
        self._rest = rest
        self._clock = clock
        self.account = ""
        self.is_play_money = False
        """The server said that it is the built-in exchange; known once ``find_account`` was asked."""
        self.instruments: dict[str, Instrument] = {}
        self.guaranteeing: frozenset[str] = frozenset()
        """Canonical ids of those that have guaranteed stop-losses."""
        self.listed: dict[str, Instrument] = {}
        """All that the account may trade, by the venue's names; ``instruments`` are those of the settings."""

    async def find_account(self) -> None:
        """Raises ``VenueError`` where the token has no such account."""
        wanted = self._settings.account
        accounts = (await self._ask(requests.ACCOUNTS, wire.decode_accounts)).accounts
        mine = [account for account in accounts if wanted in ("", account.id)]
        if not mine:
            raise VenueError(
                f"{self._settings.name} has no account {wanted or 'for this token'}",
                expected=f"one of {', '.join(account.id for account in accounts[:5])}" if accounts else "an account",
                do="check venue.account and the token",
            )
        self.account = mine[0].id
        self.is_play_money = wire.SANDBOX_TAG in mine[0].tags

    async def define(self) -> None:
        """Read what the account may trade.  Raises ``VenueError`` for a configured symbol that it may not."""
        self.listed = listed = await self.list_all()
        found: dict[str, Instrument] = {}
        for symbol in self._settings.symbols:
            instrument = listed.get(symbol.replace("/", "_"))
            if instrument is None:
                raise self._unknown(symbol)
            found[instrument.venue_symbol] = instrument
        self.instruments = found

    async def list_all(self) -> dict[str, Instrument]:
        """What the account may trade now, by the venue's names.  Raises ``VenueError``, also where it is nothing."""
        name = self._settings.name
        rows = (await self._ask(requests.instruments(self.account), wire.decode_instruments)).instruments
        listed: dict[str, Instrument] = {}
        for row in rows:
            try:
                listed[row.name] = define(row, name)
            except ValueError:
                continue  # no pair, or no grid: nothing that is traded here
        if not listed:
            raise VenueError(f"{name} lists no instrument for account {self.account}", expected="what it may trade")
        self.guaranteeing = frozenset(
            listed[row.name].id
            for row in rows
            if row.name in listed and row.guaranteedStopLossOrderMode in ("ALLOWED", "REQUIRED")
        )
        return listed

    def _unknown(self, symbol: str) -> VenueError:
        names = [instrument.id.partition("@")[0] for instrument in self.listed.values()]
        nearest = difflib.get_close_matches(symbol.upper(), names, n=3, cutoff=0.4) or names[:3]
        return VenueError(
            f"unknown symbol {symbol!r} on {self._settings.name}",
            expected="one that the account may trade",
            do="did you mean " + ", ".join(nearest) + "?" if nearest else "",
        )

    async def clock_offset_ns(self, *, limited: bool = True) -> int:
        """The venue's clock minus ours, by the time of a pricing answer against the middle of the round trip.

        Raises ``VenueError`` when it cannot be had or, if ``limited``, is more than ``skew_limit_s``.
        """
        name = next(iter(self.instruments), "EUR_USD")
        before_ns = self._clock.now_ns()
        told = (await self.pricing([name])).time
        after_ns = self._clock.now_ns()
        venue_ns = wire.TimeParser()(told)
        if not venue_ns:
            raise VenueError(f"{self._settings.name} tells its time as {told[:40]!r}", expected="RFC 3339")
        offset_ns = venue_ns - (before_ns + after_ns) // 2
        if limited and abs(offset_ns) > self._settings.skew_limit_s * 1e9:
            raise VenueError(
                f"this machine's clock is {-offset_ns / 1e9:+.1f} s off the clock of {self._settings.name}",
                expected=f"at most {self._settings.skew_limit_s:g} s",
                do="synchronise the clock (NTP)",
            )
        return offset_ns

    async def pricing(self, names: Sequence[str], *, conversions: bool = False) -> wire.Pricing:
        """Prices of these are asked for; the answer's time and conversions are read.  Raises ``VenueError``."""
        return await self._ask(requests.pricing(self.account, names, conversions=conversions), wire.decode_pricing)

    async def details(self) -> tuple[wire.Account, int]:
        """The account as a whole, and the last transaction that is in it.  Raises ``VenueError``."""
        answer = await self._ask(requests.details(self.account), _details)
        return answer.account, answer.last_id

    async def transactions_since(self, number: int, until: int) -> wire.Transactions:
        """What happened after a transaction, up to another one at least, oldest first.  Raises ``VenueError``."""
        found = wire.Transactions([], str(number))
        waits = 0
        while number < until and waits < LAG_TRIES:
            answer = await self._ask(requests.transactions_since(self.account, number), _since)
            reached = int(wire.decode_id(answer.transactions[-1]).id) if answer.transactions else number
            if reached <= number:
                waits += 1
                await asyncio.sleep(LAG_S)  # what is written is not readable at once
                continue
            found.transactions += answer.transactions
            number = reached
        if number < until:
            raise VenueError(
                f"{self._settings.name} does not tell what happened after transaction {number}",
                expected=f"everything up to {until}",
            )
        found.lastTransactionID = str(number)
        return found

    async def last_before(self, ts_ns: int) -> int:
        """The last transaction before a time (venue's clock).  Raises ``VenueError``."""
        return await self._ask(requests.transactions_from(self.account, ts_ns), _last_before)

    async def history(self, instrument: Instrument, interval_ns: int, bars: int) -> list[Bar]:
        """Finished candles of the past, oldest first.  Raises ``VenueError`` when the venue does not give them."""
        try:
            return await fetch_bars(
                lambda request: self._rest.get(request.path, request.params),
                instrument.venue_symbol,
                instrument.id,
                interval_ns=interval_ns,
                bars=bars,
                recv_ns=self._clock.now_ns(),
            )
        except wire.UNREADABLE as error:
            raise RestError(f"candles of {instrument.id}: unreadable answer: {error}", expected="candles") from error

    async def _ask(self, request: Request, read: Callable[[bytes], T]) -> T:
        body = await self._rest.get(request.path, request.params)
        try:
            return read(body)
        except wire.UNREADABLE as error:
            raise RestError(
                f"GET {request.path}: unreadable answer: {str(error)[:200]}",
                expected="a v20 answer",
                do="check the address",
            ) from error


def _details(body: bytes) -> wire.AccountDetails:
    """Raises what is in ``wire.UNREADABLE``."""
    answer = wire.decode_details(body)
    answer.account.check()
    _ = answer.last_id
    return answer


def _last_before(body: bytes) -> int:
    """The one before the first range that lies after a time.  Raises what is in ``wire.UNREADABLE``."""
    answer = wire.decode_pages(body)
    if not answer.pages:
        return int(answer.lastTransactionID)
    return int(parse_qs(urlsplit(answer.pages[0]).query).get("from", [""])[0]) - 1


def _since(body: bytes) -> wire.Transactions:
    """Raises what is in ``wire.UNREADABLE``: what is read next goes by the last one's number."""
    answer = wire.decode_transactions(body)
    if answer.transactions:
        int(wire.decode_id(answer.transactions[-1]).id)
    return answer
