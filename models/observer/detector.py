"""Has a mean gone beyond its limit?  Evidence that may be looked at as often as one likes.

Owns a detector of changes by bets: whoever holds that the mean of what is added is not above zero is bet against, with
what is left after the last time that this was lost (J. Shin, A. Ramdas, A. Rinaldo, E-detectors: a nonparametric
framework for sequential change detection, NEJSDS 2024, the e-CUSUM).  Memory is a few numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

RUN: Final = 1e6
"""Values until chance raises an alarm, on average, at least."""
STAKES: Final = (0.2, 0.8)
"""Of the wealth: small ones find small excesses, great ones are quick."""


class Since(NamedTuple):
    """Labels since the mean is beyond, and the means of what was said of them and of what came."""

    labels: int
    said: float
    came: float


@dataclass
class _Bet:
    """``wealth``: its logarithm; the others are sums since it was last nothing."""

    wealth: float = 0.0
    labels: int = 0
    said: float = 0.0
    came: float = 0.0


class Detector:
    """``reach``: rows that a label looks ahead; of labels that share a row one counts.

    ``together``: detectors whose alarm is the same.  While the mean is not above zero, given what was known when the
    row was made, the first ``n`` values of each raise it with a probability of ``n / RUN`` at most.
    """

    def __init__(self, reach: int, *, together: int) -> None:
        self._reach = max(reach, 1)
        self._next = 0
        self._most = math.log(RUN * len(STAKES) * together)
        self._bets = [_Bet() for _ in STAKES]
        self.is_beyond = False
        """The mean is above zero, until the evidence for that is gone."""

    def add(self, row: int, value: float, said: float, came: float) -> None:
        """``value``: -1 at least, of what was ``said`` of a row and what ``came`` of it; rows come in order."""
        if row < self._next:
            return
        self._next = row + self._reach
        for bet, stake in zip(self._bets, STAKES, strict=True):
            if bet.wealth <= 0.0:
                bet.wealth, bet.labels, bet.said, bet.came = 0.0, 0, 0.0, 0.0
            bet.wealth = min(bet.wealth + math.log1p(stake * value), self._most)
            bet.labels += 1
            bet.said += said
            bet.came += came
        best = max(bet.wealth for bet in self._bets)
        if best >= self._most:
            self.is_beyond = True
        elif best <= 0.0:
            self.is_beyond = False

    def clear(self) -> None:
        """Count from here on."""
        self._bets = [_Bet() for _ in STAKES]
        self.is_beyond = False

    @property
    def since(self) -> Since | None:
        """What the evidence is; None while the mean is within its limit."""
        if not self.is_beyond:
            return None
        bet = max(self._bets, key=lambda one: one.wealth)
        return Since(bet.labels, bet.said / bet.labels, bet.came / bet.labels)
