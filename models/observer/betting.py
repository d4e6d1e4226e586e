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

SCALES: Final = (4, 16, 64, 256, 1_024)
"""Values in a block, on which it is looked at whether neighbours go together."""
_BLOCKS_MIN: Final = 4
STAKE_MAX: Final = 0.9
"""Of the wealth: the worst value leaves a tenth of it."""
_VARIANCE: Final = 0.25
"""Taken for the spread until there are values."""


class Blocks(msgspec.Struct):
    """Sums of so many values in a row, and of the one that is not whole."""

    open_count: int = 0
    open_total: float = 0.0
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float, size: int) -> None:
        self.open_count += 1
        self.open_total += value
        if self.open_count == size:
            self.count += 1
            self.total += self.open_total
            self.squares += self.open_total**2
            self.open_count, self.open_total = 0, 0.0

    def followed_by(self, later: Blocks) -> Blocks:
        return Blocks(
            open_count=later.open_count,
            open_total=later.open_total,
            count=self.count + later.count,
            total=self.total + later.total,
            squares=self.squares + later.squares,
        )

    @property
    def variance(self) -> float:
        return max((self.squares - self.total**2 / self.count) / (self.count - 1), 0.0)


class Evidence(msgspec.Struct):
    """Of values in -1 to 1.  ``above``, ``below``: log-wealth against "the mean is not above (below) zero", of values
    each of which is a bet of its own."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    above: float = 0.0
    below: float = 0.0
    blocks: list[Blocks] = msgspec.field(default_factory=lambda: [Blocks() for _ in SCALES])

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
        for blocks, size in zip(self.blocks, SCALES, strict=True):
            blocks.add(value, size)

    def followed_by(self, later: Evidence) -> Evidence:
        """What was won with values before is staked again on those after."""
        return Evidence(
            count=self.count + later.count,
            total=self.total + later.total,
            squares=self.squares + later.squares,
            above=self.above + later.above,
            below=self.below + later.below,
            blocks=[one.followed_by(other) for one, other in zip(self.blocks, later.blocks, strict=True)],
        )

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def swelling(self) -> float:
        """By how much sums of neighbours vary more than if each value was one of its own, on the scale where that is
        most; 1 at least.

        A regime in which one of two models is the better one for an hour makes sixty values of one.  Log-wealth is
        divided by it: where values are of their own that takes away and never adds, so the bound holds as it did.
        """
        variance = self.squares / self.count - self.mean**2 if self.count else 0.0
        if variance <= 0.0:
            return 1.0
        whole = [
            (blocks, size) for blocks, size in zip(self.blocks, SCALES, strict=True) if blocks.count >= _BLOCKS_MIN
        ]
        return max([1.0, *(blocks.variance / (size * variance) for blocks, size in whole)])

    @property
    def for_above(self) -> float:
        """E-value against "the mean is not above zero": one over ``alpha`` is enough, whenever that is looked at."""
        return _e(self.above / self.swelling)

    @property
    def for_below(self) -> float:
        """The same against "not below", of values each of its own: who is worse for an hour may go for that, and a
        model that has become worse goes soon."""
        return _e(self.below)


def _e(log_wealth: float) -> float:
    return math.exp(min(log_wealth, 700.0))
