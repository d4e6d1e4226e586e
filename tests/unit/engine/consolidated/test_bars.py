"""Bars of a price that is a state: what opens, closes and does not come to be."""

from __future__ import annotations

import pytest

from engine.consolidated import BarCutter
from engine.events import Bar
from tests.support.consolidated import NAME

S = 1_000_000_000
START = 1_700_000_000 * S


@pytest.fixture
def cutter() -> BarCutter:
    """One-second bars; the first, whose beginning nobody saw, is over."""
    made = BarCutter(NAME, S)
    made.finished = []
    made.price(100.0, START + S // 2)
    made.advance(START + S)
    assert made.finished == []
    return made


def shapes(cutter: BarCutter) -> list[tuple[int, float, float, float, float, float]]:
    return [
        ((bar.ts_event_ns - START) // S, bar.open_px, bar.high_px, bar.low_px, bar.close_px, bar.volume_qty)
        for bar in cutter.finished or ()
    ]


def test_a_bar_is_made_of_the_mids_and_the_volume_told_in_it(cutter: BarCutter) -> None:
    """Four mids and two trades within the second; the boundary belongs to the next."""
    for at, mid_px in ((1, 101.0), (3, 105.0), (5, 99.0), (7, 102.0)):
        cutter.price(mid_px, START + S + at * S // 10)
    cutter.trade(0.5, START + S + 4 * S // 10)
    cutter.trade(0.25, START + S + 8 * S // 10)
    cutter.price(200.0, START + 2 * S)
    assert shapes(cutter) == [(2, 101.0, 105.0, 99.0, 102.0, 0.75)]


def test_a_price_in_force_makes_flat_bars(cutter: BarCutter) -> None:
    """Three seconds without a word: three bars at the last close; a trade in one of them is its volume."""
    cutter.trade(2.0, START + 2 * S + 1)
    cutter.advance(START + 4 * S)
    assert shapes(cutter) == [
        (2, 100.0, 100.0, 100.0, 100.0, 0.0),
        (3, 100.0, 100.0, 100.0, 100.0, 2.0),
        (4, 100.0, 100.0, 100.0, 100.0, 0.0),
    ]


def test_a_price_that_nobody_knows_makes_a_hole(cutter: BarCutter) -> None:
    """Lost in the second bar after a mid, back three seconds later: that one bar, none between, then the next."""
    cutter.price(101.0, START + S + 1)
    cutter.lose(START + S + 2)
    cutter.advance(START + 3 * S)
    cutter.price(110.0, START + 5 * S)
    cutter.advance(START + 6 * S)
    assert [shape[0] for shape in shapes(cutter)] == [2, 6]


def test_the_last_bar_is_kept_without_a_list() -> None:
    """As in a session: ``last`` follows, nothing piles up."""
    made = BarCutter(NAME, S)
    made.price(100.0, START)
    made.price(101.0, START + S)
    made.price(102.0, START + 2 * S)
    assert made.finished is None
    assert made.last == Bar(START + 2 * S, START + 2 * S, NAME, S, 101.0, 101.0, 101.0, 101.0, 0.0)
