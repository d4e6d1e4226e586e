"""Sans-I/O properties: any split of the bytes gives the same events, and no frame whatever raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.coinbase.protocol import CoinbaseMarketProtocol, StreamProtocol
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import CoinbaseUserProtocol
from engine import codec
from engine.events import InputEvent
from tests.support.coinbase import BTC, ack, frame, heartbeat, levels, ticker, trade, trades, user, user_order
from tests.support.mutated import fed, mutate, reshape
from tests.support.ws_contract import frame as ws_frame

HELD = {"product_id": "BIP-20DEC30-CDE", "side": "SHORT", "number_of_contracts": "3", "entry_price": "61000"}


def candles(seq: int, start: str) -> bytes:
    prices = {"high": "5", "low": "1", "open": "2", "close": "4", "volume": "9"}
    return frame("candles", seq, {"type": "update", "candles": [{"product_id": "BTC-USD", "start": start, **prices}]})


MARKET = [
    ack(0, heartbeats=["heartbeats"], ticker=["BTC-USD"], market_trades=["BTC-USD"]),
    ticker(1),
    trades(2, trade("2", "SELL"), trade("1")),
    heartbeat(3, "17"),
    levels(4, ("bid", "99", "1"), ("offer", "101", "2"), kind="snapshot"),
    levels(5, ("bid", "99", "0")),
    ticker(6, bid=""),
    ticker(9),
    frame("ticker_batch", 10, {"tickers": [{"product_id": "BTC-USD", "best_bid": "1", "best_ask": "x"}]}),
    candles(11, "600"),
    candles(12, "900"),
]
USER = [
    ack(0, heartbeats=["heartbeats"], user=["u"]),
    user(1, user_order("v1", "c1", "OPEN", "0.4"), kind="snapshot"),
    user(2, user_order("v1", "c1", "CANCELLED", "0.4")),
    user(3, user_order("v2", "c2", "FAILED", reject_reason="INSUFFICIENT_FUND")),
    frame("user", 4, {"orders": [user_order("v3", "c3")], "positions": {"expiring_futures_positions": [HELD]}}),
    frame("futures_balance_summary", 5, {"fcm_balance_summary": {"total_usd_balance": "10", "available_margin": "5"}}),
]


def market() -> CoinbaseMarketProtocol:
    return CoinbaseMarketProtocol("coinbase", {"BTC-USD": (BTC,)}, ("heartbeats", "ticker", "market_trades"))


def account() -> CoinbaseUserProtocol:
    return CoinbaseUserProtocol("coinbase", OrderTracker("coinbase", {"BTC-USD": BTC}), contracts=True)


def read(protocol: StreamProtocol, frames: list[bytes]) -> list[InputEvent]:
    return [event for frame in frames for event in protocol.receive_frame(frame, 7)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_any_split_of_the_byte_stream_gives_the_same_events(sizes: list[int]) -> None:
    """Frames on the wire, cut at arbitrary places and fed to the real transport, against the frames whole."""
    stream = b"".join(ws_frame(1, frame) for frame in MARKET)
    frames = fed(stream, sizes)
    assert frames == MARKET
    assert [codec.encode(e) for e in read(market(), frames)] == [codec.encode(e) for e in read(market(), MARKET)]


@st.composite
def mutated_frames(draw: Any, corpus: list[bytes]) -> list[bytes]:
    return [mutate(draw, draw(st.sampled_from(corpus))) for _ in range(draw(st.integers(1, 6)))]


@pytest.mark.fault("C12")
@settings(deadline=None)
@given(st.data())
def test_mutated_frames_never_raise_and_what_they_yield_can_be_journaled(data: Any) -> None:
    """Bytes flipped, cut, inserted and repeated, on both streams; afterwards a good connection works as ever."""
    for make, corpus in ((market, MARKET), (account, USER)):
        protocol = make()
        for event in read(protocol, data.draw(mutated_frames(corpus))):
            assert codec.encode(codec.decode(codec.encode(event))) == codec.encode(event)
        protocol.reset()
        fresh = [type(e) for e in read(make(), corpus[:1])]
        assert [type(e) for e in read(protocol, corpus[:1])] == fresh


@st.composite
def reshaped(draw: Any, corpus: list[bytes]) -> bytes:
    return reshape(draw, draw(st.sampled_from(corpus)))


@pytest.mark.fault("C13")
@settings(deadline=None)
@given(st.data())
def test_reshaped_messages_never_raise(data: Any) -> None:
    """The venue changed its schema somewhere: every frame is read or counted."""
    for make, corpus in ((market, MARKET), (account, USER)):
        protocol = make()
        frames = data.draw(st.lists(reshaped(corpus), min_size=1, max_size=4))
        read(protocol, frames)
        assert protocol.counters.frames == len(frames)
