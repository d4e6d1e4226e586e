"""What remains of a strategy's result after the search for it: PSR, deflated Sharpe, probability of over-fitting.

Returns are net, per period, and not annualised; only what a person reads is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from engine.errors import DataError

Float64 = npt.NDArray[np.float64]
BLOCKS = 16
DSR_MIN = 0.95
PBO_MAX = 0.2
_SPREAD_MIN = 1e-12


@dataclass(frozen=True)
class Selection:
    """``sharpe``: annualised; ``sharpe_by_luck``: per period; ``psr`` (against 0), ``dsr``, ``pbo``: probabilities."""

    trials: int
    sharpe: float
    psr: float
    sharpe_by_luck: float
    dsr: float
    pbo: float | None

    @property
    def passed(self) -> bool:
        return self.dsr >= DSR_MIN and (self.pbo is None or self.pbo < PBO_MAX)


def sharpes(returns: Float64) -> Float64:
    """Sharpe ratio per period of each column ``(N,)``; 0 where nothing ever moved but by rounding."""
    spread = returns.std(axis=0, ddof=1)
    ratios: Float64 = np.divide(returns.mean(axis=0), spread, out=np.zeros_like(spread), where=spread > _SPREAD_MIN)
    return ratios


def expected_max_sharpe(trials: int, variance: float) -> float:
    """The best Sharpe ratio of ``trials`` without skill, whose ratios vary by ``variance`` (Bailey and Lopez de Prado
    2014, equation of SR0); per period."""
    from skfolio.measures import expected_max_sharpe_ratio

    return float(expected_max_sharpe_ratio(trials, float(np.sqrt(variance))))


def probabilistic_sharpe(sharpe: float, benchmark: float, periods: int, skew: float, kurtosis: float) -> float:
    """Probability that the true Sharpe ratio is above ``benchmark`` (Bailey and Lopez de Prado 2012), from moments.

    All per period; ``kurtosis`` of a normal is 3.  With the expected maximum as benchmark this is the deflated Sharpe.
    skfolio computes it from returns only, and a published example gives moments.
    """
    from scipy.stats import norm

    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return float(norm.cdf((sharpe - benchmark) * np.sqrt(periods - 1) / np.sqrt(spread)))


def judge_selection(returns: Float64, chosen: int, periods_per_year: float) -> Selection:
    """Of net returns ``(T, N)`` of all trials, failed ones too, of which number ``chosen`` is shown."""
    from skfolio.measures import deflated_sharpe_ratio, probabilistic_sharpe_ratio

    if len(returns) < 2 * BLOCKS:
        raise DataError(f"{len(returns)} periods of strategy returns", expected=f"{2 * BLOCKS} or more")
    ratios, own = sharpes(returns), returns[:, chosen]
    trials = returns.shape[1]
    by_luck = expected_max_sharpe(trials, float(ratios.var(ddof=1))) if trials > 1 else 0.0
    psr = float(probabilistic_sharpe_ratio(own))
    return Selection(
        trials,
        float(ratios[chosen] * np.sqrt(periods_per_year)),
        psr,
        by_luck,
        float(deflated_sharpe_ratio(own, ratios)) if trials > 1 else psr,
        overfitting(returns) if trials > 1 else None,
    )


def overfitting(returns: Float64, blocks: int = BLOCKS) -> float:
    """Probability of back-test over-fitting by CSCV (Bailey, Borwein, Lopez de Prado, Zhu 2017).

    ``returns (T, N)`` are cut into ``blocks`` pieces of time.  For each choice of half of them, the best Sharpe ratio
    there is looked up in the other half: the share of choices in which it ranks in the lower half, a tie counting half.
    """
    periods, trials = returns.shape
    if trials < 2 or blocks % 2 or periods < 2 * blocks:
        raise DataError(
            f"{periods} periods of {trials} trials in {blocks} blocks",
            expected="two trials or more, an even number of blocks, two periods a block",
        )
    pieces = np.array_split(np.arange(periods), blocks)
    # Sums per piece make every half's mean and variance without touching the returns again.
    counts = np.array([len(piece) for piece in pieces], np.float64)
    first = np.stack([returns[piece].sum(axis=0) for piece in pieces])
    second = np.stack([(returns[piece] ** 2).sum(axis=0) for piece in pieces])
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    inside = np.zeros((len(halves), blocks))
    np.put_along_axis(inside, halves, 1.0, axis=1)
    train = _sharpes_of_sums(inside, counts, first, second)
    test = _sharpes_of_sums(1.0 - inside, counts, first, second)
    best = train.argmax(axis=1)
    theirs = np.take_along_axis(test, best[:, None], axis=1)
    rank = 1 + (test < theirs).sum(axis=1) + 0.5 * ((test == theirs).sum(axis=1) - 1)
    relative = rank / (trials + 1)
    return float(np.mean((relative < 0.5) + 0.5 * (relative == 0.5)))


def _sharpes_of_sums(chosen: Float64, counts: Float64, first: Float64, second: Float64) -> Float64:
    """Sharpe ratio of each trial in each choice of pieces ``(C, N)``."""
    rows = (chosen @ counts)[:, None]
    mean = chosen @ first / rows
    variance = (chosen @ second - rows * mean**2) / (rows - 1)
    return np.divide(mean, np.sqrt(np.maximum(variance, 0)), out=np.zeros_like(mean), where=variance > _SPREAD_MIN**2)
