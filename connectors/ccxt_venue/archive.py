"""An exchange's past for storage: candles, through the library, without a key.

Owns how a span is asked for in pages and which rows are whole and sound.  Storing is ``connectors.download``.

Exchanges read ``since`` in two ways: the first candles from then on, or those of a window of as many as fit into an
answer.  Both are true of this: an answer with rows tells all up to its last row, one without tells that nothing is in
the window.  Some keep the newest candles alone (Kraken 720 of each length) and begin with the oldest of them, whatever
is asked: what is older is not there.

Trades of the past are not fetched: of an exchange's listings nobody can say whether their pages are whole.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from math import isfinite
from typing import Any, Final

import pyarrow as pa

from connectors.ccxt_venue.candles import timeframe
from connectors.ccxt_venue.capabilities import needs_of
from connectors.ccxt_venue.errors import advice, cause, is_rate_limit, names_of, words
from connectors.ccxt_venue.exact import MS_NS, exact, mapping, plain
from connectors.ccxt_venue.library import Handle
from connectors.ccxt_venue.markets import SIGNIFICANT_DIGITS, make_instrument, nearest
from connectors.ccxt_venue.questions import Questions
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.history import Page
from engine.errors import ConfigError, KestrelError, VenueError
from engine.instruments import Instrument
from engine.ports import Clock
from engine.venues import INVENTED

TRIES: Final = 7
"""Of one request: its pauses add up to about 40 s."""
PAUSE_MAX_S: Final = 8.0
PAGE: Final = 200
"""Candles of an answer, of exchanges that do not say how many they give."""
PAGE_MAX: Final = 1000
SETTLE_MS: Final = 2_000
_DAY_MS: Final = 86_400_000
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_COLUMNS: Final = ("open", "high", "low", "close", "volume")

_log = logging.getLogger(__name__)


class MachineClock:
    """Of a download: nothing is decided by it but what the exchange's own clock was."""

    def now_ns(self) -> int:
        return time.time_ns()

    wall_ns = now_ns


class CcxtHistory:
    """``connectors.history.VenueHistory`` of an exchange.  ``say`` hears of waits, in words."""

    def __init__(
        self,
        settings: CcxtSettings,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Raises ``ConfigError`` for settings that cannot work."""
        settings.check()
        self.requests = 0
        self._settings = settings
        self._clock = clock or MachineClock()
        self._sleep = sleep
        self._say = say
        self._handle: Handle | None = None
        self._offset_ns = 0
        # A server on this machine is never the exchange: whoever listens there makes its prices up.
        self._ending = INVENTED if settings.is_local else ""

    @property
    def name(self) -> str:
        """Another one for a server on this machine, whose prices are nobody's past."""
        return self._settings.name + self._ending

    @property
    def intervals_ns(self) -> tuple[int, ...]:
        """Those that fit into a day without a rest; where others begin differs from exchange to exchange."""
        found = (_seconds(name) for name in getattr(self._open().ex, "timeframes", None) or {})
        return tuple(sorted(seconds * 1_000 * MS_NS for seconds in found if seconds and 86_400 % seconds == 0))

    async def start(self) -> None:
        """Load the markets and read the exchange's clock.  Raises ``VenueError``."""
        self._handle = handle = Handle(self._settings)
        fetch = handle.ex.fetch

        async def counted(*args: Any, **given: Any) -> Any:
            self.requests += 1
            return await fetch(*args, **given)

        handle.ex.fetch = counted
        await handle.open()
        needs = needs_of(self._settings.exchange, handle.has)
        if not needs.history:
            raise ConfigError(
                f"{self._settings.exchange} tells no candles of the past through ccxt",
                expected="an exchange that does",
                do="run.py venue capabilities names them",
            )
        self._offset_ns = await Questions(lambda: handle, needs, self._clock).clock_offset_ns()

    async def stop(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            await handle.close()

    def _open(self) -> Handle:
        assert self._handle is not None, "between start and stop"
        return self._handle

    async def instrument(self, symbol: str) -> Instrument:
        handle = self._open()
        market = mapping(mapping(handle.ex.markets).get(symbol))
        if not market:
            raise VenueError(
                f"unknown symbol {symbol!r} on {self._settings.name}",
                expected="one of its markets",
                do=nearest(handle.ex.markets, symbol),
            )
        reference = None
        if handle.ex.precisionMode == SIGNIFICANT_DIGITS:
            reference = exact(mapping(await self._ask("fetch_ticker", symbol)).get("last"))
        return make_instrument(
            self.name,
            symbol,
            market,
            handle.ex.precisionMode,
            default_fee_rate=self._settings.default_fee_rate,
            reference_px=reference,
        )

    def settled_ns(self, interval_ns: int) -> int:
        now_ns = self._clock.now_ns() + self._offset_ns - SETTLE_MS * MS_NS
        return now_ns // (interval_ns or MS_NS) * (interval_ns or MS_NS)

    # --- bars -------------------------------------------------------------------------------------------------------

    async def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        name = timeframe(getattr(self._open().ex, "timeframes", None), interval_ns)
        if not name:
            raise ConfigError(f"{self.name} makes no candles of {interval_ns / 1e9:g} s")
        symbol, width_ms, count = instrument.id.partition("@")[0], interval_ns // MS_NS, self._page()
        at_ns = start_ns
        while at_ns < end_ns:
            first_ms = -(-at_ns // interval_ns) * width_ms
            rows = await self._candles(symbol, name, first_ms, count)
            told = [row for row in rows if row[0] >= first_ms]
            if told:
                until_ms = max(row[0] for row in told) + width_ms
            else:
                until_ms = first_ms + count * width_ms
                # Years before a listing are looked through by days.
                until_ms = await self._next_ms(symbol, until_ms, -(-end_ns // MS_NS), count)
            until_ns = min(until_ms * MS_NS, end_ns)
            self._tell_of_hole(symbol, told, first_ms, count * width_ms)
            yield _page(told, at_ns, until_ns, interval_ns)
            at_ns = until_ns

    def _page(self) -> int:
        """Candles in an answer, as the library knows it of the exchange."""
        features = mapping(mapping(getattr(self._open().ex, "features", None)).get("spot"))
        limit = mapping(features.get("fetchOHLCV")).get("limit")
        return min(limit, PAGE_MAX) if isinstance(limit, int) and limit > 0 else PAGE

    async def _candles(self, symbol: str, name: str, since_ms: int, count: int) -> list[list[Any]]:
        rows = await self._ask("fetch_ohlcv", symbol, name, since_ms, count)
        return [row for row in rows if isinstance(row, list) and len(row) >= 6 and isinstance(row[0], int)]

    async def _next_ms(self, symbol: str, at_ms: int, end_ms: int, count: int) -> int:
        """The day of the first candle from ``at_ms`` on; ``end_ms`` where there is none before that."""
        day_ms = at_ms // _DAY_MS * _DAY_MS
        if "1d" not in (getattr(self._open().ex, "timeframes", None) or {}):
            return at_ms
        while day_ms < end_ms:
            rows = await self._candles(symbol, "1d", day_ms, count)
            days: list[int] = [row[0] for row in rows if row[0] >= day_ms]
            if days:
                return max(at_ms, min(*days, end_ms))
            day_ms += count * _DAY_MS
        return max(at_ms, end_ms)

    def _tell_of_hole(self, symbol: str, told: list[list[Any]], first_ms: int, window_ms: int) -> None:
        """An answer that begins far behind what was asked may be all that the exchange keeps."""
        begin_ms = min((row[0] for row in told), default=first_ms)
        if begin_ms - first_ms >= window_ms:
            days = (begin_ms - first_ms) / _DAY_MS
            self._say(f"{symbol}: {self.name} tells nothing of the {days:.1f} days before its first candle")

    # --- trades -----------------------------------------------------------------------------------------------------

    async def trades(self, instrument: Instrument, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        """None are fetched: raises ``ConfigError``."""
        raise ConfigError(
            f"trades of the past of {instrument.id} through ccxt: nobody can tell whether its pages are whole",
            expected="--kind bars",
            do="record them as they come: run.py data record",
        )
        yield _page([], start_ns, end_ns, 1)  # makes this the generator that the port asks for

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _ask(self, name: str, *args: Any) -> Any:
        """A question, repeated while that can help.  Raises ``VenueError`` in one line, whatever goes wrong."""
        for tries in range(1, TRIES + 1):
            try:
                return await self._open().call(name, *args)
            except KestrelError:
                raise
            except Exception as error:
                said = f"{self._settings.exchange} {name}: {words(error)}{cause(error)}"
                if "OperationFailed" not in names_of(error):
                    raise VenueError(said, do=advice(error)) from None
                if tries == TRIES:
                    raise VenueError(
                        f"{self._settings.exchange} refused {TRIES} times in a row, the last time: {said}",
                        expected="an answer",
                        do="run the same command again later, it goes on from here",
                    ) from None
                pause_s = min(2.0 ** (tries - 1), PAUSE_MAX_S)
                why = "asks to slow down" if is_rate_limit(error) else "does not answer"
                _log.info("%s; asked again in %.0f s", said, pause_s)
                self._say(f"{self._settings.exchange} {why}, trying again in {pause_s:.0f} s")
                await self._sleep(pause_s)
                self._say("")
        raise AssertionError("the last try returns or raises")


def _seconds(name: object) -> int:
    """``15m`` as seconds; 0 for weeks, months and what is no length."""
    text = str(name)
    count = text[:-1]
    return int(count) * _SECONDS.get(text[-1:], 0) if count.isascii() and count.isdecimal() and len(count) < 6 else 0


def _page(rows: list[list[Any]], start_ns: int, end_ns: int, interval_ns: int) -> Page:
    """The sound candles of one answer that begin in ``[start_ns, end_ns)``, in order of time."""
    kept: dict[int, tuple[float, ...]] = {}
    dropped = conflicts = 0
    for row in rows:
        ts_ns = row[0] * MS_NS
        if not start_ns <= ts_ns < end_ns:
            continue
        values = tuple(plain(value) for value in row[1:6])
        if ts_ns % interval_ns or not _is_sound(*values):
            dropped += 1
        elif kept.setdefault(ts_ns, values) != values:
            conflicts += 1
    times = sorted(kept)
    columns: dict[str, pa.Array] = {
        "ts_ns": pa.array(times, pa.int64()),
        "interval_ns": pa.array([interval_ns] * len(times), pa.int64()),
    }
    for number, column in enumerate(_COLUMNS):
        columns[column] = pa.array([kept[ts_ns][number] for ts_ns in times], pa.float64())
    return Page(start_ns, end_ns, pa.table(columns), dropped, conflicts)


def _is_sound(open_px: float, high_px: float, low_px: float, close_px: float, volume_qty: float) -> bool:
    prices = (low_px, open_px, close_px, high_px)
    if not all(isfinite(px) and px > 0 for px in prices) or not isfinite(volume_qty) or volume_qty < 0:
        return False
    return low_px <= min(prices) and high_px >= max(prices)
