"""Listings page by page, and what errors say about an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from connectors.ccxt_venue.capabilities import needs_of
from connectors.ccxt_venue.library import load
from connectors.ccxt_venue.questions import Questions, UnansweredError, page_limit
from connectors.fakes import FakeClock
from engine.errors import VenueError

T0_MS = 1_795_183_387_000
LIMIT = 100


class FakeHandle:
    """Answers by functions of its own; ``ask`` does with errors what the real one does."""

    def __init__(self, exchange: str = "okx", **answers: Callable[..., Any]) -> None:
        self.exchange = exchange
        self.answers = answers
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.has = {"fetchCanceledOrders": True}
        self.ex = type("Ex", (), {"features": {"spot": {"fetchMyTrades": {"limit": LIMIT}}}})()

    async def call(self, name: str, *args: Any) -> Any:
        self.asked.append((name, args))
        return self.answers[name](*args)

    async def ask(self, name: str, *args: Any) -> Any:
        try:
            return await self.call(name, *args)
        except Exception as error:
            raise VenueError(str(error)) from None


def questions(handle: FakeHandle, **has: bool) -> Questions:
    abilities = {"fetchOrder": True, "fetchMyTrades": True, "fetchClosedOrders": True, "fetchTime": True, **has}
    return Questions(lambda: handle, needs_of("kraken", abilities), FakeClock())  # type: ignore[arg-type,return-value]


ROWS = [
    {"id": str(number), "order": f"o{number}", "symbol": "BTC/USD", "side": "buy", "amount": "1", "price": "100",
     "timestamp": T0_MS + 10_000 + number * 1_000}
    for number in range(250)
]  # fmt: skip


def newest(_symbol: str, since: int, limit: int, params: dict[str, int]) -> list[Any]:
    """As Coinbase and Kraken answer."""
    until = params.get("until", 1 << 60)
    return [row for row in ROWS if since <= row["timestamp"] < until][-limit:]


def oldest(_symbol: str, since: int, limit: int, params: dict[str, int]) -> list[Any]:
    """As Binance answers."""
    return [row for row in ROWS if since <= row["timestamp"] < params.get("until", 1 << 60)][:limit]


def all_at_once(_symbol: str, _since: int, _limit: int, _params: dict[str, int]) -> list[Any]:
    return ROWS


@pytest.mark.parametrize("answer", [newest, oldest, all_at_once])
async def test_every_execution_is_listed_whichever_end_a_page_is_of(answer: Callable[..., Any]) -> None:
    """Two and a half pages, oldest first, each once."""
    handle = FakeHandle(fetch_my_trades=answer)
    fills = await questions(handle).fills("BTC/USD", T0_MS * 1_000_000)
    assert [fill.venue_order_id for fill in fills] == [f"o{number}" for number in range(250)]
    assert len(handle.asked) <= 6


async def test_a_listing_that_is_paged_by_its_rows_is_read_so() -> None:
    """Fifty a page, all of the same second: no time tells them apart."""

    def page(_symbol: str, _since: int, _limit: None, params: dict[str, int]) -> list[Any]:
        first = params.get("ofs", 0)
        return [row | {"timestamp": T0_MS + 500} for row in ROWS[first : first + 50]]

    handle = FakeHandle("kraken", fetch_my_trades=page)
    asked = questions(handle)
    fills = await asked.fills("BTC/USD", T0_MS * 1_000_000)
    assert len(fills) == 250
    assert fills.complete


async def test_a_listing_that_cannot_be_read_to_its_end_says_so() -> None:
    """More rows of one moment than a page holds, and no other way to ask: what is missing is not absent."""
    for later_ms in (5_000, 0):  # also where that moment is just the one since when it is asked
        rows = [row | {"timestamp": T0_MS + later_ms} for row in ROWS]
        handle = FakeHandle(fetch_my_trades=lambda *_, rows=rows: rows[:LIMIT])
        fills = await questions(handle).fills("BTC/USD", T0_MS * 1_000_000)
        assert len(fills) == LIMIT
        assert not fills.complete


@pytest.mark.parametrize("answer", [newest, oldest])
async def test_a_row_that_makes_no_sense_does_not_end_the_paging_and_is_not_forgotten(answer: Any) -> None:
    """One in the middle of each page names no order: all pages are read, and the listing does not pass for whole."""

    def page(*asked: Any) -> list[Any]:
        rows = answer(*asked)
        return [row | {"order": None} if index == 50 else row for index, row in enumerate(rows)]

    asked = questions(FakeHandle(fetch_my_trades=page))
    fills = await asked.fills("BTC/USD", T0_MS * 1_000_000)
    assert len(fills) >= 247
    assert not fills.complete
    assert asked.unreadable_rows > 0


async def test_a_full_listing_of_open_orders_may_hold_more_unless_the_exchange_lists_all() -> None:
    """By the library's page, by what it asks for on its own, by a guess; a row without an id hides one."""

    async def is_complete(exchange: str, count: int, **changes: Any) -> bool:
        rows = [{"id": str(number), "status": "open", **changes} for number in range(count)]
        handle = FakeHandle(exchange, fetch_open_orders=lambda _: rows)
        return (await questions(handle).open_orders("BTC/USD")).complete

    assert await is_complete("okx", 49)
    assert not await is_complete("okx", 50)
    assert await is_complete("coinbase", 99)
    assert not await is_complete("coinbase", 100)
    assert await is_complete("kraken", 500)
    assert not await is_complete("kraken", 1, id=None)


async def test_a_listing_that_never_ends_does_not_hold_us() -> None:
    """Each page is full and new: a bounded number is read."""
    count = 0

    def endless(*_: Any) -> list[Any]:
        nonlocal count
        count += LIMIT
        return [ROWS[0] | {"id": f"x{count + number}"} for number in range(LIMIT)]

    handle = FakeHandle(fetch_my_trades=endless)
    await questions(handle).fills("BTC/USD", T0_MS * 1_000_000)
    assert len(handle.asked) == 20


async def test_an_order_that_the_exchange_does_not_have_is_no_order_and_no_error() -> None:
    """By the library's class for it, or by none (Coinbase's 404): then the listings are asked."""
    ccxt = load()

    def gone(*_: Any) -> Any:
        raise ccxt.OrderNotFound("x")

    def unclear(*_: Any) -> Any:
        raise ccxt.ExchangeError("404")

    def refused(*_: Any) -> Any:
        raise ccxt.BadRequest("an id is needed")

    def down(*_: Any) -> Any:
        raise ccxt.ExchangeNotAvailable("x")

    assert await questions(FakeHandle(fetch_order=gone)).order("v1", "BTC/USD") is None
    listed = [{"id": "v1", "status": "canceled", "filled": "0", "timestamp": T0_MS}]
    handle = FakeHandle(
        fetch_order=unclear,
        fetch_open_orders=lambda *_: [],
        fetch_closed_orders=lambda *_: [],
        fetch_canceled_orders=lambda *_: listed,
    )
    found = await questions(handle).order("v1", "BTC/USD")
    assert found is not None
    assert found.status == "canceled"
    named = {"clientOrderId": "x"}
    assert await questions(FakeHandle(fetch_order=gone)).order_named(named, "BTC/USD") is None
    for answer in (unclear, refused, lambda *_: {}):
        with pytest.raises(UnansweredError):
            await questions(FakeHandle(fetch_order=answer)).order_named(named, "BTC/USD")
    with pytest.raises(VenueError):
        await questions(FakeHandle(fetch_order=down)).order("v1", "BTC/USD")


async def test_answers_that_are_none_are_errors() -> None:
    """A balance without a total, a clock that is a text."""
    with pytest.raises(VenueError, match="total"):
        await questions(FakeHandle(fetch_balance=lambda _: {"total": {"USD": None}})).balances()
    with pytest.raises(VenueError, match="no list"):
        await questions(FakeHandle(fetch_open_orders=lambda _: {})).open_orders("BTC/USD")
    with pytest.raises(VenueError, match="no time"):
        await questions(FakeHandle(fetch_time=lambda: "noon")).clock_offset_ns()
    assert await questions(FakeHandle(), fetchTime=False).clock_offset_ns() == 0


def test_the_page_size_is_the_librarys_where_it_says_one() -> None:
    """``features`` may hold anything."""
    assert page_limit({"spot": {"fetchMyTrades": {"limit": 100}}}, "fetchMyTrades") == 100
    for nothing in (None, {}, {"spot": None}, {"spot": {"fetchMyTrades": {"limit": None}}}, {"spot": {"x": 5}}, []):
        assert page_limit(nothing, "fetchMyTrades") is None
