"""The command ``data fetch``: a venue's past into the catalogue.

Owns its options and what is said at the end.  Fetching and storing are ``connectors.download``; which venues can tell
their past is ``config.histories``, what is shown meanwhile ``config.fetch_board``.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from config.fetch_board import Board
from config.histories import check_owner, history_of
from engine.cli import ConfigOption, JsonFlag, SetOption, print_json
from engine.errors import ConfigError, DataError, VenueError

if TYPE_CHECKING:
    from connectors.download import Tally
    from connectors.history import VenueHistory
    from engine.data.catalogue import Catalogue
    from engine.instruments import Instrument

_NS: Final = 1_000_000_000
KINDS: Final = ("bars", "trades")
DEFAULT_INTERVAL: Final = "1h"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_SYMBOL: Final = re.compile(r"[A-Z0-9.][A-Z0-9.\-]*/[A-Z0-9]+")


def data_fetch(
    venue: Annotated[
        str, typer.Option(help="coinbase, binance_spot, binance_usdm, oanda, robin_stocks, ccxt:EXCHANGE")
    ],
    symbols: Annotated[str, typer.Option(help="such as BTC/USD,ETH/USD")],
    start: Annotated[str, typer.Option(help="first time wanted, UTC: 2024-01-01 or 2024-01-01T12:30")],
    kind: Annotated[str, typer.Option(help="bars or trades")] = "bars",
    interval: Annotated[str | None, typer.Option(help="of bars: 1m, 5m, 1h, 1d ... (default 1h)")] = None,
    end: Annotated[str | None, typer.Option(help="first time not wanted any more (default: now)")] = None,
    to: Annotated[Path | None, typer.Option(help="catalogue to store in (default: setting data.catalogue)")] = None,
    config: ConfigOption = None,
    url: Annotated[str | None, typer.Option(help="REST address, such as that of a sandbox")] = None,
    again: Annotated[bool, typer.Option("--again", help="also ask for what is stored and say what differs")] = False,
    assign: SetOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Download a venue's past bars or trades into the catalogue; run again, it goes on where it stopped."""
    from config.commands import parse_overrides
    from config.load import load
    from engine.data.catalogue import Catalogue

    make = history_of(venue)
    named = {"venue.rest_url": url, "data.catalogue": None if to is None else str(to)}
    given = {key: value for key, value in named.items() if value is not None}
    settings = load(config or (), overrides=parse_overrides(assign) | given)
    check_owner(settings, venue, has_url=url is not None)
    request = _request(symbols, kind, interval, start, end, again=again)
    outcome = Outcome()
    began_s = time.monotonic()
    with Board() as board:
        history = make(settings, board.say)
        try:
            asyncio.run(_fetch(history, Catalogue(settings.data.catalogue), request, board, outcome))
        except KeyboardInterrupt:
            outcome.interrupted = True
        except (VenueError, DataError) as error:
            kept = f" ({outcome.rows} rows are stored)" if outcome.tallies else ""
            wrapped = VenueError if isinstance(error, VenueError) else DataError
            raise wrapped(f"{error.seen}{kept}", expected=error.expected, do=error.do) from error
        finally:
            outcome.requests = history.requests
    for line in outcome.lines(request):
        print(line)
    if as_json:
        print_json(outcome.content(history.name, request, str(settings.data.catalogue), time.monotonic() - began_s))
    if outcome.interrupted:
        raise typer.Exit(130)


class Request(msgspec.Struct, frozen=True):
    """What is asked for.  ``interval_ns`` is 0 for trades, ``end_ns`` None up to now."""

    symbols: tuple[str, ...]
    kind: str
    interval_ns: int
    start_ns: int
    end_ns: int | None
    again: bool

    @property
    def interval(self) -> str | None:
        """Such as ``1h``; None for trades."""
        from engine.data.parts import interval_text

        return interval_text(self.interval_ns) if self.interval_ns else None

    @property
    def what(self) -> str:
        return self.kind if self.interval is None else f"{self.kind} {self.interval}"


class Outcome(msgspec.Struct):
    """Filled as the download goes: it is told after an error or an interruption, too."""

    tallies: dict[str, Tally] = {}
    """By symbol."""
    ends_ns: dict[str, int] = {}
    requests: int = 0
    interrupted: bool = False

    @property
    def rows(self) -> int:
        return sum(tally.rows for tally in self.tallies.values())

    def lines(self, request: Request) -> Iterator[str]:
        """What the user is told, a line a symbol and one for each thing to know."""
        for symbol, tally in self.tallies.items():
            end_ns = self.ends_ns[symbol]
            span = f"{at(request.start_ns)} to {at(end_ns)}"
            if end_ns <= request.start_ns:
                yield f"{symbol} {request.what}: nothing is finished since {at(request.start_ns)}"
                continue
            there = f" ({tally.present} more were there)" if tally.present else ""
            whole = ", all of it was there" if tally.resumed and not tally.rows and not tally.present else ""
            yield f"{symbol} {request.what}: {tally.rows} rows stored{there}, {span}{whole}"
            if tally.revised:
                yield f"{symbol}: the venue tells {tally.revised} rows otherwise than they are stored; those stay"
            if tally.conflicts:
                yield f"{symbol}: {tally.conflicts} rows came twice and differed; the first were stored"
            if tally.dropped:
                yield f"{symbol}: {tally.dropped} rows of the venue are no market data and were left out"
            if tally.cut:
                yield f"{symbol}: {tally.cut} seconds have more trades than the venue gives; those are not complete"
        if self.interrupted:
            yield f"stopped: {self.rows} rows are stored, the same command goes on from here"

    def content(self, venue: str, request: Request, catalogue: str, seconds: float) -> dict[str, Any]:
        tallies = self.tallies.values()
        return {
            "venue": venue,
            "symbols": list(request.symbols),
            "kind": request.kind,
            "interval": request.interval,
            "catalogue": catalogue,
            "rows": self.rows,
            "requests": self.requests,
            "resumed": any(tally.resumed for tally in tallies),
            "revised": sum(tally.revised for tally in tallies),
            "conflicts": sum(tally.conflicts for tally in tallies),
            "dropped": sum(tally.dropped for tally in tallies),
            "cut": sum(tally.cut for tally in tallies),
            "interrupted": self.interrupted,
            "seconds": round(seconds, 3),
        }


async def _fetch(history: VenueHistory, catalogue: Catalogue, request: Request, board: Board, outcome: Outcome) -> None:
    """Every symbol is looked up before the first row is fetched: a typing error costs no hours."""
    from connectors.download import Download, Tally, Wanted
    from engine.data.parts import interval_text

    try:
        await history.start()
        if request.interval_ns and request.interval_ns not in history.intervals_ns:
            made = ", ".join(map(interval_text, history.intervals_ns))
            raise ConfigError(f"{history.name} makes no bars of {request.interval}", expected=made)
        instruments: list[tuple[str, Instrument]] = [
            (symbol, await history.instrument(symbol)) for symbol in request.symbols
        ]
        for symbol, instrument in instruments:
            settled_ns = history.settled_ns(request.interval_ns)
            end_ns = settled_ns if request.end_ns is None else min(request.end_ns, settled_ns)
            tally = outcome.tallies[symbol] = Tally()
            outcome.ends_ns[symbol] = end_ns
            if end_ns <= request.start_ns:
                continue
            wanted = Wanted(instrument, request.kind, request.interval_ns, request.start_ns, end_ns)
            with board.task(f"{symbol} {request.what}", request.start_ns, end_ns) as advance:
                await Download(history, catalogue, on_span=advance).run(wanted, again=request.again, tally=tally)
    finally:
        await history.stop()


# --- options --------------------------------------------------------------------------------------------------------


def _request(symbols: str, kind: str, interval: str | None, start: str, end: str | None, *, again: bool) -> Request:
    from engine.data.parts import interval_ns_of

    if kind not in KINDS:
        raise ConfigError(f"--kind {kind}", expected=" or ".join(KINDS))
    if kind == "trades" and interval is not None:
        raise ConfigError(f"--interval {interval} with --kind trades", expected="it with bars only", do="leave it out")
    names = dict.fromkeys(_symbol(name.strip().upper()) for name in symbols.split(",") if name.strip())
    for name in names:
        if not _SYMBOL.fullmatch(name):
            raise ConfigError(f"--symbols {name!r}", expected="BASE/QUOTE, such as BTC/USD,ETH/USD")
    if not names:
        raise ConfigError("--symbols is empty", expected="at least one, such as BTC/USD")
    try:
        interval_ns = interval_ns_of(interval or DEFAULT_INTERVAL) if kind == "bars" else 0
    except DataError as error:
        raise ConfigError(f"--interval {interval}", expected=error.expected) from None
    start_ns = time_ns("--start", start)
    end_ns = None if end is None else time_ns("--end", end)
    if end_ns is not None and end_ns <= start_ns:
        raise ConfigError(f"--end {end} is not after --start {start}", expected="a later time")
    return Request(tuple(names), kind, interval_ns, start_ns, end_ns, again)


def time_ns(option: str, text: str) -> int:
    """A date or a time of ISO 8601, UTC where it names no zone, as nanoseconds.  Raises ``ConfigError``."""
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        when = None
    if when is None or not _FIRST_YEAR <= when.year < _LAST_YEAR:
        raise ConfigError(
            f"{option} {text}", expected=f"a UTC date or time from {_FIRST_YEAR} on, such as 2024-01-01T12:30"
        )
    since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    return since // timedelta(microseconds=1) * 1_000


def at(ts_ns: int) -> str:
    """Nanoseconds as a user reads them: to the second, the time left out at midnight."""
    when = _EPOCH + timedelta(seconds=ts_ns // _NS)
    return f"{when:%Y-%m-%d}" if ts_ns // _NS % 86_400 == 0 else f"{when:%Y-%m-%d %H:%M:%S}"


def _symbol(name: str) -> str:
    """``BTC-USD`` is ``BTC/USD``; where there is a slash, a hyphen is part of a name (``BIP-20DEC30-CDE/USD``)."""
    return name if "/" in name else name.replace("-", "/")
