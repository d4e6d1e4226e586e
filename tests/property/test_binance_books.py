"""Binance's books over streams that lose, repeat and swap changes, with snapshots that come late: a book that is told
is the venue's at the number that it has, or it is not believed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events import BookDelta, BookSnapshot, Gap, InputEvent
from tests.support.streams import binance, depth, snapshot

URL = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000"
SYMBOL = "BTCUSDT"
Book = dict[tuple[int, float], float]
change = st.tuples(st.sampled_from([1, -1]), st.integers(0, 4), st.integers(0, 3), st.integers(1, 3), st.integers(0, 2))
"""Side, level, size (0 removes it), ids that the change covers, ids before it that are of other symbols."""
act = st.one_of(
    st.tuples(st.just("tell"), change),
    st.tuples(st.just("tell"), change),
    st.tuples(st.sampled_from(["lose", "twice", "swap", "hold"]), change),
    st.tuples(st.just("answer"), st.integers(0, 3)),
)


class Venue:
    """The true book at each id at which a message ended."""

    def __init__(self, *, futures: bool) -> None:
        self.futures = futures
        self.book: Book = {}
        self.last = 100
        self.at: dict[int, Book] = {100: {}}

    def change(self, made: tuple[int, int, int, int, int]) -> bytes:
        side, level, size, covers, others = made
        px = 100.0 - level if side > 0 else 101.0 + level
        before, first = self.last, self.last + 1 + (others if self.futures else 0)
        self.last = first + covers - 1
        self.book = {**self.book, (side, px): float(size)}
        if not size:
            del self.book[side, px]
        self.at[self.last] = self.book
        told = ("bid" if side > 0 else "ask", f"{px}", f"{size}")
        return depth(first, self.last, told, previous=before if self.futures else None)

    def answer(self, number: int) -> bytes:
        """The snapshot at a message so many before the newest."""
        last = list(self.at)[-1 - min(number, len(self.at) - 1)]
        sides: dict[int, list[Any]] = {1: [], -1: []}
        for (side, px), size in self.at[last].items():
            sides[side].append([f"{px}", f"{size}"])
        return snapshot(last, sides[1], sides[-1])


def follow(book: Book | None, events: list[InputEvent]) -> Book | None:
    """What the core keeps: nothing behind a gap, until a snapshot."""
    for event in events:
        if type(event) is Gap:
            book = None
        elif type(event) is BookSnapshot:
            book = {(1, px): qty for px, qty in event.bids} | {(-1, px): qty for px, qty in event.asks}
        elif type(event) is BookDelta:
            assert book is not None, "a change of a book that nobody has"
            for side, px, qty in event.changes:
                book[side, px] = qty
                if not qty:
                    del book[side, px]
    return book


@pytest.mark.fault("C5")
@pytest.mark.parametrize("name", ["binance_spot", "binance_usdm"])
@given(acts=st.lists(act, max_size=40))
def test_a_book_that_is_told_is_the_venues(name: str, acts: list[tuple[str, Any]]) -> None:
    venue, parser = Venue(futures=name == "binance_usdm"), binance(name)
    book: Book | None = None
    held = b""
    for what, given_ in acts:
        frames: list[bytes] = []
        if what == "answer":
            if SYMBOL in parser.snapshots_wanted:
                book = follow(book, list(parser.receive_answer(URL, venue.answer(given_), 2)))
        else:
            frame = venue.change(given_)
            frames = {"tell": [frame], "lose": [], "twice": [frame, frame], "hold": [], "swap": [frame, held]}[what]
            held = frame if what == "hold" else b""
        for frame in frames:
            if frame:
                book = follow(book, list(parser.receive_frame(frame, 1)))
        known = parser._books[SYMBOL].last_id if SYMBOL in parser._books else -1
        assert (book is None) == (known < 0)
        if book is not None:
            assert book == venue.at[known]
    # However it went, the next snapshot behind what was lost brings it back.
    for _ in range(2):
        book = follow(book, list(parser.receive_frame(venue.change((1, 0, 1, 1, 0)), 1)))
        if SYMBOL in parser.snapshots_wanted:
            book = follow(book, list(parser.receive_answer(URL, venue.answer(0), 2)))
    assert book == venue.book
