"""PSI by hand, of the same and of another population, of columns with few values, against a learned reference."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.stability import Learned, Stability, stability_index
from models.reference import bins_between, spread_of


def test_the_index_is_that_of_its_formula() -> None:
    """Two bins, expected 50:50 and found 30:70, of so many rows that the prior is nothing."""
    found = stability_index(np.array([0.5, 0.5]), np.array([3e9, 7e9]))
    assert found == pytest.approx((0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5), rel=1e-6)


@pytest.mark.fault("E10")
def test_the_same_population_is_near_nothing_and_a_shifted_one_beyond_the_limit() -> None:
    rng = np.random.default_rng(1)
    training = rng.standard_t(3, (20_000, 2))
    stability = Stability(*spread_of(training), rows=2_000)
    assert stability.psi is None
    rows = rng.standard_t(3, (2_000, 2)) + np.array([0.0, 1.0])
    done = [stability.add(row) for row in rows]
    assert done == [False] * 1_999 + [True]
    assert stability.psi is not None
    assert stability.psi[0] < 0.03
    assert stability.psi[1] > 0.25
    for row in rng.standard_t(3, (2_000, 2)):
        stability.add(row)
    assert (stability.psi < 0.03).all(), "a window has nothing of the one before"


def test_a_column_of_three_values_is_stable_while_its_shares_are() -> None:
    rng = np.random.default_rng(2)
    training = rng.choice([0.0, 0.0, 1.0, 5.0], (8_000, 1))
    stability = Stability(*spread_of(training), rows=2_000)
    for row in rng.choice([0.0, 0.0, 1.0, 5.0], (2_000, 1)):
        stability.add(row)
    assert stability.psi is not None
    assert stability.psi[0] < 0.02
    for row in rng.choice([0.0, 1.0, 1.0, 5.0], (2_000, 1)):
        stability.add(row)
    assert stability.psi[0] > 0.15


def test_rows_that_are_no_numbers_do_not_count_and_a_constant_is_no_drift() -> None:
    stability = Stability(*spread_of(np.ones((500, 1))), rows=100)
    for _ in range(100):
        assert not stability.add(np.array([np.nan]))
        stability.add(np.array([1.0]))
    assert stability.psi is not None
    assert stability.psi[0] < 1e-3


def test_without_a_reference_the_first_rows_are_it() -> None:
    rng = np.random.default_rng(3)
    learned = Learned(columns=1, learn=1_000, rows=500)
    assert not any(learned.add(row) for row in rng.normal(size=(1_499, 1)))
    assert learned.add(rng.normal(size=1))
    assert learned.psi is not None
    assert learned.psi[0] < 0.1
    for row in rng.normal(2.0, 1.0, (500, 1)):
        learned.add(row)
    assert learned.psi[0] > 1.0


def test_quantiles_are_bins_of_the_shares_between_them() -> None:
    """Of a uniform number, told in any order: found again in a sample of it, to the sample's own error."""
    bins = bins_between({"p95": 0.95, "p05": 0.05, "p50": 0.5, "mean": 0.3})
    assert bins is not None
    assert bins[0].tolist() == [[0.05, 0.5, 0.95]]
    assert bins[1].tolist() == [pytest.approx([0.05, 0.45, 0.45, 0.05])]
    stability = Stability(*bins, rows=2_000)
    for value in np.random.default_rng(4).uniform(size=(2_000, 1)):
        stability.add(value)
    assert stability.psi is not None
    assert stability.psi[0] < 0.01


@pytest.mark.parametrize(
    "quantiles",
    [{}, {"median": 0.5}, {"p05": 0.5, "p50": 0.5001, "p95": 0.9}, {"p05": 0.9, "p95": 0.1}, {"p05": float("-inf")}],
)
def test_quantiles_that_tell_no_shares_are_no_bins(quantiles: dict[str, float]) -> None:
    assert bins_between(quantiles) is None
