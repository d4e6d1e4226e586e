"""Best prices and levels."""

from __future__ import annotations

import random

import pytest

from engine import book as module
from engine.book import OrderBook
from engine.events import BookDelta, BookSnapshot, Quote


def test_levels_follow_any_sequence_of_changes() -> None:
    """Random absolute changes against two plain dictionaries sorted afresh each time."""
    rng = random.Random(7)
    book = OrderBook("X")
    book.apply_snapshot(BookSnapshot(1, 1, "X", ((99.0, 1.0), (98.0, 2.0)), ((101.0, 1.0), (102.0, 3.0))))
    bids = {99.0: 1.0, 98.0: 2.0}
    asks = {101.0: 1.0, 102.0: 3.0}
    for step in range(2, 600):
        side = rng.choice((1, -1))
        px = float(rng.randint(90, 99) if side > 0 else rng.randint(101, 110))
        qty = rng.choice((0.0, 0.0, 1.0, 2.5))
        (bids if side > 0 else asks)[px] = qty
        book.apply_delta(BookDelta(step, step, "X", ((side, px, qty),)))
        want_bids = sorted(((p, q) for p, q in bids.items() if q), reverse=True)
        want_asks = sorted((p, q) for p, q in asks.items() if q)
        assert book.levels(1, 5) == want_bids[:5]
        assert book.levels(-1, 100) == want_asks


@pytest.mark.fault("A12")
def test_a_book_whose_levels_pile_up_forgets_the_worst_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that never takes a level away: a side keeps its best ones, by snapshot and by change; a change to one that
    was forgotten is a new one."""
    monkeypatch.setattr(module, "LEVELS_MAX", 5)
    book = OrderBook("X")
    many = [(100.0 - number, 1.0) for number in range(8)], [(101.0 + number, 1.0) for number in range(8)]
    best = book.apply_snapshot(BookSnapshot(1, 1, "X", tuple(many[0]), tuple(many[1])))
    assert (book.levels(1, 100), book.levels(-1, 100)) == (many[0][:5], many[1][:5])
    assert best == Quote(1, 1, "X", 100.0, 1.0, 101.0, 1.0)
    for at in range(2, 50):
        book.apply_delta(BookDelta(at, at, "X", ((1, 100.0 - at, 2.0), (-1, 101.0 + at, 2.0), (1, 93.0, 0.0))))
        assert (len(book.levels(1, 100)), len(book.levels(-1, 100))) == (5, 5)
    book.apply_delta(BookDelta(50, 50, "X", ((1, 100.5, 3.0),)))
    assert book.levels(1, 100) == [(100.5, 3.0), (100.0, 1.0), (99.0, 1.0), (98.0, 2.0), (97.0, 2.0)]


def test_a_delta_gives_a_quote_only_when_the_best_prices_change() -> None:
    """A deep change returns None but refreshes the receive time once a quote was taken."""
    book = OrderBook("X")
    first = book.apply_snapshot(BookSnapshot(1, 1, "X", ((99.0, 1.0), (98.0, 2.0)), ((101.0, 1.0),)))
    assert first == Quote(1, 1, "X", 99.0, 1.0, 101.0, 1.0)
    book.apply_quote(first)
    assert book.apply_delta(BookDelta(2, 2, "X", ((1, 98.0, 5.0),))) is None
    assert book.top.ts_recv_ns == 2
    assert book.apply_delta(BookDelta(3, 3, "X", ((1, 99.0, 0.0),))) == Quote(3, 3, "X", 98.0, 5.0, 101.0, 1.0)


@pytest.mark.fault("C5")
def test_deltas_before_a_snapshot_change_nothing() -> None:
    """A gap invalidates the levels: deltas are ignored until the next snapshot."""
    book = OrderBook("X")
    assert book.apply_delta(BookDelta(1, 1, "X", ((1, 99.0, 1.0),))) is None
    assert book.levels(1, 5) == []
    book.apply_snapshot(BookSnapshot(2, 2, "X", ((99.0, 1.0),), ((101.0, 1.0),)))
    book.invalidate()
    assert book.top.suspect
    assert book.apply_delta(BookDelta(3, 3, "X", ((1, 99.5, 1.0),))) is None
    assert book.levels(1, 5) == []


@pytest.mark.fault("D2")
def test_an_empty_side_makes_the_book_suspect() -> None:
    """Removing the only ask leaves no quote."""
    book = OrderBook("X")
    book.apply_snapshot(BookSnapshot(1, 1, "X", ((99.0, 1.0),), ((101.0, 1.0),)))
    assert book.apply_delta(BookDelta(2, 2, "X", ((-1, 101.0, 0.0),))) is None
    assert book.top.suspect


@pytest.mark.fault("D2")
def test_a_locked_quote_is_marked_crossed() -> None:
    """Bid equal to ask is taken but entries are blocked by the mark."""
    book = OrderBook("X")
    book.apply_quote(Quote(1, 1, "X", 100.0, 1.0, 100.0, 1.0))
    assert book.top.crossed
    book.apply_quote(Quote(2, 2, "X", 100.0, 1.0, 100.5, 1.0))
    assert not book.top.crossed
