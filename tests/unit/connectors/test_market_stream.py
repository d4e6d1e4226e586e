"""What all parsers of market streams share: names, counts, repeats, levels."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connectors import market_stream
from connectors.market_stream import Products, best_first, datetime_ns
from engine.errors import RemoteProtocolError
from tests.support.streams import binance, book_ticker, trade


def test_instruments_of_a_recording_are_named_when_they_are_first_seen() -> None:
    products = Products("bitstamp")
    assert products.get("BTCUSD") == ("BTC/USD@bitstamp",)
    assert products.get("X") == ()  # it cannot be split: about no instrument
    assert dict(products) == {"BTCUSD": ("BTC/USD@bitstamp",), "X": ()}
    assert Products("v", lambda symbol: (symbol, "USD")).get("PI_X") == ("PI_X/USD@v",)


def test_trades_are_remembered_up_to_a_bound() -> None:
    parser = binance()
    for number in range(market_stream.RECENT_TRADES + 1):
        parser.receive_frame(trade(number), 7)
    assert parser.receive_frame(trade(1), 7) == []
    assert len(parser.receive_frame(trade(0), 7)) == 1  # the oldest is forgotten
    assert parser.counters.duplicate_trades == 1


def test_a_message_beyond_all_measure_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = binance()
    for module in ("connectors.market_stream", "connectors.binance.protocol"):
        monkeypatch.setattr(f"{module}.MAX_FRAME_BYTES", 10)
    assert parser.receive_frame(book_ticker(), 7) == ()
    assert parser.receive_answer("https://host/depth?symbol=BTCUSDT", book_ticker(), 7) == ()
    assert (parser.counters.frames, parser.counters.oversize, parser.counters.malformed) == (1, 2, 0)


@pytest.mark.parametrize(
    "frame", [b"", b"{", b"\xff\xfe", b"[1,2]", b'{"stream":"btcusdt@trade","data":{"e":"trade"}}']
)
def test_what_cannot_be_read_is_counted(frame: bytes) -> None:
    parser = binance()
    assert parser.receive_frame(frame, 7) == []
    assert parser.receive_answer("https://host/depth?symbol=BTCUSDT", frame, 7) == []
    assert parser.counters.malformed == 2


def test_levels_are_sorted_and_empty_ones_left_out() -> None:
    bids, asks = best_first([(1.0, 2.0), (3.0, 1.0), (2.0, 0.0)], [(5.0, 1.0, 9.0), (4.0, 1.0)])
    assert (bids, asks) == (((3.0, 1.0), (1.0, 2.0)), ((4.0, 1.0), (5.0, 1.0)))
    with pytest.raises(RemoteProtocolError, match="without price and size"):
        best_first([(1.0,)], [])


def test_a_calendar_time_is_exact_to_the_microsecond() -> None:
    assert datetime_ns(datetime(2021, 7, 22, 22, 36, 10, 14_001, UTC)) == 1_626_993_370_014_001_000
