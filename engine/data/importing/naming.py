"""What a file is about: venue, symbol and the length of its bars, as the file, its name or the user says.

Order: the user's option, the metadata of the file's schema, the file's name, the folder it lies in.  Owns freqtrade's
layout (``binance/BTC_USDT-5m.feather``, ``binance/futures/BTC_USDT_USDT-1h-futures.feather``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from engine.data.importing.options import Options
from engine.data.instruments import split_symbol, venue_id
from engine.data.parts import interval_ns_of
from engine.errors import DataError

ALL: Final = "ALL"
"""Symbol of what is about no single one: frames of a connection that carried several, macro series."""

_FREQTRADE: Final = re.compile(
    r"(?P<pair>[A-Za-z0-9]+_[A-Za-z0-9]+)(_(?P<settle>[A-Za-z0-9]+))?(-(?P<expiry>\d{6}))?"
    r"-((?P<interval>\d+[mhdwM])|(?P<trades>trades))(-(?P<kind>futures|mark|index|funding_rate|spot))?"
)
_INTERVAL: Final = re.compile(r"(?:^|[_\-. ])(\d+)(s|m|min|h|d|w)(?=$|[_\-. ])", re.IGNORECASE)
_BASE_WORDS: Final = frozenset({"base", "shares", "contracts", "lots", "units", "coins"})
_EACH: Final = re.compile(r"\(each /([A-Z0-9]+)\)")
# Folders that name an exchange as ccxt does; others name somebody's project.
_EXCHANGES: Final = frozenset(
    {"binance", "binanceus", "binanceusdm", "bitfinex", "bitget", "bitmart", "bitmex", "bitstamp", "bitvavo", "bybit"}
    | {"coinbase", "cryptocom", "deribit", "gate", "gateio", "gemini", "htx", "huobi", "hyperliquid", "kraken"}
    | {"krakenfutures", "kucoin", "mexc", "okx", "poloniex"}
)
_VENUES: Final = (
    *("binance_spot", "binance_usdm", "binance", "bitfinex", "bitmex", "bitstamp", "bybit", "coinbase_adapter"),
    *("coinbase_exchange", "coinbase", "deribit", "fxcm", "kraken_adapter", "kraken_futures", "kraken", "oanda_v20"),
    *("oanda", "okx"),
)
"""How names of files begin; longer ones first where one begins like another."""
_ONE_VENUE: Final = {
    "coinbase_adapter": "coinbase",
    "coinbase_exchange": "coinbase",
    "kraken_adapter": "kraken",
    "oanda_v20": "oanda",
}


class Subject(msgspec.Struct, frozen=True):
    """What a file is about; empty or 0 where nothing says it.  ``quote`` completes symbols that name only a base."""

    venue: str
    symbol: str = ""
    interval_ns: int = 0
    quote: str = ""
    label_unclear: bool = False
    """The source says that the time of a bar is whatever its own source called it: start or end is not known."""
    volume_in: str = ""
    """What the source says that volumes are in, where that is not the base of the symbol."""

    def full_symbol(self, symbol: str) -> str:
        """``BTC`` of a file whose symbols are "each /USDT" is ``BTC/USDT``."""
        return f"{symbol}/{self.quote}" if self.quote and not symbol.endswith(self.quote) else symbol


def find_subject(path: Path, metadata: dict[str, str], options: Options) -> Subject:
    """Raises ``DataError`` where nothing says which venue the file is of."""
    told = metadata.get("symbol", "")
    each = _EACH.search(told)
    venue, symbol, interval_ns = _from_name(path)
    venue = options.venue or metadata.get("venue", "") or venue
    words = told.lower().split()
    several = each is not None or (len(words) > 1 and all(_is_symbol(venue, word) for word in words))
    if not venue and options.kind == "exogenous":
        venue = "exogenous"
    venue = venue or options.nameless
    if not venue_id(venue):
        raise DataError(
            f"nothing says which venue {path} is of",
            expected="the key 'venue' in its schema's metadata, a folder or a file named after it, or an option",
            do="name it: --venue coinbase",
        )
    symbol = options.symbol or ("" if several else told) or symbol
    units = metadata.get("units", "")
    return Subject(
        venue,
        symbol,
        options.interval_ns or interval_ns,
        each[1] if each else "",
        "bar label" in units and options.label == "start",
        _foreign_volume(units, symbol),
    )


def _foreign_volume(units: str, symbol: str) -> str:
    """The word behind "volume in", unless it says base units."""
    found = re.search(r"\bvolume in (\w+)", units)
    if found is None or found[1].lower() in _BASE_WORDS or symbol.upper().startswith(found[1].upper()):
        return ""
    return found[1]


def _from_name(path: Path) -> tuple[str, str, int]:
    """Venue, symbol and interval as the path says them."""
    stem = path.name
    for ending in (".gz", ".feather", ".parquet", ".csv", ".tsv", ".txt", ".jsonl", ".arrow"):
        stem = stem.removesuffix(ending)
    if match := _FREQTRADE.fullmatch(stem):
        return _freqtrade(path, match)
    lower = stem.lower()
    prefix = next((name for name in _VENUES if re.match(rf"{name}(?![a-z0-9])", lower)), "")
    venue = _ONE_VENUE.get(prefix, prefix)
    symbol = ""
    for word in re.split(r"[_\s]+", lower.removeprefix(prefix).strip("_- ")):
        if venue and _is_symbol(venue, word):
            symbol = word.upper()
            break
    return venue or _exchange_of(path), symbol, _interval(stem)


def _freqtrade(path: Path, match: re.Match[str]) -> tuple[str, str, int]:
    """A pair has its quote after the underscore; futures lie in a folder of their own and name the currency they settle
    in once more."""
    if match["kind"] in ("mark", "index", "funding_rate"):
        raise DataError(
            f"{path} holds {match['kind'].replace('_', ' ')}s of freqtrade",
            expected="candles or trades",
            do="leave it out",
        )
    venue = _exchange_of(path)
    futures = match["kind"] == "futures" or match["settle"] is not None
    if venue == "binance":
        venue = "binance_usdm" if futures else "binance_spot"
    elif futures and venue:
        venue += "_futures"
    symbol = match["pair"].replace("_", "/") + (f"-{match['expiry']}" if match["expiry"] else "")
    return venue, symbol, _length(match["interval"]) if match["interval"] else 0


def _exchange_of(path: Path) -> str:
    for folder in (path.parent.name, path.parent.parent.name):
        if folder.lower() in _EXCHANGES:
            return folder.lower()
    return ""


def _is_symbol(venue: str, word: str) -> bool:
    """Whether a word of the name is a symbol: letters that split into base and quote."""
    if not re.fullmatch(r"[a-z0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)?", word):
        return False
    try:
        split_symbol(venue_id(venue), word)
    except DataError:
        return False
    return True


def _interval(stem: str) -> int:
    found = _INTERVAL.findall(stem)
    if len(found) != 1:
        return 0
    count, unit = found[0]
    return _length(count + unit.lower().removesuffix("in"))


def _length(text: str) -> int:
    if text.endswith("M"):
        return 0  # months differ in length: the option --interval has to say what is meant
    return interval_ns_of(text) if not text.startswith("0") else 0
