"""What the configured symbols are at the venue: looked up once, at the start.

Owns the questions about instruments and what they become here.  Prices are ``market``'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from connectors.robin_stocks import wire
from connectors.robin_stocks.messages import Outcome, Told
from connectors.robin_stocks.orders import Listing, OptionName, define_option, define_stock, option_name
from connectors.robin_stocks.settings import RobinStocksSettings
from engine.errors import VenueError

Call = Callable[[str, dict[str, Any]], Awaitable[Told]]
NEW_YORK = ZoneInfo("America/New_York")
_TRIES = 3
T = TypeVar("T", bound=msgspec.Struct)


class Directory:
    """``call`` asks the worker."""

    def __init__(self, settings: RobinStocksSettings, call: Call) -> None:
        self._settings = settings
        self._call = call

    async def listings(self) -> dict[str, Listing]:
        """By instrument id.  Raises ``VenueError`` for a symbol that the venue does not have or does not trade."""
        found: dict[str, Listing] = {}
        for symbol in self._settings.symbols:
            name = option_name(symbol)
            made = await (self._stock(symbol.partition("/")[0]) if name is None else self._option(symbol, name))
            found[made.instrument.id] = made
        return found

    async def _stock(self, symbol: str) -> Listing:
        row = await self.one("instrument", {"symbol": symbol}, wire.InstrumentRow, f"stock {symbol}")
        if row.symbol != symbol:
            raise VenueError(f"asked for {symbol}, {self._settings.name} told of {row.symbol[:20]!r}")
        if not row.tradeable or row.tradability != "tradable" or row.state != "active":
            raise VenueError(
                f"{symbol} is not traded at {self._settings.name}: {row.state}, {row.tradability}",
                do="take it out of venue.symbols",
            )
        told = await self.ask("quotes", {"symbols": [symbol]}, f"a quote of {symbol}")
        quotes, _ = wire.read_rows(told.body, wire.QuoteRow)
        px = next((quote.last_trade_price or quote.ask_price or 0.0 for quote in quotes), 0.0)
        fractional = self._settings.fractional
        return Listing(define_stock(row, self._settings.name, px, fractional=fractional), row.url)

    async def _option(self, symbol: str, name: OptionName) -> Listing:
        given = {"symbol": name.symbol, "expiry": name.expiry, "strike": name.strike, "kind": name.kind}
        told = await self.ask("contracts", given, f"option {symbol}")
        rows, _ = wire.read_rows(told.body, wire.ContractRow)
        strike = Decimal(name.strike)
        for row in rows:
            is_it = row.chain_symbol == name.symbol and row.strike_price == strike
            if is_it and row.expiration_date == name.expiry and row.type == name.kind:
                ends = datetime.combine(date.fromisoformat(name.expiry), time(16), NEW_YORK)
                ends_ns = int(ends.timestamp()) * wire.NS_PER_S
                px = await self._option_px(row.url, symbol)
                return Listing(define_option(row, self._settings.name, symbol, ends_ns, px), row.url, row.min_ticks)
        raise VenueError(
            f"{self._settings.name} has no option {symbol}",
            expected="a contract that is traded now",
            do="correct venue.symbols",
        )

    async def _option_px(self, url: str, symbol: str) -> float:
        """About what it costs, 0 where nobody quotes it."""
        told = await self.ask("option_quotes", {"urls": [url]}, f"a quote of {symbol}")
        quotes, _ = wire.read_rows(told.body, wire.QuoteRow)
        return next((quote.ask_price or 0.0 for quote in quotes), 0.0)

    async def one(self, call: str, given: dict[str, Any], kind: type[T], what: str) -> T:
        """One row.  Raises ``VenueError``."""
        told = await self.ask(call, given, what)
        try:
            return wire.read(told.body, kind)
        except wire.UNREADABLE as error:
            if told.body == b"{}":
                raise VenueError(f"{self._settings.name} knows no {what}", do="correct venue.symbols") from None
            raise VenueError(f"{self._settings.name}: {what} cannot be read: {error}") from None

    async def ask(self, call: str, given: dict[str, Any], what: str) -> Told:
        """A question whose answer is needed.  Raises ``VenueError`` after a few tries."""
        told = Told(0, Outcome.NOT_SENT)
        for _ in range(_TRIES):
            told = await self._call(call, given)
            if told.outcome is Outcome.OK:
                return told
            if told.outcome is Outcome.REFUSED and told.status != 429:
                break
        words = wire.refusal(told.body) or told.text or told.outcome.value
        raise VenueError(f"{self._settings.name}: {what} could not be had: {words}")
