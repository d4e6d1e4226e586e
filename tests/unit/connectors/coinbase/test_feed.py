"""A stream kept alive, over a scripted transport; the load rule of a batch."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.coinbase.feed import CoinbaseFeed, subscription
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from connectors.fakes import EventLog, FakeClock, ScriptedConnection, ScriptedTransport
from connectors.reconnect import Backoff
from connectors.stream_feed import conflate
from connectors.ws import WsOptions
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, Gap, Quote, Trade
from tests.support.coinbase import BTC, TS_NS, ack, levels, ticker, trade, trades
from tests.support.waiting import until


class Bench:
    def __init__(self, channels: tuple[str, ...] = ("ticker",), refusals: int = 0, **options: Any) -> None:
        self.transport = ScriptedTransport(refusals)
        self.log = EventLog()
        self.lag_ns = 0
        self.channels = channels
        self.resyncs = 0
        self.feed = CoinbaseFeed(
            "ws://venue",
            CoinbaseMarketProtocol("coinbase", {"BTC-USD": (BTC,)}, channels),
            subscriptions=lambda: [subscription("subscribe", c, ["BTC-USD"]) for c in channels],
            publish=self.log,
            clock=FakeClock(TS_NS),
            connect=self.transport,
            backoff=Backoff(random.Random(1), base_s=0.005, cap_s=0.01, budget_per_minute=1000),
            lag_ns=lambda: self.lag_ns,
            options=WsOptions(),
            resync=self._resync,
            **options,
        )

    def _resync(self, handle: Any) -> None:
        self.resyncs += 1

    async def connection(self, number: int = 0) -> ScriptedConnection:
        await until(lambda: len(self.transport.connections) > number and self.transport.connections[number].sent)
        return self.transport.connections[number]

    def confirm(self, connection: ScriptedConnection, seq: int = 0) -> None:
        connection.deliver(ack(seq, **{channel: ["BTC-USD"] for channel in self.channels}))


def test_a_subscription_is_one_message_per_channel() -> None:
    """With and without products and token."""
    assert json.loads(subscription("subscribe", "user", (), "T")) == {
        "type": "subscribe",
        "channel": "user",
        "jwt": "T",
    }
    assert json.loads(subscription("unsubscribe", "level2", ["A-B"])) == {
        "type": "unsubscribe",
        "channel": "level2",
        "product_ids": ["A-B"],
    }


@pytest.mark.fault("D8")
@given(st.lists(st.sampled_from(["quote-a", "quote-b", "trade"]), max_size=30))
def test_conflation_keeps_every_trade_the_last_quote_each_and_the_order(names: list[str]) -> None:
    """Against the plain statement of the rule."""
    events: list[Any] = [
        Trade(0, i, "a", 1.0, 1.0, 1, str(i)) if name == "trade" else Quote(0, i, name, 1.0, 1.0, 2.0, 1.0)
        for i, name in enumerate(names)
    ]
    kept, dropped = conflate(events)
    last = {name: i for i, name in enumerate(names)}
    assert [e.ts_recv_ns for e in kept] == [i for i, n in enumerate(names) if n == "trade" or last[n] == i]
    assert dropped == len(events) - len(kept)


@pytest.mark.fault("D8")
@pytest.mark.parametrize(("lag_ns", "prices"), [(5_000_001, [3.0]), (5_000_000, [1.0, 2.0, 3.0])])
async def test_superseded_quotes_of_a_read_are_dropped_only_when_the_loop_lags(
    lag_ns: int, prices: list[float]
) -> None:
    """Three tickers and a trade in one read; the limit itself is not yet too late."""
    b = Bench(("ticker", "market_trades"))
    b.feed.start()
    connection = await b.connection()
    b.lag_ns = lag_ns
    connection.deliver(ticker(0, bid="1"), ticker(1, bid="2"), trades(2, trade("1")), ticker(3, bid="3"))
    assert [e.bid_px for e in b.log.of(Quote)] == prices
    assert len(b.log.of(Trade)) == 1
    assert b.feed.conflated == 3 - len(prices)
    assert b.feed.protocol.counters.gaps == 0  # dropped after the sequence was checked
    await b.feed.stop()


async def test_subscribed_confirmed_up_lost_and_up_again() -> None:
    """FeedUp only after the acknowledgement; FeedDown with the reason; everything subscribed anew."""
    b = Bench()
    b.feed.start()
    first = await b.connection()
    assert b.log == []
    b.confirm(first)
    await b.feed.wait_up(5)
    first.deliver(ticker(1))
    first.drop("deploy")
    second = await b.connection(1)
    assert second.sent == first.sent
    b.confirm(second)  # counts from 0 again
    second.deliver(ticker(1))
    assert [type(e) for e in b.log] == [FeedUp, Quote, FeedDown, FeedUp, Quote]
    assert b.log.of(FeedDown)[0].reason == "deploy"
    await b.feed.stop()
    assert b.log.of(FeedDown)[1].reason == "stopped"


@pytest.mark.fault("C3")
async def test_refused_connections_are_tried_again_with_back_off() -> None:
    """Three refusals, then success."""
    b = Bench(refusals=3)
    b.feed.start()
    b.confirm(await b.connection())
    assert b.transport.attempts == 4
    assert b.log.of(FeedUp)
    await b.feed.stop()


@pytest.mark.fault("C4")
async def test_a_stream_that_is_never_confirmed_is_given_up_and_says_why() -> None:
    """The venue confirms nothing: reconnects, and the waiting caller learns what is missing."""
    b = Bench(("ticker", "level2"), confirm_timeout_s=0.05)
    b.feed.start()
    with pytest.raises(VenueError, match="market stream at ws://venue is not up"):
        await b.feed.wait_up(0.3)
    await until(lambda: b.transport.attempts > 1)
    assert b.log.of(FeedUp) == []
    await b.feed.stop()


@pytest.mark.fault("C2")
async def test_a_mute_stream_is_reconnected() -> None:
    """Confirmed, then silence."""
    b = Bench(silence_timeout_s=0.05)
    b.feed.start()
    b.confirm(await b.connection())
    await b.connection(1)
    assert "no message for" in b.log.of(FeedDown)[0].reason
    await b.feed.stop()


@pytest.mark.fault("C8")
async def test_an_error_from_the_venue_before_the_stream_is_up_ends_the_attempt() -> None:
    """Authentication failure: the reason is told, the next attempt waits its back-off."""
    b = Bench()
    b.feed.start()
    connection = await b.connection()
    connection.deliver(b'{"type":"error","message":"authentication failure"}')
    assert not connection.is_open
    assert [e.reason for e in b.log.of(FeedDown)] == ["authentication failure"]
    with pytest.raises(VenueError, match="authentication failure"):
        await b.feed.wait_up(0.01)
    await b.feed.stop()


@pytest.mark.fault("C5")
async def test_a_gap_asks_for_a_resync_and_not_again_at_once() -> None:
    """Two gaps in a row: two Gap events, one resynchronisation."""
    b = Bench(("level2",))
    b.feed.start()
    connection = await b.connection()
    b.confirm(connection)
    connection.deliver(levels(1, kind="snapshot"), levels(5, ("bid", "1", "1")))
    connection.deliver(levels(9, ("bid", "1", "1")))
    assert len(b.log.of(Gap)) == 2
    assert b.resyncs == 1
    await b.feed.stop()


async def test_stopping_a_feed_that_cannot_connect_ends_it() -> None:
    """While it sleeps between attempts."""
    b = Bench(refusals=10_000)
    b.feed.start()
    await until(lambda: b.transport.attempts > 2)
    await b.feed.stop()
    attempts = b.transport.attempts
    await asyncio.sleep(0.05)
    assert b.transport.attempts == attempts
