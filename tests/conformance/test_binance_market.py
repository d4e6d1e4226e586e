"""Our Binance connector against the local Binance venue: two readings of one protocol, over TLS, with limits on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors import stream_feed
from connectors.binance import snapshots
from connectors.binance.sandbox.server import serve
from connectors.binance.sandbox.settings import BinanceSettings as VenueSettings
from connectors.binance.sandbox.settings import RateLimits, products_named
from connectors.binance.settings import BinanceSettings
from connectors.binance.venue import BinanceVenue
from connectors.binance.wire import PartialDepth, decode_partial_depth
from connectors.certificates import AUTHORITY
from connectors.local.serving import RunningVenue
from connectors.route import Route
from engine.book import OrderBook
from engine.events import BookDelta, BookSnapshot, FeedDown, FeedUp, Gap, Trade
from engine.runtime.clocks import SystemClock
from tests.support.waiting import until

BTC = "BTC/USDT@binance_spot"
PING_S = 1.5
"""A line whose pong has not come after half of that is ended: more than a busy machine makes one wait."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "AGAIN_S", 0.05)
    monkeypatch.setattr(stream_feed, "LOOK_S", 0.1)
    monkeypatch.setattr(stream_feed, "OVERLAP_S", 0.2)


class Kept:
    """What is published, and the book of one instrument as the core keeps it, by the number of its last update."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.book = OrderBook(BTC)

    def __call__(self, event: Any) -> None:
        self.log.append(event)
        if isinstance(event, BookSnapshot | BookDelta) and event.instrument == BTC:
            best = self.book.apply_snapshot(event) if isinstance(event, BookSnapshot) else self.book.apply_delta(event)
            if best is not None:
                self.book.apply_quote(best)
        elif isinstance(event, FeedDown) or (isinstance(event, Gap) and event.instrument == BTC):
            self.book.invalidate()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.log if isinstance(event, kind)]


@asynccontextmanager
async def market(folder: Path, **options: Any) -> AsyncIterator[RunningVenue]:
    given: dict[str, Any] = {
        "products": products_named(["BTC/USDT", "ETH/USDT"]),
        "warmup_s": 1.0,
        "history_minutes": 3,
        "rate_per_s": 40.0,
        "rate_limits": RateLimits(),
        "ping_s": PING_S,
        "key_file": folder / "key.json",
        "tls_folder": folder,
    }
    running = await serve(VenueSettings(**{**given, **options}))
    try:
        yield running
    finally:
        await running.stop()


@asynccontextmanager
async def connector(running: RunningVenue, folder: Path, transport: str) -> AsyncIterator[tuple[BinanceVenue, Kept]]:
    kept = Kept()
    made = BinanceSettings(
        symbols=("BTC/USDT", "ETH/USDT"),
        rest_urls=(running.url,),
        ws_urls=(running.ws_url,),
        channels=("level2", "market_trades"),
        transport=transport,
        route=Route(ca_file=str(folder / AUTHORITY)),
        backoff_base_s=0.01,
        backoff_cap_s=0.02,
    )
    venue = BinanceVenue(made, kept, SystemClock(), lag_ns=lambda: 0, rng=random.Random(1))
    try:
        await venue.start()
        yield venue, kept
    finally:
        await venue.stop()


async def same_book(venue: BinanceVenue, kept: Kept) -> PartialDepth:
    """The venue's own snapshot at an update where our book is: every level of the best hundred is the same."""
    protocol = venue.feeds[0].protocol
    async with asyncio.timeout(30):
        while True:
            params = [("symbol", "BTCUSDT"), ("limit", "100")]
            told = decode_partial_depth(await venue.rest.get("/depth", params, weight=5))
            book = protocol._books.get("BTCUSDT")
            for _ in range(15):  # the messages up to it are on their way
                if book is not None and book.last_id >= told.last_id:
                    break
                await asyncio.sleep(0.01)
            if book is not None and book.last_id == told.last_id and kept.book.has_levels:
                break
    assert kept.book.levels(1, 100) == told.bids
    assert kept.book.levels(-1, 100) == told.asks
    return told


@pytest.mark.fault("C5")
@pytest.mark.parametrize("transport", ["websockets", "picows"])
async def test_books_are_the_venues_through_gaps_and_lost_connections(transport: str, tmp_path: Path) -> None:
    """The book equals the venue's at the start, after a message was lost, and after a connection was; trades come; no
    limit of the venue was met, and pings were answered all along."""
    async with market(tmp_path) as running, connector(running, tmp_path, transport) as (venue, kept):
        pinged_s = asyncio.get_running_loop().time() + 1.6 * PING_S
        await same_book(venue, kept)
        running.venue.streams.lose_message()  # type: ignore[attr-defined]
        await until(lambda: any(gap.instrument == BTC for gap in kept.of(Gap)))
        await same_book(venue, kept)
        await until(lambda: asyncio.get_running_loop().time() > pinged_s)
        assert venue.counts().reconnects == 0
        running.venue._operator.act({"act": "disconnect", "code": 1006})  # type: ignore[attr-defined]
        await until(lambda: len(kept.of(FeedUp)) == 2)
        await same_book(venue, kept)
        await until(lambda: kept.of(Trade))
        assert venue.counts().reconnects == 1
        counters = venue.feeds[0].protocol.counters
        assert (counters.malformed, counters.unknown_message, counters.venue_errors) == (0, 0, 0)


async def test_a_connection_is_handed_over_without_a_hole(tmp_path: Path) -> None:
    """Ours is renewed before the venue ends it: no gap, no second snapshot, every trade once, the same book."""
    async with market(tmp_path) as running, connector(running, tmp_path, "picows") as (venue, kept):
        await same_book(venue, kept)
        (feed,) = venue.feeds
        for count in (1, 2):
            feed._renew_at_s = 0.0
            await until(lambda count=count: feed.handovers == count)
        await same_book(venue, kept)
        assert (kept.of(FeedDown), kept.of(Gap)) == ([], [])
        assert [event.instrument for event in kept.of(BookSnapshot)].count(BTC) == 1
        ids = [(trade.instrument, trade.trade_id) for trade in kept.of(Trade)]
        assert len(set(ids)) == len(ids)


async def test_a_connection_that_the_venue_ends_by_its_age_is_made_anew(tmp_path: Path) -> None:
    """24 hours in half a second: the streams come back each time, with their books."""
    async with (
        market(tmp_path, connection_life_s=0.5) as running,
        connector(running, tmp_path, "websockets") as (venue, kept),
    ):
        await until(lambda: len(kept.of(FeedUp)) >= 3)
        assert {event.reason for event in kept.of(FeedDown)} == {"closed by peer: 1001 24h"}
        snapshots_at = [i for i, event in enumerate(kept.log) if isinstance(event, BookSnapshot)]
        downs_at = [i for i, event in enumerate(kept.log) if isinstance(event, FeedDown)]
        assert any(downs_at[0] < at < downs_at[1] for at in snapshots_at)
        assert venue.counts().reconnects >= 2


def test_both_ends_have_the_limits_that_the_venue_documents() -> None:
    """What our connector keeps and what the local venue enforces are the same numbers."""
    from connectors.binance.feed import SEND_GAP_S
    from connectors.binance.rest import LIMIT

    limits = msgspec.structs.asdict(RateLimits())
    assert limits["weight_per_min"] == LIMIT["binance_spot"]
    assert limits["ws_messages_per_s"] > 1 / SEND_GAP_S
