"""Market frames to events, message by message."""

from __future__ import annotations

import math

import pytest

from connectors.coinbase.protocol import MAX_FRAME_BYTES, RECENT_TRADES, CoinbaseMarketProtocol
from engine.events import Bar, BookDelta, BookSnapshot, FeedUp, Gap, InstrumentStatus, Quote, Trade, TradingStatus
from engine.ports import VenueProtocol
from tests.support.coinbase import BTC, TS_NS, ack, frame, heartbeat, levels, ticker, trade, trades

CHANNELS = ("heartbeats", "ticker", "market_trades")


def protocol(channels: tuple[str, ...] = CHANNELS) -> CoinbaseMarketProtocol:
    return CoinbaseMarketProtocol("coinbase", {"BTC-USD": (BTC,)}, channels)


def test_it_is_a_venue_protocol() -> None:
    """By the port's own runtime check."""
    assert isinstance(protocol(), VenueProtocol)


def test_a_ticker_is_a_quote_with_the_venues_time() -> None:
    """Nanoseconds of the envelope, prices and sizes as floats."""
    assert protocol().receive_frame(ticker(0), 7) == [Quote(TS_NS, 7, BTC, 100.01, 0.5, 100.03, 0.4)]


def test_every_buffer_type_is_read_alike() -> None:
    """bytes, bytearray and memoryview of one frame."""
    expected = [Quote(TS_NS, 7, BTC, 100.01, 0.5, 100.03, 0.4)]
    for buffer in (bytearray(ticker(0)), memoryview(ticker(0))):
        assert protocol().receive_frame(buffer, 7) == expected


def test_members_in_another_order_are_read_alike() -> None:
    """The channel last, as JSON allows."""
    data = ticker(0)
    moved = b"{" + data[len(b'{"channel":"ticker",') : -1] + b',"channel":"ticker"}'
    assert protocol().receive_frame(moved, 7) == protocol().receive_frame(data, 7)


def test_a_quote_without_sizes_has_nan_sizes() -> None:
    """Older feeds give prices only."""
    data = frame(
        "ticker", 0, {"type": "update", "tickers": [{"product_id": "BTC-USD", "best_bid": "1", "best_ask": "2"}]}
    )
    (quote,) = protocol().receive_frame(data, 7)
    assert (quote.bid_px, quote.ask_px) == (1.0, 2.0)
    assert math.isnan(quote.bid_qty)
    assert math.isnan(quote.ask_qty)


@pytest.mark.fault("D2")
def test_an_empty_side_is_an_unknown_price_and_not_a_dropped_message() -> None:
    """best_bid "" while the book has no bids: NaN, so that nothing is judged on the old price; no gap follows."""
    p = protocol()
    (quote,) = p.receive_frame(ticker(0, bid=""), 7)
    assert math.isnan(quote.bid_px)
    assert quote.ask_px == 100.03
    assert len(p.receive_frame(ticker(1), 8)) == 1
    assert (p.counters.malformed, p.counters.gaps) == (0, 0)


def test_tickers_make_no_quotes_when_the_book_does() -> None:
    """With level2 subscribed there is one source of quotes."""
    assert protocol(("ticker", "level2")).receive_frame(ticker(0), 7) == []


def test_the_aggressor_is_the_makers_opposite_and_trades_come_in_time_order() -> None:
    """The venue tells the maker's side, newest first."""
    events = protocol().receive_frame(trades(0, trade("2", "SELL"), trade("1", "BUY"), trade("0", "?")), 7)
    assert [(t.trade_id, t.aggressor) for t in events] == [("0", 0), ("1", -1), ("2", 1)]
    assert events[1] == Trade(TS_NS, 7, BTC, 100.0, 0.01, -1, "1")


@pytest.mark.fault("D5")
def test_history_on_subscription_is_no_event_and_is_not_told_again() -> None:
    """A snapshot with trades 1 and 2, then updates with 2 and 3: only 3 is an event, also after a reconnection."""
    p = protocol()
    assert p.receive_frame(trades(0, trade("2"), trade("1"), kind="snapshot"), 7) == []
    assert [t.trade_id for t in p.receive_frame(trades(1, trade("3"), trade("2")), 7)] == ["3"]
    p.reset()
    assert p.receive_frame(trades(0, trade("3"), kind="snapshot"), 7) == []
    assert p.receive_frame(trades(1, trade("3")), 7) == []
    assert p.counters.duplicate_trades == 3


def test_the_memory_of_trade_ids_is_bounded() -> None:
    """After RECENT_TRADES more trades the first id is forgotten, and the newest is not."""
    p = protocol()
    for index in range(RECENT_TRADES + 1):
        p.receive_frame(trades(index, trade(str(index))), 7)
    assert len(p.receive_frame(trades(RECENT_TRADES + 1, trade(str(RECENT_TRADES)), trade("0")), 7)) == 1


def test_a_book_is_a_sorted_snapshot_and_absolute_changes() -> None:
    """Levels in any order; zero quantities of a snapshot are no levels; an offer is an ask."""
    p = protocol(("level2",))
    (book,) = p.receive_frame(
        levels(
            0,
            ("bid", "99", "1"),
            ("offer", "102", "4"),
            ("bid", "100", "2"),
            ("offer", "101", "3"),
            ("bid", "98", "0"),
            kind="snapshot",
        ),
        7,
    )
    assert book == BookSnapshot(TS_NS, 7, BTC, ((100.0, 2.0), (99.0, 1.0)), ((101.0, 3.0), (102.0, 4.0)))
    assert p.receive_frame(levels(1, ("bid", "100", "0"), ("offer", "101", "5")), 8) == [
        BookDelta(TS_NS, 8, BTC, ((1, 100.0, 0.0), (-1, 101.0, 5.0)))
    ]


@pytest.mark.fault("C5")
def test_a_gap_invalidates_the_book_until_its_next_snapshot() -> None:
    """0, 1, then 5: a Gap with both numbers, changes withheld, a resync asked for, and all well after a snapshot."""
    p = protocol(("level2",))
    p.receive_frame(levels(0, ("bid", "99", "1"), kind="snapshot"), 7)
    assert p.receive_frame(levels(5, ("bid", "99", "2")), 8) == [Gap(8, 8, "coinbase", "", 1, 5)]
    assert p.resync_wanted
    assert p.receive_frame(levels(6, ("bid", "99", "3")), 8) == []
    assert p.counters.book_not_ready == 2
    assert [type(e) for e in p.receive_frame(levels(7, ("bid", "99", "4"), kind="snapshot"), 9)] == [BookSnapshot]
    assert [type(e) for e in p.receive_frame(levels(8, ("bid", "99", "5")), 9)] == [BookDelta]


@pytest.mark.fault("C5")
def test_a_gap_without_a_book_is_reported_and_needs_no_resync() -> None:
    """Heartbeats count too: 0, then 2 on the ticker; the quote itself is good."""
    p = protocol()
    p.receive_frame(heartbeat(0), 7)
    assert [type(e) for e in p.receive_frame(ticker(2), 8)] == [Gap, Quote]
    assert not p.resync_wanted


def test_what_is_out_of_order_is_ignored() -> None:
    """After 4, a 3 and another 4 yield nothing; 5 goes on without a gap."""
    p = protocol()
    p.receive_frame(ticker(4), 7)
    assert p.receive_frame(ticker(3), 7) == []
    assert p.receive_frame(ticker(4), 7) == []
    assert [type(e) for e in p.receive_frame(ticker(5), 7)] == [Quote]
    assert (p.counters.out_of_order, p.counters.gaps) == (2, 0)


@pytest.mark.fault("C4")
def test_the_stream_is_up_only_when_everything_wanted_is_confirmed_and_once() -> None:
    """Acknowledgements grow channel by channel, as the venue sends them; heartbeats count as any product."""
    p = protocol()
    assert p.receive_frame(ack(0, heartbeats=["heartbeats"]), 7) == []
    assert p.receive_frame(ack(1, heartbeats=["heartbeats"], ticker=["BTC-USD"]), 7) == []
    full = {"heartbeats": ["heartbeats"], "ticker": ["BTC-USD"], "market_trades": ["BTC-USD"]}
    assert p.receive_frame(ack(2, **{**full, "market_trades": ["ETH-USD"]}), 7) == []
    assert p.receive_frame(ack(3, **full), 8) == [FeedUp(8, 8, "coinbase", "market")]
    assert p.receive_frame(ack(4, **full), 9) == []
    p.reset()
    assert p.receive_frame(ack(0, **full), 10) == [FeedUp(10, 10, "coinbase", "market")]


@pytest.mark.fault("C10")
def test_a_status_message_sets_the_instruments_state() -> None:
    """Known words are mapped, an unknown one is not guessed."""
    p = protocol()
    for seq, (word, status) in enumerate(
        [("online", TradingStatus.TRADING), ("offline", TradingStatus.HALTED), ("odd", TradingStatus.UNKNOWN)]
    ):
        data = frame("status", seq, {"type": "snapshot", "products": [{"id": "BTC-USD", "status": word}, {"id": "X"}]})
        assert p.receive_frame(data, 7) == [InstrumentStatus(TS_NS, 7, BTC, status)]


def test_a_shared_book_feeds_every_instrument_of_its_label() -> None:
    """Data for BTC-USDC comes labelled BTC-USD."""
    usdc = "BTC/USDC@coinbase"
    p = CoinbaseMarketProtocol("coinbase", {"BTC-USD": (BTC, usdc)}, CHANNELS)
    assert [e.instrument for e in p.receive_frame(ticker(0), 7)] == [BTC, usdc]
    assert [e.instrument for e in p.receive_frame(trades(1, trade("1")), 7)] == [BTC, usdc]


@pytest.mark.fault("C13")
def test_unknown_channels_products_and_members_are_counted_and_harmless() -> None:
    """The sequence goes on through all of them."""
    p = protocol()
    assert p.receive_frame(frame("brand_new", 0, {"x": [1, {"y": None}]}), 7) == []
    assert p.receive_frame(ticker(1, product="DOGE-USD"), 7) == []
    assert p.receive_frame(trades(2, trade("1", product="DOGE-USD")), 7) == []
    assert len(p.receive_frame(ticker(3, new_member="?"), 7)) == 1
    assert (p.counters.unknown_channel, p.counters.unknown_product, p.counters.gaps) == (1, 2, 0)


@pytest.mark.fault("C12")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff",
        b"null",
        b"[]",
        b"[" * 5000,
        b'{"channel":"ticker",',
        b'{"channel":"ticker","sequence_num":"x","events":[]}',
        b'{"channel":"ticker","timestamp":"t","sequence_num":1e400,"events":[]}',
        b'{"channel":"market_trades","timestamp":5,"sequence_num":1,"events":{}}',
        b'{"channel":"l2_data","timestamp":"","sequence_num":1,"events":[{"type":"snapshot"}]}',
        b'{"channel":"subscriptions","sequence_num":1,"events":[{"subscriptions":[]}]}',
        b'{"channel":5}',
        b'{"channel":"\xff"}',
    ],
)
def test_what_cannot_be_read_is_counted_and_leaves_a_hole_that_shows(data: bytes) -> None:
    """Malformed between 0 and 2: nothing raised, one count, and 2 reports the gap the lost message left."""
    p = protocol()
    p.receive_frame(ticker(0), 7)
    assert p.receive_frame(data, 7) == []
    assert p.counters.malformed == 1
    assert [type(e) for e in p.receive_frame(ticker(2), 8)] == [Gap, Quote]


@pytest.mark.fault("C12")
def test_a_huge_frame_is_counted_and_not_read() -> None:
    """One byte over the limit."""
    p = protocol()
    assert list(p.receive_frame(b" " * (MAX_FRAME_BYTES + 1), 7)) == []
    assert p.counters.oversize == 1


def test_a_venue_error_is_kept_for_the_shell() -> None:
    """Errors have no envelope and no sequence number."""
    p = protocol()
    assert p.receive_frame(b'{"type":"error","message":"rate limit exceeded"}', 7) == []
    assert p.last_error == "rate limit exceeded"
    p.reset()
    assert p.last_error == ""


def batch(seq: int, **fields: str) -> bytes:
    return frame(
        "ticker_batch", seq, {"type": "update", "tickers": [{"product_id": "BTC-USD", "price": "1", **fields}]}
    )


@pytest.mark.fault("D2")
def test_a_batched_ticker_without_best_prices_is_no_quote() -> None:
    """The live feed leaves them out: nothing is known of the market by that, and nothing is forgotten."""
    p = protocol(("heartbeats", "ticker_batch"))
    assert p.receive_frame(batch(0), 7) == []
    prices = {"best_bid": "1", "best_bid_quantity": "2", "best_ask": "3", "best_ask_quantity": "4"}
    assert p.receive_frame(batch(1, **prices), 7) == [Quote(TS_NS, 7, BTC, 1.0, 2.0, 3.0, 4.0)]
    for better in ("ticker", "level2"):
        assert protocol(("ticker_batch", better)).receive_frame(batch(0, **prices), 7) == []


MINUTES_5 = 300


def candles(seq: int, *starts: int, close: str = "4", kind: str = "update") -> bytes:
    rows = [
        {"start": str(at), "high": "5", "low": "1", "open": "2", "close": close, "volume": "9", "product_id": "BTC-USD"}
        for at in starts
    ]
    return frame("candles", seq, {"type": kind, "candles": rows})


def bar(start_s: int, close: float = 4.0) -> Bar:
    ns = 10**9
    return Bar((start_s + MINUTES_5) * ns, 7, BTC, MINUTES_5 * ns, 2.0, 5.0, 1.0, close, 9.0)


def test_a_candle_is_told_when_a_later_one_begins() -> None:
    """It changes each second until then; what a snapshot tells of the past before that is no event."""
    p = protocol(("candles",))
    assert p.receive_frame(candles(0, 1200, 900, 600, kind="snapshot"), 7) == []
    assert p.receive_frame(candles(1, 1200, close="3"), 7) == []
    assert p.receive_frame(candles(2, 1500), 7) == [bar(1200, close=3.0)]
    assert p.receive_frame(candles(3, 1200), 7) == []


def test_candles_that_ended_while_the_line_was_down_are_told_once() -> None:
    """The snapshot of the next connection has them as they ended; a quiet one is left out by the venue."""
    p = protocol(("candles",))
    p.receive_frame(candles(0, 900), 7)
    p.reset()
    assert p.receive_frame(candles(0, 1800, 1500, 900, 600, kind="snapshot"), 7) == [bar(900), bar(1500)]
    assert p.receive_frame(candles(1, 1800), 7) == []


def test_a_candle_that_may_lack_a_change_is_not_told() -> None:
    """A message was lost: the candle that was open then is left out, the next one is whole again."""
    p = protocol(("candles",))
    p.receive_frame(candles(0, 900), 7)
    assert [type(e) for e in p.receive_frame(candles(2, 1200), 7)] == [Gap]
    assert p.receive_frame(candles(3, 1500), 7) == [bar(1200)]


@pytest.mark.fault("C13")
@pytest.mark.parametrize("start", [0, -300, 1 << 40])
def test_candles_of_no_time_are_ignored(start: int) -> None:
    """Neither told nor taken for what ends the open one."""
    p = protocol(("candles",))
    p.receive_frame(candles(0, 900), 7)
    assert p.receive_frame(candles(1, start), 7) == []


def test_a_status_is_about_the_product_that_it_names() -> None:
    """Prices of one come under the label of the other; their states are their own."""
    usdc = "BTC/USDC@coinbase"
    p = CoinbaseMarketProtocol(
        "coinbase", {"BTC-USD": (BTC, usdc)}, ("status",), listed={BTC: "BTC-USD", usdc: "BTC-USDC"}
    )
    told = p.receive_frame(frame("status", 0, {"products": [{"id": "BTC-USDC", "status": "offline"}]}), 7)
    assert told == [InstrumentStatus(TS_NS, 7, usdc, TradingStatus.HALTED)]
