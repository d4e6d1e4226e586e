"""Coinbase's past: pages without hole or overlap, whatever the edges, the venue's limits and its answers are."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from connectors.coinbase.archive import DAY_S, PAGE_TRADES, CoinbaseHistory
from connectors.coinbase.history import NS, PAGE_BARS
from connectors.coinbase.sandbox.times import at
from connectors.coinbase.settings import CoinbaseSettings
from connectors.history import Page
from connectors.paced import PacedRest
from connectors.rest import RestError
from engine.errors import ConfigError, VenueError

MINUTE_S, HOUR_S = 60, 3_600
NOON_S = 1_704_110_400
"""2024-01-01 12:00 UTC, on the grid of every bar."""


class Venue:
    """Answers as the venue does: newest first, ends counted in, empty buckets left out, at most 350 buckets.

    ``traded`` are the unix seconds with a trade each; ``cap`` the most trades of one answer.
    """

    def __init__(self, traded: Sequence[float] = (), *, cap: int = 10**9, now_s: float = NOON_S + 10 * DAY_S) -> None:
        self.trades = [
            {"trade_id": str(number), "price": "100.5", "size": "0.1", "side": "BUY", "time": at(int(when * NS))}
            for number, when in enumerate(sorted(traded), 1)
        ]
        self.times_ns = [int(when * NS) for when in sorted(traded)]
        self.cap = cap
        self.now_s = now_s
        self.sandbox = False
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.odd_candles: list[dict[str, Any]] = []
        self.odd_trades: list[dict[str, Any]] = []

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        assert not auth, "public data needs no key"
        wanted = dict(params)
        self.asked.append((path, wanted))
        if path == "/time":
            said = {"epochMillis": str(int(self.now_s * 1_000))}
            return json.dumps(said | ({"sandbox": True} if self.sandbox else {})).encode()
        if path.endswith("/candles"):
            return json.dumps({"candles": self.candles(wanted)}).encode()
        if path.endswith("/ticker"):
            return json.dumps({"trades": self.ticker(wanted), "best_bid": "", "best_ask": ""}).encode()
        if path == "/market/products":
            return json.dumps({"products": [{"product_id": "BTC-USD"}, {"product_id": "ETH-USD"}]}).encode()
        if path != "/market/products/BTC-USD":
            raise RestError(f"GET {path} answered 404", status=404)
        sizes = dict.fromkeys(("base_increment", "quote_increment", "base_min_size"), "0.01")
        return json.dumps({"product_id": "BTC-USD", "base_max_size": "9", **sizes}).encode()

    def candles(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        names = {"ONE_MINUTE": MINUTE_S, "ONE_HOUR": HOUR_S, "ONE_DAY": DAY_S}
        length_s, start_s, end_s = names[wanted["granularity"]], int(wanted["start"]), int(wanted["end"])
        assert (end_s - start_s) // length_s <= 350
        held = sorted({t // NS // length_s * length_s for t in self.times_ns}, reverse=True)
        made = [
            {"start": str(s), "low": "1", "high": "4", "open": "2", "close": "3", "volume": "0.5"}
            for s in held
            if start_s <= s <= end_s
        ]
        return made + self.odd_candles

    def ticker(self, wanted: dict[str, str]) -> list[dict[str, Any]]:
        start_ns, end_ns = int(wanted["start"]) * NS, int(wanted["end"]) * NS
        pairs = zip(self.times_ns, self.trades, strict=True)
        found = [trade for ts_ns, trade in pairs if start_ns <= ts_ns <= end_ns]
        return found[::-1][: min(int(wanted["limit"]), self.cap)] + self.odd_trades


@asynccontextmanager
async def history_of(venue: Venue) -> AsyncIterator[CoinbaseHistory]:
    async def no_sleep(_seconds: float) -> None:
        clock[0] += 10**8

    clock = [0]
    made = CoinbaseHistory(
        CoinbaseSettings(rest_url="http://127.0.0.1:1"),
        pace=lambda _client: PacedRest(
            venue, "coinbase", rate_per_s=1e6, rng=random.Random(1), now_ns=lambda: clock[0], sleep=no_sleep
        ),
        monotonic_ns=lambda: 0,
    )
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def bars(venue: Venue, start_s: float, end_s: float, interval_s: int = MINUTE_S) -> list[Page]:
    async with history_of(venue) as history:
        instrument = await history.instrument("BTC/USD")
        pages = history.bars(instrument, interval_s * NS, int(start_s * NS), int(end_s * NS))
        return whole([page async for page in pages], start_s, end_s)


async def trades(venue: Venue, start_s: float, end_s: float) -> list[Page]:
    async with history_of(venue) as history:
        instrument = await history.instrument("BTC/USD")
        pages = history.trades(instrument, int(start_s * NS), int(end_s * NS))
        return whole([page async for page in pages], start_s, end_s)


def whole(pages: list[Page], start_s: float, end_s: float) -> list[Page]:
    """The pages cover the question from end to end, each row lies in its page."""
    assert (pages[0].start_ns, pages[-1].end_ns) == (int(start_s * NS), int(end_s * NS))
    assert all(a.end_ns == b.start_ns for a, b in pairwise(pages))
    for page in pages:
        assert all(page.start_ns <= ts_ns < page.end_ns for ts_ns in times(page))
    return pages


def times(*pages: Page) -> list[int]:
    return [ts_ns for page in pages for ts_ns in page.rows.column("ts_ns").to_pylist()]


# --- bars -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, PAGE_BARS - 1, PAGE_BARS, PAGE_BARS + 1, 3 * PAGE_BARS])
async def test_bars_of_any_number_of_pages_join_without_hole_or_overlap(count: int) -> None:
    """The venue trades every minute for hours; exactly the minutes asked for come, oldest first."""
    venue = Venue([NOON_S + 60 * i for i in range(-5, 1_000)])
    pages = await bars(venue, NOON_S, NOON_S + 60 * count)
    assert times(*pages) == [(NOON_S + 60 * i) * NS for i in range(count)]
    assert len(pages) == -(-count // PAGE_BARS)


async def test_the_ends_are_exact_by_the_start_of_a_bar() -> None:
    """A start within a minute leaves that minute out, an end within one takes it in; on the grid it is half open."""
    venue = Venue([NOON_S + 60 * i for i in range(10)])
    assert times(*await bars(venue, NOON_S + 1, NOON_S + 121)) == [(NOON_S + 60) * NS, (NOON_S + 120) * NS]
    assert times(*await bars(venue, NOON_S, NOON_S + 120)) == [NOON_S * NS, (NOON_S + 60) * NS]
    assert times(*await bars(venue, NOON_S + 1, NOON_S + 59)) == []


async def test_bars_without_trades_are_not_invented() -> None:
    """Minutes 3 to 5 have no trade: the venue leaves them out, and so does the page."""
    venue = Venue([NOON_S + 60 * i for i in range(10) if i not in (3, 4, 5)])
    got = times(*await bars(venue, NOON_S, NOON_S + 600))
    assert [(ts_ns // NS - NOON_S) // 60 for ts_ns in got] == [0, 1, 2, 6, 7, 8, 9]


async def test_the_years_before_the_first_trade_cost_a_request_per_300_days() -> None:
    """Six years of nothing by the minute would be 10,000 pages; daily candles tell where the product begins."""
    first_s = NOON_S - 3 * HOUR_S
    venue = Venue([first_s, NOON_S], now_s=NOON_S + DAY_S)
    pages = await bars(venue, NOON_S - 6 * 365 * DAY_S, NOON_S + 60)
    assert times(*pages) == [first_s * NS, NOON_S * NS]
    assert len(venue.asked) < 20


async def test_a_product_that_never_traded_costs_no_page() -> None:
    """Everything is covered by one empty page."""
    venue = Venue()
    pages = await bars(venue, NOON_S - 900 * DAY_S, NOON_S)
    assert [page.rows.num_rows for page in pages] == [0]
    assert len(venue.asked) < 8


@pytest.mark.parametrize(
    "odd",
    [
        {"start": str(NOON_S + 30)},
        {"low": "0"},
        {"high": "nan"},
        {"close": "5"},
        {"open": "0.5"},
        {"volume": "-1"},
        {"volume": "inf"},
    ],
    ids=str,
)
async def test_what_is_no_candle_is_dropped_and_counted(odd: dict[str, str]) -> None:
    """One candle of the answer is off its grid, not finite, or its prices contradict each other."""
    venue = Venue([NOON_S + 60])
    plain = {"start": str(NOON_S), "low": "1", "high": "4", "open": "2", "close": "3", "volume": "0.5"}
    venue.odd_candles = [plain | odd]
    (page,) = await bars(venue, NOON_S, NOON_S + 120)
    assert times(page) == [(NOON_S + 60) * NS]
    assert page.dropped == 1


async def test_a_candle_told_twice_and_differently_is_a_conflict() -> None:
    """The first is kept, the second counted; an equal one is neither."""
    venue = Venue([NOON_S, NOON_S + 60])
    same = {"start": str(NOON_S), "low": "1", "high": "4", "open": "2", "close": "3", "volume": "0.5"}
    venue.odd_candles = [same, same | {"start": str(NOON_S + 60), "close": "2.5"}]
    (page,) = await bars(venue, NOON_S, NOON_S + 120)
    assert page.rows.column("close").to_pylist() == [3.0, 3.0]
    assert page.conflicts == 1


async def test_candles_outside_the_question_are_left_out() -> None:
    """A venue that rounds the ends outwards doubles nothing."""
    venue = Venue([NOON_S + 60 * i for i in range(3)])
    plain = {"low": "1", "high": "4", "open": "2", "close": "3", "volume": "0.5"}
    venue.odd_candles = [plain | {"start": str(NOON_S - 60)}, plain | {"start": str(NOON_S + 180)}]
    (page,) = await bars(venue, NOON_S, NOON_S + 180)
    assert len(times(page)) == 3


def _settled(now_s: float, interval_s: int) -> Any:
    async def ask() -> int:
        async with history_of(Venue(now_s=now_s)) as history:
            return history.settled_ns(interval_s * NS)

    return ask()


async def test_nothing_unfinished_is_asked_for() -> None:
    """A bar counts as finished two seconds after its end: public answers may be a second old."""
    assert await _settled(NOON_S + 61.9, MINUTE_S) == NOON_S * NS
    assert await _settled(NOON_S + 62, MINUTE_S) == (NOON_S + 60) * NS
    assert await _settled(NOON_S + 62, 0) == (NOON_S + 60) * NS


async def test_unknown_lengths_and_products_are_told() -> None:
    """Seven minutes do not exist; DOGE does not either, and the nearest names are offered."""
    with pytest.raises(ConfigError, match="makes no bars of 420 s"):
        await bars(Venue(), NOON_S, NOON_S + 60, interval_s=420)
    async with history_of(Venue()) as history:
        with pytest.raises(VenueError, match=r"unknown symbol 'BTC/EUR'.*did you mean BTC/USD"):
            await history.instrument("BTC/EUR")
        assert (await history.instrument("BTC/USD")).lot_qty == Decimal("0.01")


@pytest.mark.parametrize(("sandbox", "name"), [(False, "coinbase"), (True, "coinbase_sandbox")])
async def test_what_the_built_in_exchange_made_up_is_not_called_the_venues(sandbox: bool, name: str) -> None:
    """The instrument's venue is what the rows are stored under; questions to the exchange are the same."""
    venue = Venue()
    venue.sandbox = sandbox
    async with history_of(venue) as history:
        instrument = await history.instrument("BTC/USD")
        assert (history.name, instrument.venue, instrument.id) == (name, name, f"BTC/USD@{name}")
        assert instrument.venue_symbol == "BTC-USD"


# --- trades -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [7, 100, PAGE_TRADES])
async def test_trades_are_complete_whatever_the_venue_cuts_an_answer_to(cap: int) -> None:
    """2,500 trades in 40 minutes, random times; the real limit of an answer is not documented and need not be known."""
    rng = random.Random(cap)
    venue = Venue([NOON_S + rng.random() * 2_400 for _ in range(2_500)], cap=cap)
    pages = await trades(venue, NOON_S, NOON_S + 2_400)
    ids = [id_ for page in pages for id_ in page.rows.column("trade_id").to_pylist()]
    assert ids == [str(number) for number in range(1, 2_501)]
    assert times(*pages) == venue.times_ns
    assert sum(page.cut for page in pages) == 0


async def test_the_ends_of_trades_are_exact_to_the_nanosecond() -> None:
    """The endpoint knows whole seconds only; what it gives too much is left out."""
    venue = Venue([NOON_S + 0.25, NOON_S + 0.5, NOON_S + 1, NOON_S + 1.5, NOON_S + 2])
    assert times(*await trades(venue, NOON_S + 0.5, NOON_S + 1.5)) == [(NOON_S * NS) + NS // 2, (NOON_S + 1) * NS]
    assert len(times(*await trades(venue, NOON_S, NOON_S + 2))) == 4


async def test_a_second_with_more_trades_than_an_answer_holds_is_counted() -> None:
    """150 trades in one second, answers of 100: 50 cannot be had, and that is said; all others come."""
    venue = Venue([NOON_S + 5 + i / 200 for i in range(150)] + [NOON_S + i for i in range(20)], cap=100)
    (page,) = await trades(venue, NOON_S, NOON_S + 20)
    assert page.cut == 1
    got = set(times(page))
    assert {(NOON_S + i) * NS for i in range(20) if i != 5} <= got
    assert len(got) >= 119


async def test_the_side_of_a_trade_is_the_aggressors() -> None:
    """The venue publishes the maker's: BUY means that a seller hit a bid."""
    (page,) = await trades(Venue([NOON_S]), NOON_S, NOON_S + 1)
    assert page.rows.to_pylist() == [
        {"ts_ns": NOON_S * NS, "price": 100.5, "size": 0.1, "side": "sell", "trade_id": "1"}
    ]


async def test_trades_that_are_none_are_dropped_and_told_twice_differently_conflict() -> None:
    """A price of zero, a time that is none; and id 1 again with another price."""
    venue = Venue([NOON_S, NOON_S + 1])
    venue.odd_trades = [
        venue.trades[0] | {"trade_id": "a", "price": "0"},
        venue.trades[0] | {"trade_id": "b", "time": "yesterday"},
        venue.trades[0] | {"price": "99"},
    ]
    (page,) = await trades(venue, NOON_S, NOON_S + 2)
    assert page.rows.column("price").to_pylist() == [100.5, 100.5]
    assert page.dropped == 2
    assert page.conflicts >= 1


async def test_an_answer_without_one_readable_trade_is_an_error() -> None:
    """Else each of 86,400 seconds would be asked for in turn."""
    venue = Venue()
    venue.odd_trades = [{"trade_id": "a", "price": "1", "size": "1", "time": "yesterday"}]
    with pytest.raises(RestError, match="none of 1 trades can be read"):
        await trades(venue, NOON_S, NOON_S + 60)


async def test_quiet_days_of_trades_cost_few_requests() -> None:
    """Two trades in five days: windows grow up to a day."""
    venue = Venue([NOON_S, NOON_S + 4 * DAY_S])
    pages = await trades(venue, NOON_S - DAY_S, NOON_S + 5 * DAY_S)
    assert len(times(*pages)) == 2
    assert len(venue.asked) < 30
