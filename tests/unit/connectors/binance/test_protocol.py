"""Binance's market streams: which message makes which event, confirmations, and books that come back after a loss."""

from __future__ import annotations

from math import isnan
from typing import Any

import msgspec
import pytest

from connectors.binance.protocol import BinanceMarketProtocol
from engine.events import Bar, BookDelta, BookSnapshot, FeedUp, Gap, Observation, Quote, Trade
from tests.support.streams import binance, book_ticker, combined, compact, depth, snapshot, trade

SPOT, USDM = "BTC/USDT@binance_spot", "BTC/USDT@binance_usdm"
URL = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"
MS = 1_000_000
BIDS, ASKS = [["100.10", "1.0"], ["100.00", "4.0"]], [["100.20", "3.0"], ["100.30", "1.0"]]


def synced(parser: BinanceMarketProtocol, last: int = 20, previous: int | None = None) -> BinanceMarketProtocol:
    """With a book at update ``last``."""
    parser.receive_frame(depth(last - 1, last, previous=previous), 1)
    (event,) = parser.receive_answer(URL, snapshot(last, BIDS, ASKS), 2)
    assert isinstance(event, BookSnapshot)
    return parser


# --- quotes and trades ----------------------------------------------------------------------------------------------


def test_best_prices_of_spot_have_no_time_and_those_of_futures_the_trades() -> None:
    assert binance().receive_frame(book_ticker(), 9) == [Quote(9, 9, SPOT, 100.1, 1.5, 100.2, 2.5)]
    frame = book_ticker(e="bookTicker", T=1_700_000_000_100, E=1_700_000_000_105)
    (quote,) = binance("binance_usdm").receive_frame(frame, 9)
    assert quote == Quote(1_700_000_000_100 * MS, 9, USDM, 100.1, 1.5, 100.2, 2.5)


def test_a_side_without_orders_is_told_as_zeros_and_is_not_known() -> None:
    (quote,) = binance().receive_frame(book_ticker(ask="0.00000000"), 9)
    assert isinstance(quote, Quote)
    assert quote.bid_px == 100.1
    assert isnan(quote.ask_px)


def test_quotes_come_from_the_book_where_depth_is_subscribed() -> None:
    parser = binance("binance_spot", "btcusdt@bookTicker", "btcusdt@depth@100ms")
    assert parser.receive_frame(book_ticker(), 9) == []


@pytest.mark.parametrize(("maker", "aggressor"), [(True, -1), (False, 1)])
def test_a_trade_is_its_takers_and_is_told_once(maker: bool, aggressor: int) -> None:
    parser = binance()
    made = [*parser.receive_frame(trade(m=maker), 9), *parser.receive_frame(trade(m=maker), 10)]
    assert made == [Trade(1_700_000_000_122 * MS, 9, SPOT, 100.15, 0.5, aggressor, "5")]
    assert parser.counters.duplicate_trades == 1


def test_what_the_insurance_fund_took_over_is_no_trade_of_the_market() -> None:
    parser = binance("binance_usdm")
    assert parser.receive_frame(trade(X="INSURANCE_FUND"), 9) == []
    assert parser.counters.off_book_trades == 1
    assert len(parser.receive_frame(trade(6, X="MARKET"), 9)) == 1


AGGREGATE: dict[str, Any] = {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "a": 3, "p": "1", "q": "2", "T": 9, "m": False}


def test_aggregates_are_told_where_single_trades_are_not_subscribed_as_well() -> None:
    """Both tell of the same volume; ids are counted apart."""
    frame = combined("btcusdt@aggTrade", AGGREGATE)
    assert binance().receive_frame(frame, 9) == [Trade(9 * MS, 9, SPOT, 1.0, 2.0, 1, "a3")]
    both = binance("binance_spot", "btcusdt@trade", "btcusdt@aggTrade")
    assert both.receive_frame(frame, 9) == []
    assert len(both.receive_frame(trade(), 9)) == 1


def test_times_in_microseconds_are_known_by_their_size() -> None:
    (event,) = binance().receive_frame(trade(T=1_700_000_000_122_456), 9)
    assert event.ts_event_ns == 1_700_000_000_122_456_000


def test_a_candle_is_told_when_it_is_finished() -> None:
    candle = {"t": 60_000, "T": 119_999, "i": "1m", "o": "1", "h": "3", "l": "0.5", "c": "2", "v": "7", "x": False}
    parser = binance()
    message = {"e": "kline", "E": 1, "s": "BTCUSDT", "k": candle}
    assert parser.receive_frame(combined("btcusdt@kline_1m", message), 9) == []
    candle["x"] = True
    (bar,) = parser.receive_frame(combined("btcusdt@kline_1m", message), 9)
    assert bar == Bar(120_000 * MS, 9, SPOT, 60_000 * MS, 1.0, 3.0, 0.5, 2.0, 7.0)


def test_mark_index_and_funding_are_published_series() -> None:
    message = {"e": "markPriceUpdate", "E": 5, "s": "BTCUSDT", "p": "9.5", "i": "9.4", "r": "0.0001", "T": 99}
    made = binance("binance_usdm").receive_frame(combined("btcusdt@markPrice@1s", message), 9)
    assert made == [
        Observation(5 * MS, 9, f"mark_px:{USDM}", 9.5, 5 * MS),
        Observation(5 * MS, 9, f"index_px:{USDM}", 9.4, 5 * MS),
        Observation(5 * MS, 9, f"funding_rate:{USDM}", 0.0001, 99 * MS),
    ]
    message["r"], message["T"] = "", 0  # a dated future pays none
    assert len(binance("binance_usdm").receive_frame(combined("btcusdt@markPrice", message), 9)) == 2


# --- books ----------------------------------------------------------------------------------------------------------


def test_a_book_begins_with_the_snapshot_and_what_waited_for_it() -> None:
    """Changes that the snapshot has are left out, later ones are in it, and time is that of the last of them."""
    parser = binance()
    for first, last, level in (
        (10, 12, ("bid", "99.0", "7")),
        (13, 15, ("bid", "100.10", "0")),
        (16, 16, ("ask", "100.20", "9")),
    ):
        assert parser.receive_frame(depth(first, last, level), 1) == []
    assert parser.snapshots_wanted == {"BTCUSDT"}
    (book,) = parser.receive_answer(URL, snapshot(12, BIDS, ASKS), 5)
    assert book == BookSnapshot(1_700_000_000_123 * MS, 5, SPOT, ((100.0, 4.0),), ((100.2, 9.0), (100.3, 1.0)))
    assert not parser.snapshots_wanted
    (delta,) = parser.receive_frame(depth(17, 18, ("bid", "100.15", "2"), ("ask", "100.30", "0")), 6)
    assert delta == BookDelta(1_700_000_000_123 * MS, 6, SPOT, ((1, 100.15, 2.0), (-1, 100.3, 0.0)))


@pytest.mark.fault("C5")
@pytest.mark.parametrize("venue", ["binance_spot", "binance_usdm"])
def test_a_hole_in_the_ids_is_a_gap_and_the_next_snapshot_brings_the_book_back(venue: str) -> None:
    futures = venue == "binance_usdm"
    parser = synced(binance(venue), previous=15 if futures else None)
    (gap,) = parser.receive_frame(depth(25, 26, ("bid", "100.0", "5"), previous=23 if futures else None), 9)
    assert gap == Gap(9, 9, venue, f"BTC/USDT@{venue}", 21, 25)
    assert parser.snapshots_wanted == {"BTCUSDT"}
    # Nothing is told of a book that is not believed; an answer of before the hole does not heal it.
    assert parser.receive_frame(depth(27, 27, previous=26 if futures else None), 10) == []
    assert parser.receive_answer(URL, snapshot(20, BIDS, ASKS), 11) == []
    assert parser.snapshots_wanted == {"BTCUSDT"}
    (book,) = parser.receive_answer(URL, snapshot(26, BIDS, ASKS), 12)
    assert isinstance(book, BookSnapshot)
    assert len(parser.receive_frame(depth(28, 28, previous=27 if futures else None), 13)) == 1


def test_an_overlap_is_applied_on_spot_and_a_gap_on_futures() -> None:
    """Spot's numbers say what a message covers; futures' say only which message it follows."""
    assert [type(e) for e in synced(binance()).receive_frame(depth(19, 22), 9)] == [BookDelta]
    parser = synced(binance("binance_usdm"), previous=15)
    assert [type(e) for e in parser.receive_frame(depth(19, 22, previous=18), 9)] == [BookDelta]  # the first behind it
    assert [type(e) for e in parser.receive_frame(depth(23, 25, previous=21), 9)] == [Gap]


def test_a_futures_snapshot_in_a_hole_between_two_messages_lacks_nothing() -> None:
    parser = synced(binance("binance_usdm"), last=20, previous=15)
    (book,) = parser.receive_answer(URL, snapshot(23, BIDS, ASKS), 8)
    assert isinstance(book, BookSnapshot)
    assert [type(e) for e in parser.receive_frame(depth(26, 28, previous=20), 9)] == [BookDelta]


def test_old_changes_are_ignored_until_they_do_not_end() -> None:
    """The venue told something twice; but a book to which everything is old has a wrong number."""
    parser = synced(binance())
    for _ in range(100):
        assert parser.receive_frame(depth(18, 19, ("bid", "100.0", "5")), 9) == []
    assert [type(e) for e in parser.receive_frame(depth(18, 19), 9)] == [Gap]
    assert parser.counters.out_of_order == 100


def test_a_failed_request_is_made_again_and_a_book_may_be_given_up() -> None:
    parser = binance()
    parser.receive_frame(depth(10, 12), 1)
    parser.snapshots_wanted.clear()  # as whoever asks does
    parser.receive_frame(depth(13, 13), 1)
    assert not parser.snapshots_wanted
    parser.ask_again("BTCUSDT")
    assert parser.snapshots_wanted == {"BTCUSDT"}
    parser = synced(binance())
    assert parser.forget_book("BTCUSDT", 9) == [Gap(9, 9, "binance_spot", SPOT, 0, 0)]
    assert parser.receive_frame(depth(21, 21), 9) == []
    assert parser.snapshots_wanted == {"BTCUSDT"}


def test_books_of_a_few_levels_come_whole_in_each_venues_form() -> None:
    spot = combined("btcusdt@depth5@100ms", {"lastUpdateId": 9, "bids": BIDS, "asks": ASKS})
    expected = (((100.1, 1.0), (100.0, 4.0)), ((100.2, 3.0), (100.3, 1.0)))
    assert binance().receive_frame(spot, 9) == [BookSnapshot(9, 9, SPOT, *expected)]
    message = {"e": "depthUpdate", "E": 6, "T": 5, "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, "b": BIDS, "a": ASKS}
    futures = binance("binance_usdm").receive_frame(combined("btcusdt@depth5@100ms", message), 9)
    assert futures == [BookSnapshot(5 * MS, 9, USDM, *expected)]


def test_a_connection_of_one_stream_does_not_wrap_its_messages() -> None:
    def bare(frame: bytes) -> bytes:
        return bytes(msgspec.json.decode(frame, type=dict[str, msgspec.Raw])["data"])

    assert len(binance().receive_frame(bare(book_ticker()), 9)) == 1
    assert len(binance().receive_frame(bare(trade()), 9)) == 1
    (book,) = binance(raw="btcusdt@depth5").receive_frame(snapshot(9, BIDS, ASKS), 9)
    assert isinstance(book, BookSnapshot)


def test_members_in_another_order_are_read_the_long_way() -> None:
    frame = compact(
        {
            "data": {"T": 5, "m": True, "q": "1", "p": "2", "t": 9, "s": "BTCUSDT", "e": "trade"},
            "stream": "btcusdt@trade",
        }
    )
    assert binance().receive_frame(frame, 9) == [Trade(5 * MS, 9, SPOT, 2.0, 1.0, -1, "9")]


# --- confirmations --------------------------------------------------------------------------------------------------


def test_the_stream_is_up_when_every_request_is_acknowledged() -> None:
    """150 streams make two requests; the answers come in any order, and a new connection begins anew."""
    wanted = [f"coin{i}usdt@bookTicker" for i in range(150)]
    parser = binance("binance_spot", *wanted)
    sent = [msgspec.json.decode(message) for message in parser.subscriptions()]
    assert [(each["method"], len(each["params"])) for each in sent] == [("SUBSCRIBE", 100), ("SUBSCRIBE", 50)]
    assert sorted(sent[0]["params"] + sent[1]["params"]) == sorted(wanted)
    assert parser.receive_frame(compact({"result": None, "id": sent[1]["id"]}), 5) == []
    assert parser.receive_frame(compact({"result": None, "id": sent[0]["id"]}), 6) == [
        FeedUp(6, 6, "binance_spot", "market")
    ]
    parser.reset()
    assert not parser.up
    parser.subscriptions()
    assert parser.receive_frame(compact({"result": wanted, "id": 3}), 7) == [FeedUp(7, 7, "binance_spot", "market")]


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": 2, "msg": "Invalid request: unknown variant"}, "id": 1},
        {"code": 2, "msg": "Invalid request: unknown variant", "id": 1},
    ],
)
def test_a_refused_request_is_told_in_the_venues_words(answer: dict[str, Any]) -> None:
    parser = binance("binance_spot", "btcusdt@trade")
    parser.subscriptions()
    assert parser.receive_frame(compact(answer), 5) == []
    assert parser.last_error == "Invalid request: unknown variant (code 2)"
    assert parser.counters.venue_errors == 1
    assert not parser.up


def test_a_venue_that_is_about_to_close_says_so() -> None:
    parser = binance()
    parser.receive_frame(combined("x", {"e": "serverShutdown", "E": 1}), 5)
    assert parser.ends_soon
    parser.reset()
    assert not parser.ends_soon


def test_what_is_unknown_is_counted_and_shown() -> None:
    parser = binance()
    parser.receive_frame(combined("btcusdt@new", {"e": "somethingNew", "s": "BTCUSDT"}), 5)
    assert parser.counters.unknown_message == 1
    assert "somethingNew" in parser.last_unknown
    parser.receive_frame(book_ticker().replace(b"BTCUSDT", b"ETHUSDT"), 5)
    assert parser.counters.unknown_product == 1
    parser.receive_answer("https://host/api/v3/time", b"{}", 5)
    assert parser.counters.unknown_message == 2
    with pytest.raises(ValueError, match="expected binance_spot or binance_usdm"):
        BinanceMarketProtocol("binance", {})
