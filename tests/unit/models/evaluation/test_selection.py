"""Selection honesty against the published example, a case worked by hand, and noise."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.selection import (
    expected_max_sharpe,
    judge_selection,
    overfitting,
    probabilistic_sharpe,
    sharpes,
)

pytest.importorskip("scipy")


def test_the_published_example_of_the_deflated_sharpe() -> None:
    """Bailey and Lopez de Prado (2014): 2.5 a year over 1,250 days, the best of 100 trials whose annual ratios vary by
    a half, skew -3, kurtosis 10: SR0 is 0.1132 a day and the deflated Sharpe 0.9004."""
    pytest.importorskip("skfolio")
    by_luck = expected_max_sharpe(100, 0.5 / 250)
    assert by_luck == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic_sharpe(2.5 / np.sqrt(250), by_luck, 1250, -3.0, 10.0)
    assert found == pytest.approx(0.9004, abs=5e-5)


@pytest.mark.parametrize(("trials", "annual"), [(10, 1.6), (50, 2.3), (200, 2.8), (1000, 3.3)])
def test_a_year_of_luck(trials: int, annual: float) -> None:
    """The best of so many without skill over one year of days, annualised: the ratios vary by 1."""
    pytest.importorskip("skfolio")
    assert expected_max_sharpe(trials, 1.0) == pytest.approx(annual, abs=0.06)


def test_ours_from_moments_is_skfolios_from_returns() -> None:
    """The same series through both."""
    measures = pytest.importorskip("skfolio.measures")
    from scipy.stats import kurtosis, skew

    returns = np.random.default_rng(1).standard_t(5, 400) * 0.01 + 0.0005
    ratio = float(sharpes(returns[:, None])[0])
    ours = probabilistic_sharpe(ratio, 0.02, 400, float(skew(returns)), float(kurtosis(returns, fisher=False)))
    assert measures.probabilistic_sharpe_ratio(returns, 0.02) == pytest.approx(ours, abs=2e-3)


def test_overfitting_by_hand() -> None:
    """Two trials in two blocks: the one that is best in either half is worst in the other, then best in both."""
    up, down = [0.02, 0.01, 0.02, 0.01], [-0.02, -0.01, -0.02, -0.01]
    swapped = np.array([up + down, down + up]).T
    assert overfitting(swapped, blocks=2) == 1.0
    constant = np.array([up + up, down + down]).T
    assert overfitting(constant, blocks=2) == 0.0


def test_four_blocks_by_hand() -> None:
    """Of the six halves of four blocks, the winner's other half is counted one by one.

    Means by block of A: 3 1 -3 1, of B: 0 0 0 0 with the same spread.  In sample A wins where its two blocks sum above
    0 (four choices: {0,1}, {0,3}, {1,3}, and none of {2,x} but {0,2} ties), B where below.
    """
    spread = np.array([0.5, -0.5, 0.5, -0.5])
    a = np.concatenate([mean + spread for mean in (3.1, 1.0, -3.0, 1.0)])
    b = np.concatenate([spread] * 4)
    # A in: {0,1} 4.1, {0,2} 0.1, {0,3} 4.1, {1,3} 2 win; out of each: -2, 2, -2, 0.1.  B wins {1,2}, {2,3}: A out 4.1.
    lost = 2 + 0 + 0 + 2  # {0,1}, {0,3} by A; {1,2}, {2,3} by B, whose 0 is below A's 4.1
    assert overfitting(np.stack([a, b], axis=1), blocks=4) == pytest.approx(lost / 6)


def test_noise_is_overfitted_half_of_the_time_and_skill_is_not() -> None:
    """Means over 20 sets of 12 trials: 0.5 without skill, nearly 0 with one trial of real skill."""
    random = np.random.default_rng(4)
    noise = [random.normal(0, 0.01, (480, 12)) for _ in range(20)]
    assert np.mean([overfitting(one, 10) for one in noise]) == pytest.approx(0.5, abs=0.1)
    skilled = np.array([0.004] + [0.0] * 11)
    assert np.mean([overfitting(one + skilled, 10) for one in noise]) < 0.02


def test_a_search_is_judged_by_all_of_its_trials() -> None:
    """The best of 50 trials of noise does not pass; a trial of real skill does."""
    pytest.importorskip("skfolio")
    random = np.random.default_rng(5)
    returns = random.normal(0, 0.01, (750, 50))
    chosen = int(sharpes(returns).argmax())
    lucky = judge_selection(returns, chosen, 252)
    assert lucky.psr > 0.9
    assert lucky.dsr < 0.95
    assert not lucky.passed
    returns[:, 7] += 0.003
    skilled = judge_selection(returns, 7, 252)
    assert skilled.passed
    assert skilled.sharpe == pytest.approx(float(sharpes(returns)[7]) * np.sqrt(252))


def test_a_strategy_that_never_moved_has_no_sharpe() -> None:
    """The same return each period: its deviation is nothing but rounding."""
    assert sharpes(np.full((100, 2), [0.001, 0.0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("shape", "blocks"), [((20, 3), 16), ((100, 1), 16), ((100, 3), 5)])
def test_too_little_to_judge_is_said(shape: tuple[int, int], blocks: int) -> None:
    """Too few periods, one trial, an odd number of blocks."""
    with pytest.raises(DataError, match="two trials or more"):
        overfitting(np.zeros(shape), blocks)
