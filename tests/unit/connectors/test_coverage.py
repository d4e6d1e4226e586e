"""What was fetched is known span by span, from marks alone, and only as long as the catalogue agrees."""

from __future__ import annotations

import random

import pytest

from connectors.coverage import Coverage, Span

FOLDER = "venue=coinbase/instrument=BTC-USD/kind=trades"


class Store:
    """Marks as the catalogue keeps them: changed only if they are what was expected."""

    def __init__(self) -> None:
        self.marks: dict[str, int] = {}

    def mark(self, name: str, value: int, *, expected: int | None) -> None:
        assert self.marks.get(name) == expected, "another process moved it meanwhile"
        self.marks[name] = value

    def add(self, coverage: Coverage, *spans: tuple[int, int, int]) -> None:
        for span in spans:
            coverage.claim(self)
            coverage.published(coverage.note(self, *span))

    def coverage(self) -> Coverage:
        return Coverage(FOLDER, self.marks)


def test_what_is_missing_lies_between_the_spans() -> None:
    """Spans at 10-20 and 30-40 of the time line 0-50."""
    store = Store()
    coverage = store.coverage()
    store.add(coverage, (30, 40, 3), (10, 20, 3))
    for each in (coverage, store.coverage()):
        assert each.missing(0, 50) == [(0, 10), (20, 30), (40, 50)]
        assert each.missing(12, 18) == []
        assert each.missing(15, 35) == [(20, 30)]
        assert each.missing(20, 30) == [(20, 30)]
        assert each.missing(40, 50) == [(40, 50)]


def test_a_download_in_order_keeps_one_span() -> None:
    """1,000 neighbours are two marks and the count of batches, whoever reads them next."""
    store = Store()
    coverage = store.coverage()
    for number in range(1_000):
        store.add(coverage, (number, number + 1, 2))
    assert len(store.marks) == 3
    assert store.coverage().spans == {0: Span(0, 1_000, 2_000)}


def test_spans_added_in_any_order_leave_nothing_missing() -> None:
    """100 neighbours, shuffled, each by a process of its own."""
    numbers = list(range(100))
    random.Random(3).shuffle(numbers)
    store = Store()
    for number in numbers:
        coverage = store.coverage()
        assert coverage.missing(number, number + 1) == [(number, number + 1)]
        store.add(coverage, (number, number + 1, 2))
    assert store.coverage().missing(0, 100) == []
    assert sum(span.rows for span in store.coverage().spans.values()) == 200


def test_a_span_whose_rows_are_gone_is_missing_and_can_be_noted_again() -> None:
    """3 rows are left of 5 in the first; more rows than noted are no loss.  The shorter span of the second try, after
    an interruption, replaces what the marks said."""
    store = Store()
    store.add(store.coverage(), (0, 10, 5), (20, 30, 5), (40, 50, 0))
    left = {(0, 10): 3, (20, 30): 6}
    coverage = store.coverage()
    coverage.verify(lambda start, end: left[start, end])
    assert coverage.missing(0, 50) == [(0, 20), (30, 40)]
    store.add(coverage, (0, 4, 2))
    assert store.coverage().missing(0, 20) == [(4, 20)]


def test_series_do_not_mix() -> None:
    """Marks of another instrument, of a longer name that begins alike, and of other parts of the catalogue."""
    store = Store()
    store.marks = {f"fetched {FOLDER}-x 0": 9, "fetched venue=oanda 0": 9, "session abc": 7}
    store.add(store.coverage(), (5, 6, 1))
    assert store.coverage().spans == {5: Span(5, 6, 1)}


def test_a_second_download_of_the_series_is_noticed() -> None:
    """Both read the marks, one publishes: the other's claim fails, even for a span that touches nothing."""
    store = Store()
    ours, other = store.coverage(), store.coverage()
    store.add(other, (0, 10, 1))
    with pytest.raises(AssertionError, match="another process"):
        store.add(ours, (50, 60, 1))
