"""What a signal is worth: entered when its answer is there, left after its horizon, and no number that is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.labels.returns import log_return
from models.labels.volatility import parkinson_variance, realised_variance
from models.observer.maturing import Maturing, Reading


class Rows:
    """A row every second, as far as it is looked at."""

    begun, ts_recv_ns = 0, 0

    def __init__(self, count: int) -> None:
        self.count = count

    def recv_ns(self, row: int) -> int:
        return row * 1_000_000_000

    def px(self, row: int) -> float:
        return 100.0 + row


def maturing(rows: Any) -> Maturing:
    return Maturing(Reading(2, buy=0.6, sell=0.4), rows, fee_bps=0.0)


@pytest.mark.parametrize(("from_ns", "entry_px"), [(0, 100.0), (1_500_000, 102.0)])
def test_a_signal_is_entered_at_the_first_price_after_its_answer(from_ns: int, entry_px: float) -> None:
    """Prices a millisecond apart, each 1 higher; an answer that the worker takes 1.5 ms for misses the first two."""
    rows = Rows(5)
    made = maturing(rows)
    made.predicted(4, (0.9,), 10, from_ns=from_ns)
    for number in range(3):
        px = 100.0 + number
        assert made.on_prices(px, px, 11 + number, number * 1_000_000) is None
    rows.count = 7
    assert made.on_prices(110.0, 110.0, 20, 9_000_000) == (
        4_000_000_000,
        pytest.approx(1e4 * (110.0 - entry_px) / entry_px),
    )


@pytest.mark.parametrize("p", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_no_forecast(p: float) -> None:
    """Evidence that it came into would be none for good, and could not be kept."""
    rows = Rows(5)
    made = maturing(rows)
    made.predicted(4, (p,), 10)
    rows.count = 8
    assert made.matured() == []
    assert made.on_prices(1.0, 1.0, 11, 1) is None


class Closes(Rows):
    """The same with all of its closes known."""

    def pxs(self, first: int, last: int) -> np.ndarray:
        return np.array([self.px(row) for row in range(first, last + 1)])


class Ranges(Rows):
    """The same with highest and lowest prices."""

    def __init__(self, highs: np.ndarray, lows: np.ndarray) -> None:
        super().__init__(1)
        self._log_ranges = np.log(highs / lows)

    def log_ranges(self, first: int, last: int) -> np.ndarray:
        return self._log_ranges[first : last + 1]


def test_a_variance_is_held_against_that_of_the_rows_ahead() -> None:
    """Of the rows behind the one it was made at, as its label is; it waits until the last of them is there."""
    rows = Closes(5)
    made = Maturing(Reading(2, direction=None, variance=1, variance_rows=3), rows, fee_bps=0.0)
    made.predicted(4, (0.5, 2e-4), 10)
    rows.count = 7
    assert made.matured_variances() == []
    rows.count = 8
    closes = np.array([104.0, 105.0, 106.0, 107.0])
    label = realised_variance(closes, 3).values[0]
    assert made.matured_variances() == [(4, 2e-4, pytest.approx(label))]
    assert made.matured_variances() == []


def test_a_variance_by_ranges_is_held_against_the_ranges_of_the_rows_ahead() -> None:
    """One of Parkinson's was held against nothing.  A row without a range has no variance, and none across it."""
    highs, lows = np.array([101.0, 108.0, 106.0, 107.5, 103.0]), np.array([100.0, 104.0, 105.0, 103.0, 102.0])
    rows = Ranges(highs, lows)
    reading = Reading(2, direction=None, variance=0, variance_rows=3, variance_kind="parkinson_variance")
    made = Maturing(reading, rows, fee_bps=0.0)
    made.predicted(0, (2e-4,), 10)
    made.predicted(1, (2e-4,), 11)
    rows.count = 5
    labels = parkinson_variance(highs, lows, 3).values[:2]
    assert made.matured_variances() == [(0, 2e-4, pytest.approx(labels[0])), (1, 2e-4, pytest.approx(labels[1]))]
    unknown = Ranges(highs, np.array([100.0, 104.0, np.nan, 103.0, 102.0]))
    made = Maturing(reading, unknown, fee_bps=0.0)
    made.predicted(0, (2e-4,), 10)
    unknown.count = 5
    assert made.matured_variances() == []


def test_a_variance_over_a_break_of_the_feed_is_not_known() -> None:
    rows = Closes(5)
    made = Maturing(Reading(2, direction=None, variance=0, variance_rows=2), rows, fee_bps=0.0)
    made.predicted(4, (2e-4,), 10)
    rows.count, rows.begun = 8, 6
    assert made.matured_variances() == []


def test_a_return_is_held_against_that_of_the_rows_ahead() -> None:
    """As its label is; no number is none, and over a break of the feed nothing is known."""
    rows = Rows(5)
    made = Maturing(Reading(2, direction=None, number=1), rows, fee_bps=0.0)
    made.predicted(3, (0.5, float("nan")), 9)
    made.predicted(4, (0.5, 3e-4), 10)
    rows.count = 6
    assert made.matured() == []
    rows.count = 7
    label = log_return(np.array([104.0, 105.0, 106.0]), 2).values[0]
    (one,) = made.matured()
    assert (one.row, one.said, one.outcome) == (4, 3e-4, pytest.approx(label))
    assert made.matured() == []
    made.predicted(6, (0.5, 3e-4), 11)
    rows.count, rows.begun = 12, 8
    assert made.matured() == []


class Steps(Rows):
    """A price that moves as it is told, a row a second."""

    def __init__(self, *pxs: float) -> None:
        super().__init__(0)
        self._pxs = pxs

    def px(self, row: int) -> float:
        return self._pxs[row]


def test_a_price_that_has_not_moved_is_an_outcome_of_a_return_and_none_of_a_direction() -> None:
    for reading, outcomes in ((Reading(1), [1.0]), (Reading(1, None, number=0), [0.0, pytest.approx(np.log(1.01))])):
        rows = Steps(100.0, 100.0, 101.0)
        made = Maturing(reading, rows, fee_bps=0.0)
        for row in range(2):
            rows.count = row + 1
            made.predicted(row, (0.5,), row)
        rows.count = 3
        assert [one.outcome for one in made.matured()] == outcomes


def test_a_return_is_held_against_the_scale_that_was_known_when_it_was_said() -> None:
    """A hundred moves of 1 bp, then one of 50 that nobody could know of."""
    steps = np.full(140, 1e-4)
    steps[120] = 50e-4
    rows = Steps(*(100.0 * np.exp(np.cumsum(steps))).tolist())
    made = Maturing(Reading(1, None, number=0), rows, fee_bps=0.0)
    found = []
    for row in range(130):
        rows.count = row + 1
        found += made.matured()
        made.predicted(row, (1e-4,), row)
    scales = {one.row: one.scale for one in found}
    assert np.isnan(scales[50])
    assert scales[119] == pytest.approx(1e-4)
    assert scales[121] > 3e-4
    assert np.isnan(found[50].loss_of(1e-4))
    (jump,) = [one for one in found if one.row == 119]
    assert jump.loss_of(1e-4) == pytest.approx(0.5 * (3.0 - 1.0) ** 2)


@pytest.mark.parametrize(
    ("reading", "said", "spread_bps", "side"),
    [
        (Reading(2, None, 12e-4, -8e-4, number=0), 12e-4, 0.0, 1),
        (Reading(2, None, 12e-4, -8e-4, number=0), 11e-4, 0.0, 0),
        (Reading(2, None, 12e-4, -8e-4, number=0), -8e-4, float("nan"), -1),
        (Reading(2, None, number=0), 9.1e-4, 3.0, 1),
        (Reading(2, None, number=0), 8.9e-4, 3.0, 0),
        (Reading(2, None, number=0), -9.1e-4, 3.0, -1),
        (Reading(2, None, number=0), 9.1e-4, float("nan"), 0),
        (Reading(2, None, number=0), 0.0, -6.0, 0),
    ],
)
def test_a_return_is_a_signal_beyond_its_thresholds_else_beyond_what_a_round_trip_costs(
    reading: Reading, said: float, spread_bps: float, side: int
) -> None:
    """Fees of 3 bps each way; without a price that can be believed nobody knows the cost."""
    rows: Any = Rows(1)
    made = Maturing(reading, rows, fee_bps=3.0)
    made.predicted(0, (said,), 10, spread_bps=spread_bps)
    assert made.on_prices(100.0, 100.0, 11, 1_000_000) is None
    rows.count = 3
    ended = made.on_prices(101.0, 101.0, 12, 3_000_000_000)
    assert ended == (None if side == 0 else (0, pytest.approx(side * 100.0 - 6.0)))
