"""The command ``data fetch``: a venue's past into the catalogue.

Owns its options, what is shown while it runs and what is said at the end.  Fetching and storing are
``connectors.download``; which venues can tell their past is ``VENUES``.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from engine.cli import ConfigOption, JsonFlag, SetOption, print_json
from engine.errors import ConfigError, DataError, VenueError

if TYPE_CHECKING:
    from config.schema import Settings
    from connectors.download import Tally
    from connectors.history import VenueHistory
    from engine.data.catalogue import Catalogue
    from engine.instruments import Instrument

NS: Final = 1_000_000_000
KINDS: Final = ("bars", "trades")
DEFAULT_INTERVAL: Final = "1h"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1990, 2100
_SYMBOL: Final = re.compile(r"[A-Z0-9.][A-Z0-9.\-]*/[A-Z0-9]+")

Say = Callable[[str], None]


def coinbase(settings: Settings, say: Say) -> VenueHistory:
    """Coinbase Advanced Trade: candles of 1m to 1d and public trades, without a key."""
    from connectors.coinbase.archive import PUBLIC_PER_S, CoinbaseHistory
    from connectors.coinbase.settings import CoinbaseSettings
    from connectors.paced import PacedRest

    rest_url = settings.venue.rest_url
    made = CoinbaseSettings(rest_url=rest_url) if rest_url else CoinbaseSettings()
    return CoinbaseHistory(
        made, pace=lambda client: PacedRest(client, made.name, rate_per_s=PUBLIC_PER_S, rng=random.Random(), say=say)
    )


def binance(venue: str) -> Callable[[Settings, Say], VenueHistory]:
    """Binance: candles of 1m to 1d (1s on spot) and aggregate trades, without a key."""

    def history(settings: Settings, say: Say) -> VenueHistory:
        from connectors.binance.archive import PUBLIC_PER_S, BinanceHistory
        from connectors.binance.settings import REST_URLS, BinanceSettings
        from connectors.paced import PacedRest
        from connectors.route import Route

        chosen = settings.venue
        made = BinanceSettings(
            venue=venue,
            rest_urls=(*((chosen.rest_url,) if chosen.rest_url else REST_URLS[venue]), *chosen.rest_fallbacks),
            route=Route(proxy=chosen.proxy, ca_file="" if chosen.ca_file is None else str(chosen.ca_file)),
        )
        return BinanceHistory(
            made, pace=lambda client: PacedRest(client, venue, rate_per_s=PUBLIC_PER_S, rng=random.Random(), say=say)
        )

    return history


def oanda(settings: Settings, say: Say) -> VenueHistory:
    """OANDA v20: candles of 5s to 1d.  The venue tells nothing without a token (``venue.key_file``)."""
    from connectors.oanda.archive import REST_PER_S, OandaHistory
    from connectors.oanda.settings import OandaSettings
    from connectors.oanda.tokens import read_token
    from connectors.paced import PacedRest
    from connectors.route import Route

    chosen = settings.venue
    return OandaHistory(
        str(chosen.rest_url or OandaSettings().rest_url),
        read_token("" if chosen.key_file is None else str(chosen.key_file)),
        account=chosen.account or "",
        route=Route(proxy=chosen.proxy, ca_file="" if chosen.ca_file is None else str(chosen.ca_file)),
        pace=lambda client: PacedRest(client, "oanda", rate_per_s=REST_PER_S, rng=random.Random(), say=say),
    )


def robin_stocks(settings: Settings, say: Say) -> VenueHistory:
    """Robinhood's stocks: bars of 5m, 10m, 1h and 1d in regular hours, with a login (``venue.key_file``)."""
    from connectors.robin_stocks.archive import RobinStocksHistory
    from connectors.robin_stocks.settings import RobinStocksSettings

    say("robin_stocks is unofficial: its login may ask for an approval in the phone app")
    chosen = settings.venue
    return RobinStocksHistory(
        RobinStocksSettings(
            key_file="" if chosen.key_file is None else str(chosen.key_file),
            rest_url=str(chosen.rest_url or ""),
            proxy=chosen.proxy,
            authority="" if chosen.ca_file is None else str(chosen.ca_file),
        )
    )


def ccxt(exchange: str) -> Callable[[Settings, Say], VenueHistory]:
    """An exchange of the ccxt library: candles of the lengths that it has, without a key."""

    def history(settings: Settings, say: Say) -> VenueHistory:
        from connectors.ccxt_venue.archive import CcxtHistory
        from connectors.ccxt_venue.settings import CcxtSettings

        chosen = settings.venue
        made = CcxtSettings(
            exchange=exchange,
            rest_url=chosen.rest_url or "",
            rest_fallbacks=tuple(chosen.rest_fallbacks),
            proxy=chosen.proxy,
            ca_file="" if chosen.ca_file is None else str(chosen.ca_file),
            requests_share=1.0,
        )
        return CcxtHistory(made, say=say)

    return history


VENUES: Final[dict[str, Callable[[Settings, Say], VenueHistory]]] = {
    "coinbase": coinbase,
    "binance_spot": binance("binance_spot"),
    "binance_usdm": binance("binance_usdm"),
    "oanda": oanda,
    "robin_stocks": robin_stocks,
}
"""By name as in instrument ids.  A venue joins by a class with the methods of ``connectors.history.VenueHistory``."""
KEYED: Final = frozenset({"oanda", "robin_stocks"})
"""Those that tell nothing without a key."""
_CCXT: Final = re.compile(r"ccxt[:_]([a-z][a-z0-9]{1,30})")


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

    make = _history_of(venue)
    named = {"venue.rest_url": url, "data.catalogue": None if to is None else str(to)}
    given = {key: value for key, value in named.items() if value is not None}
    settings = load(config or (), overrides=parse_overrides(assign) | given)
    _check_owner(settings, venue, has_url=url is not None)
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


def _history_of(venue: str) -> Callable[[Settings, Say], VenueHistory]:
    """Raises ``ConfigError``."""
    through = _CCXT.fullmatch(venue)
    if through is not None:
        return ccxt(through[1])
    name = "binance_spot" if venue == "binance" else venue
    if name not in VENUES:
        untold = "its API tells no past prices; coins have them at ccxt:kraken and others, stocks at robin_stocks"
        raise ConfigError(
            f"--venue {venue}",
            expected=f"one of {', '.join(VENUES)}, or ccxt:EXCHANGE",
            do=untold if venue == "robinhood" else "",
        )
    return VENUES[name]


def _check_owner(settings: Settings, venue: str, *, has_url: bool) -> None:
    """Raises ``ConfigError`` where another venue's address would be asked, or its key shown: what opens one account is
    told to nobody else."""
    from config.load import is_own

    told = settings.venue.name.replace(":", "_")
    wanted = "binance_spot" if venue == "binance" else venue.replace(":", "_")
    used = ["venue.key_file"] if venue in KEYED else []
    used += [] if has_url else ["venue.rest_url", "venue.rest_fallbacks"]
    lent = [key for key in used if is_own(settings, key)]
    if lent and is_own(settings, "venue.name") and told not in (wanted, venue):
        raise ConfigError(
            f"--venue {venue} with {', '.join(lent)} of {settings.venue.name}",
            expected="settings of one venue",
            do=f"leave --config out, or name the venue's own with --set venue.name={venue}",
        )


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


class Board:
    """Progress on a terminal's stderr; elsewhere only what has to be said, a line each."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextlib.contextmanager
    def task(self, name: str, start_ns: int, end_ns: int) -> Iterator[Callable[[int, int], None]]:
        """``advance(reached_ns, rows)`` moves the bar of one series."""
        made = self._progress.add_task(name, total=(end_ns - start_ns) / NS, rows=0, said="")

        def advance(reached_ns: int, rows: int) -> None:
            self._progress.update(made, completed=(reached_ns - start_ns) / NS, rows=rows)

        yield advance

    def say(self, text: str) -> None:
        """A wait, and with an empty text its end."""
        if self._console.is_terminal:
            for task in self._progress.task_ids:
                self._progress.update(task, said=text)
        elif text:
            print(text, file=sys.stderr, flush=True)


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
    when = _EPOCH + timedelta(seconds=ts_ns // NS)
    return f"{when:%Y-%m-%d}" if ts_ns // NS % 86_400 == 0 else f"{when:%Y-%m-%d %H:%M:%S}"


def _symbol(name: str) -> str:
    """``BTC-USD`` is ``BTC/USD``; where there is a slash, a hyphen is part of a name (``BIP-20DEC30-CDE/USD``)."""
    return name if "/" in name else name.replace("-", "/")
