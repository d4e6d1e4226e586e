"""When rows of a market are expected: the trading calendars, with the leniency that recorded data needs.

Owns the rules by which a hole in recorded data is told from a closed market.  The hours themselves are those of
``engine.data.calendars``; what happens with a hole is decided in ``engine.data.defects``.  Doubt errs towards "closed":
a missing row of a quiet hour is not worth an alarm.
"""

from __future__ import annotations

import enum
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.data.calendars import calendar
from engine.data.instruments import is_equity_venue, split_symbol, venue_id
from engine.errors import DataError

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MINUTE_NS: Final = 60 * 10**9
_DAY_NS: Final = 86_400 * 10**9
_CURRENCIES: Final = frozenset(
    {"USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "SGD", "HKD", "CNH", "MXN", "ZAR"}
    | {"TRY", "PLN", "HUF", "CZK"}
)
_METALS: Final = frozenset({"XAU", "XAG", "XPT", "XPD"})
_COINS: Final = frozenset({"USDT", "USDC", "BTC", "ETH"})


class Market(enum.StrEnum):
    """Whose hours hold; the value is the name of the calendar."""

    ALWAYS = ""
    FX = "FX"
    FUTURES = "CMES"
    US_EQUITIES = "XNYS"


_LENIENT_NS: Final = {Market.FUTURES: (120 * _MINUTE_NS, 60 * _MINUTE_NS)}
"""After the opening and before the close: the daily rest of Globex and of metals was in another hour in other years."""


def market_of(venue: str, symbol: str) -> Market:
    """The market that ``symbol`` of ``venue`` belongs to; what is not known is taken to trade always.

    Precious metals follow the hours of their futures.  A currency pair of a crypto exchange (EUR/USD on Kraken) is
    taken for a currency: fewer alarms, not more.
    """
    venue = venue_id(venue)
    if is_equity_venue(venue):
        return Market.US_EQUITIES
    if venue.startswith("cme"):
        return Market.FUTURES
    try:
        base, quote = split_symbol(venue, symbol)
    except DataError:
        return Market.ALWAYS
    if base in _METALS and quote not in _COINS:
        return Market.FUTURES
    return Market.FX if base in _CURRENCIES and quote in _CURRENCIES else Market.ALWAYS


def bars_expected(market: Market, starts_ns: Times, interval_ns: int) -> Mask:
    """Whether a bar that starts at each of these times (UTC ns) is expected to exist.

    US shares: when any part of it lies in the regular session.  Others: when all of it lies in open hours, because
    the first and the last minutes around a weekend are often empty.  A bar of a day or more: when a session ends in it.
    """
    if market is Market.ALWAYS:
        return np.ones(starts_ns.size, np.bool_)
    if interval_ns >= _DAY_NS:
        closes = calendar(market).closes_ns
        ended: Mask = np.searchsorted(closes, starts_ns + interval_ns) > np.searchsorted(closes, starts_ns)
        return ended | _beyond(market, starts_ns)
    first = is_open(market, starts_ns)
    last = is_open(market, starts_ns + max(interval_ns - _MINUTE_NS, 0))
    return first | last if market is Market.US_EQUITIES else first & last


def is_open(market: Market, ts_ns: Times) -> Mask:
    """Whether the market is in a session at each of these times (UTC ns), as far as rows are expected then."""
    if market is Market.ALWAYS:
        return np.ones(ts_ns.size, np.bool_)
    hours = calendar(market)
    after_ns, before_ns = _LENIENT_NS.get(market, (0, 0))
    latest = np.maximum(np.searchsorted(hours.opens_ns, ts_ns, "right") - 1, 0)
    held: Mask = (ts_ns >= hours.opens_ns[latest] + after_ns) & (ts_ns < hours.closes_ns[latest] - before_ns)
    return held | _beyond(market, ts_ns)


def _beyond(market: Market, ts_ns: Times) -> Mask:
    """Times that the calendar does not cover, where nothing is known to be closed."""
    hours = calendar(market)
    beyond: Mask = (ts_ns < hours.opens_ns[0]) | (ts_ns > hours.closes_ns[-1])
    return beyond
