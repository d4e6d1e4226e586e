"""Is the mean of a bounded quantity above zero?  Evidence that may be looked at as often as one likes.

Whoever holds that the mean is not above zero is bet against, value after value, with a stake that rests on the values
before alone.  While that is true the wealth is a supermartingale: it ever reaches ``1 / alpha`` with probability
``alpha`` at most (Ville), whatever the distribution within the bounds and however often somebody looks.  The stakes are
the approximate GRAPA of I. Waudby-Smith, A. Ramdas, Estimating means of bounded random variables by betting (JRSS B,
2024), section B.3.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

STAKE_MAX: Final = 0.9
"""Of the wealth: the worst value leaves a tenth of it."""
_VARIANCE: Final = 0.25
"""Taken for the spread until there are values."""


class Evidence(msgspec.Struct):
    """Of values in -1 to 1.  ``above``, ``below``: log-wealth against "the mean is not above (below) zero"."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    above: float = 0.0
    below: float = 0.0

    def add(self, value: float) -> None:
        """The next value; what is beyond the bounds counts as the bound."""
        value = min(max(value, -1.0), 1.0)
        mean = self.total / (self.count + 1)
        spread = self.squares - self.total**2 / max(self.count, 1)
        stake = mean / ((_VARIANCE + max(spread, 0.0)) / (self.count + 1) + mean**2)
        self.above += math.log1p(min(max(stake, 0.0), STAKE_MAX) * value)
        self.below += math.log1p(min(max(-stake, 0.0), STAKE_MAX) * -value)
        self.count += 1
        self.total += value
        self.squares += value * value

    def followed_by(self, later: Evidence) -> Evidence:
        """What was won with values before is staked again on those after."""
        return Evidence(
            count=self.count + later.count,
            total=self.total + later.total,
            squares=self.squares + later.squares,
            above=self.above + later.above,
            below=self.below + later.below,
        )

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0
