"""``engine.runtime.market_rows``: events as rows, and back again through the catalogue."""

from __future__ import annotations

from math import isnan, nan
from pathlib import Path

from engine.data.catalogue import Catalogue, Source
from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from engine.runtime.market_rows import TIE_NS, MarketRecord, MarketRows, ReceiptOrder
from tests.support.stored import T0

BTC, ETH = "BTC/USD@coinbase", "ETH/USD@coinbase"
HOUR = 3_600 * 10**9


def stored(root: Path, events: list[MarketRecord], *, invented: bool = False) -> Catalogue:
    rows = MarketRows(invented=invented)
    for event in events:
        rows.add(event)
    assert rows.rows == len(events)
    catalogue = Catalogue(root)
    with catalogue.batch(Source("session")) as batch:
        for target, table in rows.tables():
            batch.writer(*target[:4], instrument=target.instrument).write(table)
    assert rows.rows == 0
    catalogue.refresh()
    return catalogue


def test_every_market_event_comes_back_from_its_rows(tmp_path: Path) -> None:
    """Quotes, trades with and without a side and an id, a book and its changes, of two instruments: equal events in
    the order of arrival."""
    events: list[MarketRecord] = [
        BookSnapshot(T0, T0 + 5, BTC, ((100.0, 1.0), (99.5, 2.0)), ((100.5, 3.0),)),
        Quote(T0 + 1, T0 + 6, ETH, 10.0, 1.0, 10.5, 2.0),
        BookDelta(T0 + 2, T0 + 7, BTC, ((1, 99.5, 0.0), (-1, 100.5, 4.0))),
        Trade(T0 + 3, T0 + 8, BTC, 100.5, 0.25, 1, "t-1"),
        Trade(T0 + 3, T0 + 9, ETH, 10.5, 0.5, -1, ""),
        Trade(T0 + 3, T0 + 10, ETH, 10.5, 0.5, 0, "t-2"),
        BookDelta(T0 + 4, T0 + 11, BTC, ((-1, 101.0, 4.0),)),
    ]
    assert list(stored(tmp_path / "c", events).events()) == events


def test_a_bar_is_stored_by_its_start_and_comes_back_at_its_end(tmp_path: Path) -> None:
    """Events have the end, tables the start; hours and minutes are series of their own."""
    events: list[MarketRecord] = [
        Bar(T0 + HOUR, T0 + 9 * HOUR, BTC, HOUR, 1.0, 3.0, 0.5, 2.0, 7.0),
        Bar(T0 + HOUR // 60, T0 + 9 * HOUR, BTC, HOUR // 60, 1.0, 3.0, 0.5, 2.0, 7.0),
    ]
    catalogue = stored(tmp_path / "c", events)
    assert {(part.interval_ns, part.first_ns) for part in catalogue.parts()} == {(HOUR, T0), (HOUR // 60, T0)}
    (bar,) = catalogue.events(interval_ns=HOUR)
    assert bar == Bar(T0 + HOUR, T0 + HOUR, BTC, HOUR, 1.0, 3.0, 0.5, 2.0, 7.0)


def test_sizes_that_a_feed_does_not_give_are_not_stored(tmp_path: Path) -> None:
    """NaN in the event, no column in the file, NaN again in the event that is read."""
    catalogue = stored(tmp_path / "c", [Quote(T0, T0, "EUR/USD@oanda", 1.1, nan, 1.2, nan)])
    (batch,) = catalogue.read("quotes")
    assert batch.column("bid_size").null_count == 1
    (quote,) = catalogue.events()
    assert isinstance(quote, Quote)
    assert isnan(quote.bid_qty)
    assert quote.ask_px == 1.2


def test_what_the_built_in_exchange_invents_has_a_venue_of_its_own(tmp_path: Path) -> None:
    """A model that is trained on the real venue's prices never meets it."""
    catalogue = stored(tmp_path / "c", [Quote(T0, T0, BTC, 1.0, 1.0, 2.0, 1.0)], invented=True)
    (part,) = catalogue.parts()
    assert (part.venue, part.instrument) == ("coinbase_sandbox", "BTC/USD@coinbase_sandbox")
    assert catalogue.parts(venue="coinbase") == []


def test_an_empty_book_makes_no_row(tmp_path: Path) -> None:
    """A snapshot without levels, which some venues send at night."""
    catalogue = stored(tmp_path / "c", [BookSnapshot(T0, T0, BTC, (), ()), Quote(T0, T0, BTC, 1.0, 1.0, 2.0, 1.0)])
    assert [part.kind for part in catalogue.parts()] == ["quotes"]


def test_the_order_of_one_read_from_the_socket_outlives_storing(tmp_path: Path) -> None:
    """Trades, the quote they led to and two changes of a book have one receive time: read back they come in the order
    in which the session had them, and no two changes became one."""
    recv = T0 + 5
    events: list[MarketRecord] = [
        Trade(T0, recv, BTC, 100.0, 1.0, 1, "t-1"),
        Trade(T0, recv, BTC, 100.0, 2.0, 1, "t-2"),
        Quote(T0, recv, ETH, 10.0, 1.0, 10.5, 1.0),
        Quote(T0, recv, BTC, 100.0, 1.0, 100.5, 1.0),
        Trade(T0, recv, BTC, 100.5, 3.0, 1, "t-3"),
        BookDelta(T0, recv, ETH, ((1, 9.5, 4.0),)),
        BookDelta(T0, recv, ETH, ((1, 9.5, 0.0),)),
        Quote(T0, recv, BTC, 100.5, 1.0, 101.0, 1.0),
        Quote(T0, recv + 1, ETH, 10.5, 1.0, 11.0, 1.0),
    ]
    order = ReceiptOrder()
    placed = [order.placed(event) for event in events]
    moved = [event.ts_recv_ns - recv for event in placed]
    assert moved == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    assert [event.ts_event_ns for event in placed] == [T0] * 9
    assert list(stored(tmp_path / "c", placed).events()) == placed


def test_a_clock_that_was_set_back_keeps_the_times_it_gave() -> None:
    """Only what is nearly at once is moved; a bar, which is stored without a receive time, moves nothing."""
    order = ReceiptOrder(after_ns=T0)
    first = Quote(T0, T0, BTC, 1.0, 1.0, 2.0, 1.0)
    assert order.placed(first).ts_recv_ns == T0 + 1
    bar = Bar(T0, T0, BTC, HOUR, 1.0, 1.0, 1.0, 1.0, 1.0)
    assert order.placed(bar) is bar
    earlier = Trade(T0, T0 - TIE_NS, BTC, 1.0, 1.0, 1, "t")
    assert order.placed(earlier) is earlier
    assert order.placed(first) is first
