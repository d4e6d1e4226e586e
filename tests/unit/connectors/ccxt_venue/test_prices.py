"""Prices, trades and books of the library as market events."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.ccxt_venue.prices import PriceReader
from engine.events import BookDelta, BookSnapshot, Gap, Quote, Trade

BTC = "BTC/USD@ccxt_kraken"
T_MS = 1_795_183_387_000


def reader(levels: int = 0) -> PriceReader:
    return PriceReader("ccxt_kraken", BTC, levels=levels)


def row(bid: Any = 100.0, ask: Any = 100.1, at: Any = T_MS, **more: Any) -> dict[str, Any]:
    return {"bid": bid, "bidVolume": 1.0, "ask": ask, "askVolume": 2.0, "timestamp": at, **more}


def trade(number: int, **more: Any) -> dict[str, Any]:
    return {"id": str(number), "price": 100.0, "amount": 0.1, "side": "sell", "timestamp": T_MS + number, **more}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["bid", "ask", "bids", "asks", "id", "price"]), inner)
    ),
    max_leaves=6,
)


@given(JSON)
def test_nothing_that_an_exchange_sends_raises(found: Any) -> None:
    """As a ticker, a book, trades; alone and among good ones."""
    one = reader(5)
    one.ticker(found, 1)
    one.book(found, 1)
    one.book({"bids": found, "asks": found}, 1)
    one.trades(found, 1)
    one.trades([trade(1), found], 1)


def test_a_price_is_told_when_it_changed_and_never_backwards() -> None:
    """The same, an older one, one without prices; a new connection begins anew."""
    one = reader()
    (first,) = one.ticker(row(), 7)
    assert isinstance(first, Quote)
    assert (first.bid_px, first.ask_qty, first.ts_event_ns, first.ts_recv_ns) == (100.0, 2.0, T_MS * 1_000_000, 7)
    assert one.ticker(row(), 8) == []
    assert one.ticker(row(bid=99.0, at=T_MS - 1), 9) == []
    assert one.stale == 1
    assert one.ticker(row(bid=None), 9) == []
    assert one.unreadable == 1
    assert len(one.ticker(row(bid=99.0, at=None), 10)) == 1
    one.restart()
    assert len(one.ticker(row(bid=98.0, at=T_MS - 5), 11)) == 1


def test_a_book_is_a_snapshot_and_then_what_differs() -> None:
    """The library changes the same object: levels that moved, went and came, as absolute sizes."""
    one = reader(levels=2)
    book = {"bids": [[100.0, 1.0], [99.0, 2.0], [98.0, 3.0]], "asks": [[101.0, 1.0]], "timestamp": T_MS, "nonce": 5}
    snapshot, quote = one.book(book, 1)
    assert snapshot == BookSnapshot(T_MS * 1_000_000, 1, BTC, ((100.0, 1.0), (99.0, 2.0)), ((101.0, 1.0),))
    assert isinstance(quote, Quote)
    book["bids"].pop(0)  # type: ignore[attr-defined]
    book["nonce"] = 6
    delta, quote = one.book(book, 2)
    assert isinstance(delta, BookDelta)
    assert set(delta.changes) == {(1, 100.0, 0.0), (1, 98.0, 3.0)}
    assert isinstance(quote, Quote)
    assert quote.bid_px == 99.0
    assert one.book(book, 3) == []
    assert one.book(book | {"nonce": 4, "bids": []}, 4) == []
    assert one.stale == 1
    assert one.present(9)[0] == BookSnapshot(9, 9, BTC, ((99.0, 2.0), (98.0, 3.0)), ((101.0, 1.0),))


def test_each_trade_is_told_once_oldest_first_and_history_is_not() -> None:
    """A first page of history, then overlapping pages, unsorted."""
    one = reader()
    assert one.trades([trade(1), trade(2)], 1, since_ns=(T_MS + 3) * 1_000_000) == []
    told = one.trades([trade(4), trade(2), trade(3)], 2, since_ns=(T_MS + 3) * 1_000_000)
    assert [each.trade_id for each in told if isinstance(each, Trade)] == ["3", "4"]
    assert isinstance(told[0], Trade)
    assert told[0].aggressor == -1
    assert one.trades([trade(3), trade(4)], 3) == []
    assert one.knows("4")


def test_a_page_that_does_not_reach_the_last_one_is_a_gap_and_a_stream_is_not() -> None:
    """Polling lost what came between two pages; a stream tells only news."""
    one = reader()
    one.trades([trade(1), trade(2)], 1)
    told = one.trades([trade(8), trade(9)], 2)
    assert isinstance(told[0], Gap)
    assert len(told) == 3
    assert one.gaps == 1
    streamed = one.updates([trade(20), trade(21)], 3)
    assert [type(each) for each in streamed] == [Trade, Trade]
    assert one.gaps == 1
    flood = one.updates([trade(100 + number) for number in range(1000)], 4)
    assert isinstance(flood[0], Gap), "the cache was full: older ones may be gone"
    assert len(flood) == 1001
    assert one.gaps == 2


def test_what_is_remembered_of_trades_has_a_bound_and_reaches_back_over_a_page() -> None:
    """The library's cache and a page of a listing, and no more; a smaller cache is full, and a gap, sooner."""
    one = PriceReader("v", BTC, cached=200)
    for number in range(5_000):
        one.updates([trade(number)], number)
    assert one.remembered == 1_200
    assert one.knows("4000")
    assert not one.knows("3000")
    flood = one.updates([trade(10_000 + number) for number in range(200)], 4)
    assert isinstance(flood[0], Gap)
