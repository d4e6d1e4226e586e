"""Coinbase's past for storage: candles and public trades of any span, by the public endpoints, without a key.

Owns the paging rules of both endpoints and which rows are whole and sound.  Storing is ``connectors.download``; the few
candles that warm a live session up are ``connectors.coinbase.history``.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import pyarrow as pa

from connectors.coinbase import wire
from connectors.coinbase.directory import find_product, get_typed, make_instrument
from connectors.coinbase.history import GRANULARITIES, NS, PAGE_BARS, Candle, Candles, granularity
from connectors.coinbase.orders import PREFIX
from connectors.coinbase.settings import CoinbaseSettings
from connectors.history import Page
from connectors.paced import PacedRest
from connectors.rest import RestClient, RestError
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.venues import INVENTED

PUBLIC_PER_S = 10.0
"""Public REST requests a second and address (historical figure; the venue publishes none today)."""
SETTLE_NS = 2 * NS
"""Public answers may be a second old: what ended less than this ago could still be told without its last trades."""
PAGE_TRADES = 1_000
DAY_S = 86_400
FIRST_WINDOW_S, LONGEST_WINDOW_S = 600, DAY_S
"""Trades are asked for in windows whose length follows how many trades they hold."""
WINDOW_TRADES = 5 * PAGE_TRADES
"""What a window should hold: few requests, and little to fetch again after an interruption."""
PROBE_PAGES = 3
"""A longer span than this many pages is first searched for the day of the product's first trade."""
CUT_TRADES = 100
"""An answer with fewer trades than this was not cut short: no venue gives so few at once."""


class PublicTrade(msgspec.Struct, gc=False):
    """``{"trade_id":"9001","product_id":"BTC-USD","price":"61234.55","size":"0.01","time":"2026-11-20T14:03:07.1Z",
    "side":"BUY","bid":"","ask":"","exchange":"CBE"}``; ``side`` is the MAKER's."""

    trade_id: str
    price: float
    size: float
    time: str
    side: str = ""


class Trades(msgspec.Struct):
    trades: list[PublicTrade]


_AGGRESSOR = {"BUY": "sell", "SELL": "buy"}
"""Maker's side -> aggressor's."""


class CoinbaseHistory:
    """``connectors.history.VenueHistory`` of Coinbase Advanced Trade."""

    def __init__(
        self,
        settings: CoinbaseSettings,
        *,
        pace: Callable[[RestClient], PacedRest],
        page_trades: int = PAGE_TRADES,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """``pace`` wraps the client that is made here; keys in the settings are not used.

        Raises ``ConfigError`` for an address that cannot work.
        """
        settings = msgspec.structs.replace(settings, key_file="")
        settings.check()
        self._settings = settings
        self._client = RestClient(settings.rest_url + PREFIX, timeout_s=settings.rest_timeout_s, route=settings.route)
        self._rest = pace(self._client)
        self._page_trades = page_trades
        self._monotonic_ns = monotonic_ns
        self._longest = 0
        """Trades of the longest answer so far: a shorter one was not cut by the venue, whatever its limit is."""
        self._window_s = FIRST_WINDOW_S
        self._venue_now_ns = 0
        self._asked_at_ns = 0
        self._ending = ""

    @property
    def name(self) -> str:
        """After ``start``: another one for the built-in exchange, whose prices are nobody's past."""
        return self._settings.name + self._ending

    @property
    def requests(self) -> int:
        return self._rest.requests

    @property
    def intervals_ns(self) -> tuple[int, ...]:
        return tuple(seconds * NS for seconds in GRANULARITIES)

    async def start(self) -> None:
        """Open the session and read the venue's clock (ours may be off: nothing is decided by it)."""
        await self._client.start()
        answer = await get_typed(self._rest, "/time", (), wire.ServerTime, auth=False)
        self._venue_now_ns, self._asked_at_ns = answer.epochMillis * 1_000_000, self._monotonic_ns()
        self._ending = INVENTED if answer.sandbox else ""

    async def stop(self) -> None:
        await self._client.stop()

    async def instrument(self, symbol: str) -> Instrument:
        product = await find_product(self._rest, self._settings.name, symbol, private=False)
        settings = self._settings
        return make_instrument(
            self.name, symbol, product, settings.default_maker_fee_rate, settings.default_taker_fee_rate
        )

    def settled_ns(self, interval_ns: int) -> int:
        now_ns = self._venue_now_ns + self._monotonic_ns() - self._asked_at_ns - SETTLE_NS
        return now_ns // (interval_ns or NS) * (interval_ns or NS)

    # --- bars ---------------------------------------------------------------------------------------------------

    async def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        name = granularity(interval_ns)
        if not name:
            raise ConfigError(f"{self.name} makes no bars of {interval_ns / NS:g} s")
        path = f"/market/products/{instrument.venue_symbol}/candles"
        seconds = interval_ns // NS
        at_ns = start_ns
        if end_ns - start_ns > PROBE_PAGES * PAGE_BARS * interval_ns:
            at_ns = await self._first_day_ns(path, start_ns, end_ns)
            if at_ns > start_ns:
                yield Page(start_ns, at_ns, _bar_table([], interval_ns))
        while at_ns < end_ns:
            first_s = -(-at_ns // interval_ns) * seconds  # the first bar that begins at or after at_ns
            until_s = first_s + PAGE_BARS * seconds
            until_ns = min(until_s * NS, end_ns)
            # Inclusive at the venue; a second before the next bar's start means the same where it were not.
            asked_s = (until_ns - 1) // NS
            answer = await self._candles(path, name, first_s, asked_s) if first_s <= asked_s else []
            yield _bar_page(answer, at_ns, until_ns, interval_ns)
            at_ns = until_ns

    async def _candles(self, path: str, name: str, start_s: int, end_s: int) -> list[Candle]:
        params = [("start", str(start_s)), ("end", str(end_s)), ("granularity", name)]
        return (await get_typed(self._rest, path, params, Candles, auth=False)).candles

    async def _first_day_ns(self, path: str, start_ns: int, end_ns: int) -> int:
        """Where to begin: the first day with a trade, found with daily candles; ``end_ns`` when there is none.

        Years before a product was listed cost a request per 300 days so, not one per page.
        """
        day_s = start_ns // NS // DAY_S * DAY_S
        while day_s * NS < end_ns:
            next_s = day_s + PAGE_BARS * DAY_S
            days = await self._candles(path, GRANULARITIES[DAY_S], day_s, min(next_s, -(-end_ns // NS)) - 1)
            if days:
                return max(start_ns, min(candle.start for candle in days) * NS)
            day_s = next_s
        return end_ns

    # --- trades -------------------------------------------------------------------------------------------------

    async def trades(self, instrument: Instrument, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        path = f"/market/products/{instrument.venue_symbol}"
        at_ns = start_ns
        if end_ns - start_ns > DAY_S * NS:
            at_ns = await self._first_day_ns(f"{path}/candles", start_ns, end_ns)
            if at_ns > start_ns:
                yield Page(start_ns, at_ns, _trade_table([]))
        while at_ns < end_ns:
            until_ns = min((at_ns // NS + self._window_s) * NS, end_ns)
            page = await self._window(f"{path}/ticker", at_ns, until_ns)
            yield page
            held = max(page.rows.num_rows, 1)
            factor = min(4.0, max(0.25, WINDOW_TRADES / held))
            self._window_s = min(LONGEST_WINDOW_S, max(1, int(self._window_s * factor)))
            at_ns = until_ns

    async def _window(self, path: str, start_ns: int, end_ns: int) -> Page:
        """All trades of ``[start_ns, end_ns)``, asked for backwards from its end, because the newest come first.

        The endpoint has no cursor, only whole seconds and a limit that it may cut further.  An answer as long as the
        longest seen may have been cut, so the next one ends with the second of its oldest trade; what overlaps is
        known by its id.  A single second that fills an answer cannot be looked into any further: it is counted.
        """
        start_s, until_s = start_ns // NS, -(-end_ns // NS)
        parse = wire.TimeParser()
        found: dict[str, tuple[int, PublicTrade]] = {}
        dropped, conflicts, cut = set[str](), 0, 0
        while until_s > start_s:
            # A second more at each end: whether the venue counts the ends in is not documented.
            params = [("limit", str(self._page_trades)), ("start", str(start_s - 1)), ("end", str(until_s))]
            answer = (await get_typed(self._rest, path, params, Trades, auth=False)).trades
            oldest_s = until_s
            for trade in answer:
                ts_ns = parse(trade.time)
                if not (ts_ns and _positive(trade.price) and _positive(trade.size) and trade.trade_id):
                    dropped.add(trade.trade_id)
                    continue
                oldest_s = min(oldest_s, ts_ns // NS)
                if start_ns <= ts_ns < end_ns and found.setdefault(trade.trade_id, (ts_ns, trade)) != (ts_ns, trade):
                    conflicts += 1
            if answer and len(dropped) == len(answer):
                raise RestError(f"GET {path}: none of {len(answer)} trades can be read", expected="trades")
            is_whole = len(answer) < self._longest or not answer
            self._longest = max(self._longest, len(answer))
            if is_whole:
                break
            if oldest_s + 1 < until_s:
                until_s = oldest_s + 1
            else:
                cut += len(answer) >= CUT_TRADES
                until_s = min(oldest_s, until_s - 1)
        rows = sorted(found.values(), key=lambda row: (row[0], len(row[1].trade_id), row[1].trade_id))
        return Page(start_ns, end_ns, _trade_table(rows), len(dropped), conflicts, cut)


def _positive(value: float) -> bool:
    return 0.0 < value < math.inf


def _is_sound(candle: Candle, seconds: int) -> bool:
    """A bar of this grid: finite and positive prices in order, a volume that is one."""
    return (
        candle.start % seconds == 0
        and _positive(candle.low)
        and candle.low <= min(candle.open, candle.close)
        and max(candle.open, candle.close) <= candle.high < math.inf
        and 0.0 <= candle.volume < math.inf
    )


def _bar_page(answer: list[Candle], start_ns: int, end_ns: int, interval_ns: int) -> Page:
    """The sound candles of one answer that begin in ``[start_ns, end_ns)``, in order of time."""
    kept: dict[int, Candle] = {}
    dropped = conflicts = 0
    for candle in answer:
        if not start_ns <= candle.start * NS < end_ns:
            continue  # the venue rounds the ends of a question as it likes
        if not _is_sound(candle, interval_ns // NS):
            dropped += 1
        elif kept.setdefault(candle.start, candle) != candle:
            conflicts += 1
    return Page(start_ns, end_ns, _bar_table([kept[at] for at in sorted(kept)], interval_ns), dropped, conflicts)


def _bar_table(candles: list[Candle], interval_ns: int) -> pa.Table:
    return pa.table(
        {
            "ts_ns": pa.array([c.start * NS for c in candles], pa.int64()),
            "interval_ns": pa.array([interval_ns] * len(candles), pa.int64()),
            "open": pa.array([c.open for c in candles], pa.float64()),
            "high": pa.array([c.high for c in candles], pa.float64()),
            "low": pa.array([c.low for c in candles], pa.float64()),
            "close": pa.array([c.close for c in candles], pa.float64()),
            "volume": pa.array([c.volume for c in candles], pa.float64()),
        }
    )


def _trade_table(rows: list[tuple[int, PublicTrade]]) -> pa.Table:
    return pa.table(
        {
            "ts_ns": pa.array([ts_ns for ts_ns, _ in rows], pa.int64()),
            "price": pa.array([trade.price for _, trade in rows], pa.float64()),
            "size": pa.array([trade.size for _, trade in rows], pa.float64()),
            "side": pa.array([_AGGRESSOR.get(trade.side) for _, trade in rows], pa.string()),
            "trade_id": pa.array([trade.trade_id for _, trade in rows], pa.string()),
        }
    )
