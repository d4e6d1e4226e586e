"""The price stream as events."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from connectors.oanda.protocol import SILENCE_NS, PriceProtocol
from engine.events import FeedUp, InstrumentStatus, Quote, TradingStatus
from engine.ports import VenueProtocol

EUR, YEN = "EUR/USD@oanda", "USD/JPY@oanda"
TS_NS = 1_795_183_387_123_456_789


def protocol() -> PriceProtocol:
    return PriceProtocol("oanda", {"EUR_USD": EUR, "USD_JPY": YEN})


def price(instrument: str = "EUR_USD", **fields: Any) -> bytes:
    made = {
        "type": "PRICE",
        "instrument": instrument,
        "time": "2026-11-20T14:03:07.123456789Z",
        "tradeable": True,
        "bids": [{"price": "1.08400", "liquidity": 1000000}, {"price": "1.08399", "liquidity": 5}],
        "asks": [{"price": "1.08410", "liquidity": 2000000}],
        "closeoutBid": "1.08396",
        **fields,
    }
    return json.dumps({name: value for name, value in made.items() if value is not None}).encode() + b"\n"


def test_it_is_a_venue_protocol() -> None:
    """The port's own check."""
    assert isinstance(protocol(), VenueProtocol)


def test_a_price_is_a_quote_with_the_venues_time() -> None:
    """Best levels, float64; the first one says that it trades."""
    events = protocol().receive_frame(price(), 5)
    assert events == [
        InstrumentStatus(TS_NS, 5, EUR, TradingStatus.TRADING),
        Quote(TS_NS, 5, EUR, 1.084, 1e6, 1.0841, 2e6),
    ]


def test_the_stream_is_up_when_every_instrument_was_told() -> None:
    """Once; and again on a new connection."""
    stream = protocol()
    for _ in range(2):
        assert FeedUp(6, 6, "oanda", "market") not in stream.receive_frame(price(), 5)
        assert stream.receive_frame(price("USD_JPY"), 6)[-1] == FeedUp(6, 6, "oanda", "market")
        assert FeedUp(7, 7, "oanda", "market") not in stream.receive_frame(price(), 7)
        stream.reset(8)
        assert not stream.up


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"tradeable": False}, TradingStatus.HALTED),
        ({"tradeable": None, "status": "non-tradeable"}, TradingStatus.HALTED),
        ({"tradeable": None, "status": "tradeable"}, TradingStatus.TRADING),
        ({"tradeable": None, "status": None}, TradingStatus.HALTED),
    ],
)
def test_a_market_that_does_not_trade_is_halted(fields: dict[str, Any], status: TradingStatus) -> None:
    """The newer and the older way of saying it; neither is taken for a no."""
    assert protocol().receive_frame(price(**fields), 5)[0] == InstrumentStatus(TS_NS, 5, EUR, status)


def test_a_price_from_the_future_does_not_silence_what_follows() -> None:
    """Late by a second: dropped.  Late by days: the time of the one before was wrong."""
    stream = protocol()
    stream.receive_frame(price(), 5)
    assert stream.receive_frame(price(time="2026-11-20T14:03:06.000000000Z"), 6) == []
    assert [type(event) for event in stream.receive_frame(price(time="2036-11-20T14:03:08Z"), 7)] == [Quote]
    assert [type(event) for event in stream.receive_frame(price(time="2026-11-20T14:03:08Z"), 8)] == [Quote]
    assert stream.counters.out_of_order == 1


def test_a_status_is_told_when_it_changes() -> None:
    """Closed without a side: no quote, one status."""
    stream = protocol()
    stream.receive_frame(price(), 5)
    closed = stream.receive_frame(price(tradeable=False, bids=[], asks=[]), 6)
    assert closed == [InstrumentStatus(TS_NS, 6, EUR, TradingStatus.HALTED)]
    assert stream.receive_frame(price(tradeable=False, bids=[], asks=[]), 7) == []
    assert stream.receive_frame(price(bids=[]), 8) == [InstrumentStatus(TS_NS, 8, EUR, TradingStatus.TRADING)]
    assert stream.counters.one_sided == 1


def test_a_bucket_without_liquidity_has_an_unknown_size() -> None:
    """NaN, as everywhere."""
    quote = protocol().receive_frame(price(bids=[{"price": "1.08400"}]), 5)[-1]
    assert isinstance(quote, Quote)
    assert math.isnan(quote.bid_qty)


def test_older_prices_are_not_told() -> None:
    """A snapshot of the same time is; one from before is not."""
    stream = protocol()
    stream.receive_frame(price(), 5)
    assert len(stream.receive_frame(price(), 6)) == 1
    assert stream.receive_frame(price(time="2026-11-20T14:03:07.1Z"), 7) == []
    assert stream.counters.out_of_order == 1


def test_silence_is_noticed() -> None:
    """Ten seconds without a byte; a heartbeat is a byte."""
    stream = protocol()
    stream.reset(0)
    assert not stream.is_silent(SILENCE_NS)
    assert stream.is_silent(SILENCE_NS + 1)
    assert stream.receive_frame(b'{"type":"HEARTBEAT","time":"2026-11-20T14:03:10.000000000Z"}\n', SILENCE_NS) == []
    assert not stream.is_silent(SILENCE_NS + 1)


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"null", b'{"type":"NEWS"}', b'{"type":"PRICE"}', b"\xff\xfe", b"[" * 9_000, b"<html>"]
)
def test_what_cannot_be_read_is_counted_and_hides_nothing(line: bytes) -> None:
    """The price behind it is told."""
    stream = protocol()
    assert isinstance(stream.receive_frame(line + b"\n" + price(), 5)[-1], Quote)
    assert stream.counters.malformed == 1
    stream.receive_frame(price("XAU_USD"), 6)
    assert stream.counters.unknown_instrument == 1
