"""Conformal sets whose error rate follows the errors that were made.

Adaptive conformal inference: I. Gibbs and E. Candes, "Adaptive Conformal Inference Under Distribution Shift", NeurIPS
2021.  After each outcome ``alpha += step * (error_rate - err)``, and the next set is that of rate ``alpha``.  Whatever
the market does, the share of errors of T sets is then within ``(1 + step * (1 + d)) / (step * T)`` of the rate asked
for, where an outcome is known d sets later (their Proposition 4.1; what is under way widens the bounds of ``alpha``).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import msgspec


class Coverage(msgspec.Struct):
    """What became of the sets of one model on one instrument; JSON-able.

    ``alpha``: the error rate of the next set; 0 or less: it holds everything, 1 or more: nothing.  ``singletons``: sets
    of one side alone, and how many of those were right.
    """

    model: str = ""
    alpha: float = 0.0
    matured: int = 0
    covered: int = 0
    singletons: int = 0
    singletons_right: int = 0

    @property
    def share(self) -> float:
        """Of the outcomes that were in their set; NaN before the first."""
        return self.covered / self.matured if self.matured else float("nan")

    def settle(self, *, is_covered: bool, is_single: bool, error_rate: float, step: float) -> None:
        """An outcome is known: count it, and move ``alpha``."""
        self.matured += 1
        self.covered += is_covered
        if is_single:
            self.singletons += 1
            self.singletons_right += is_covered
        self.alpha += step * (error_rate - (0.0 if is_covered else 1.0))


def quantile_at(quantiles: Sequence[tuple[float, float]], alpha: float, *, most: float) -> float:
    """The score that a share ``alpha`` is above, between those that are known; ``most``: what no score is above.

    ``quantiles``: pairs of rate and score, ascending by rate.  At ``alpha`` 0 or less it is ``most`` (the set holds
    everything), at 1 or more ``-inf`` (it holds nothing).
    """
    if alpha <= 0.0:
        return most
    if alpha >= 1.0:
        return -inf
    low_rate, low = 0.0, most
    for rate, score in quantiles:
        if alpha <= rate:
            # Below the least rate of scores without a bound nothing is known but that the set must be larger.
            return _between(alpha, low_rate, low, rate, score) if low < inf or alpha == rate else inf
        low_rate, low = rate, score
    return _between(alpha, low_rate, low, 1.0, 0.0)


def _between(alpha: float, low_rate: float, low: float, rate: float, score: float) -> float:
    share = (alpha - low_rate) / (rate - low_rate)
    return score if share >= 1.0 else low + share * (score - low)


def sides_of_probability(p_up: float, quantile: float) -> tuple[bool, bool]:
    """Whether the set holds ``(down, up)``: a side is in it where one minus its probability is at most the quantile."""
    return p_up <= quantile, 1.0 - p_up <= quantile


def sides_of_return(expected: float, quantile: float) -> tuple[bool, bool]:
    """The same of the interval ``expected`` plus and minus the quantile; neither side where it is empty."""
    if quantile < 0.0:
        return False, False
    return expected - quantile < 0.0, expected + quantile > 0.0
