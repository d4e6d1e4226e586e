"""The triple barrier against a bar-by-bar walk, and the cases that decide its worth."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from engine.errors import ConfigError
from models.labels.barrier import REACHED, STOPPED, TIMED_OUT, ambiguous, in_ticks, on_grid, triple_barrier

TARGET, STOP = Decimal("0.05"), Decimal("0.02")


def bars(*rows: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Close, high and low of bars given as (high, low, close)."""
    high, low, close = (np.array(column) for column in zip(*rows, strict=True))
    return close, high, low


def label(*rows: tuple[float, float, float]) -> float:
    """Of an entry at 100, with the bars that follow."""
    return float(
        triple_barrier(*bars((100, 100, 100), *rows), target=TARGET, stop=STOP, horizon=len(rows)).labels.values[0]
    )


def test_target_stop_or_time_out_whichever_is_first() -> None:
    """Each outcome, and each order of two of them."""
    quiet = (101.0, 99.0, 100.0)
    assert label(quiet, (105.0, 99.0, 101.0)) == REACHED
    assert label(quiet, (104.99, 98.01, 100.0)) == TIMED_OUT
    assert label(quiet, (101.0, 98.0, 100.0)) == STOPPED
    assert label((101.0, 97.0, 100.0), (120.0, 99.0, 110.0)) == STOPPED
    assert label((120.0, 99.0, 110.0), (101.0, 50.0, 60.0)) == REACHED


def test_a_bar_that_touches_both_was_stopped() -> None:
    """Nobody knows the order within a bar, so that it is the bad one; such bars are counted."""
    assert label((110.0, 90.0, 100.0)) == STOPPED
    close, high, low = bars((100, 100, 100), (110.0, 90.0, 100.0), (100, 97.0, 99.0), (99, 99, 99))
    assert ambiguous(close, high, low, target=TARGET, stop=STOP, horizon=2) == 1


def test_the_entry_bar_itself_decides_nothing() -> None:
    """Its high came before its close."""
    close, high, low = bars((200.0, 10.0, 100.0), (101.0, 99.0, 100.0), (101.0, 99.0, 100.0))
    assert triple_barrier(close, high, low, target=TARGET, stop=STOP, horizon=2).labels.values[0] == TIMED_OUT


def test_the_last_rows_have_no_label_even_where_a_barrier_was_touched() -> None:
    """Of rows with less than a horizon behind them only those that moved would be known."""
    close, high, low = bars((100, 100, 100), (120, 100, 110), (111, 109, 110))
    found = triple_barrier(close, high, low, target=TARGET, stop=STOP, horizon=2)
    assert found.labels.known.tolist() == [True, False, False]
    assert found.labels.last[0] == 2
    assert found.touched.tolist() == [1, -1, -1]


def test_ticks_are_compared_exactly_where_floats_miss() -> None:
    """A high that touches +5 % of 1.15 to the tick: as ticks it does, whatever 1.15 * 1.05 is as a float."""
    close, high, low = (np.array(column) for column in ([1.15, 1.15], [1.15, 1.2075], [1.15, 1.15]))
    tick = Decimal("0.0001")
    exact = triple_barrier(
        in_ticks(close, tick), in_ticks(high, tick), in_ticks(low, tick), target=TARGET, stop=STOP, horizon=1
    )
    assert exact.labels.values[0] == REACHED
    below = in_ticks(high, tick) - 1
    assert (
        triple_barrier(
            in_ticks(close, tick), below, in_ticks(low, tick), target=TARGET, stop=STOP, horizon=1
        ).labels.values[0]
        == TIMED_OUT
    )


def test_adjusted_prices_are_on_no_grid() -> None:
    """25.324999 is no price in cents; 68,000.01 is, to eight decimals as well."""
    assert not on_grid(np.array([25.324999]), Decimal("0.01"))
    assert on_grid(np.array([25.32, 68_000.01]), Decimal("0.01"))
    assert on_grid(np.array([68_000.01, 0.00000123]), Decimal("0.00000001"))
    with pytest.raises(ConfigError, match="no whole numbers of ticks"):
        in_ticks(np.array([25.324999]), Decimal("0.01"))


def test_numbers_that_would_run_over_are_refused() -> None:
    """A barrier of seventeen digits on prices of a trillion ticks, and one of seven on a high that is no price."""
    ticks = np.full(3, 10**12)
    with pytest.raises(ConfigError, match="fewer digits"):
        triple_barrier(ticks, ticks, ticks, target=Decimal("0.05000000000000001"), stop=STOP, horizon=1)
    spike = np.array([100, 2**44, 100])
    with pytest.raises(ConfigError, match="fewer digits"):
        triple_barrier(np.full(3, 100), spike, np.full(3, 100), target=Decimal("0.0500001"), stop=STOP, horizon=1)


@pytest.mark.parametrize(("target", "stop"), [("0", "0.02"), ("0.05", "0"), ("0.05", "1")])
def test_barriers_that_cannot_be_are_refused(target: str, stop: str) -> None:
    with pytest.raises(ConfigError, match="expected a target above 0"):
        triple_barrier(np.ones(3), np.ones(3), np.ones(3), target=Decimal(target), stop=Decimal(stop), horizon=1)


def test_every_row_equals_a_walk_bar_by_bar() -> None:
    """3,000 rows of a random walk, eight bars each, the slow and obvious way."""
    random = np.random.default_rng(7)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.012, 3000))), 2)
    high = np.round(close * (1 + random.exponential(0.006, 3000)), 2)
    low = np.round(close * (1 - random.exponential(0.006, 3000)), 2)
    ticks = [in_ticks(px, Decimal("0.01")) for px in (close, high, low)]
    found = triple_barrier(*ticks, target=TARGET, stop=STOP, horizon=8)
    outcomes = []
    for row in range(len(close) - 8):
        entry = int(ticks[0][row])
        outcome, at = TIMED_OUT, row + 8
        for bar in range(row + 1, row + 9):
            if int(ticks[2][bar]) * 100 <= entry * 98:
                outcome, at = STOPPED, bar
                break
            if int(ticks[1][bar]) * 100 >= entry * 105:
                outcome, at = REACHED, bar
                break
        outcomes.append(outcome)
        assert found.touched[row] == at
    assert found.labels.values[:-8].tolist() == outcomes
    assert {STOPPED, TIMED_OUT, REACHED} == set(outcomes)
