"""Is the market as volatile as a model says?  An alarm on realised by predicted variance, in both directions.

Owns the measure.  Where forecasts are right the mean of the ratio is 1, whatever the distribution of returns and
however noisy one realised variance is: that is the condition of the least QLIKE (A. J. Patton, Volatility forecast
comparison using imperfect volatility proxies, Journal of Econometrics 2011), by which training sets the level of a
forecast on validation rows.  It is also what a position risks that is sized by the forecast, in parts of what was
meant.  QLIKE itself tells no direction, and rises with the noise of a market that is forecast as well as ever.

The bets are on the ratio itself, as in Q. Wang, R. Wang, J. Ziegel, E-backtesting (arXiv 2209.00991, 2022).
"""

from __future__ import annotations

from typing import Final

from models.observer.detector import Detector, Since

_MORE: Final = 8.0
"""Limits that a ratio counts as at most: of a single price that is wrong nobody gets rich."""
_LESS: Final = 4.0
"""The same of limits of the other direction.  A bet on a low mean needs a bound: one value in a thousand may carry it.
Ratios spread like a log-normal's (deviation of the logarithm up to 1.5) keep two thirds of their mean under it at the
lowest limit that can be set."""


class Volatility:
    """Of one version on one instrument.  ``ratio_max``: of realised by predicted variance, and one over it the least;
    ``reach``: rows that a forecast is of.
    """

    def __init__(self, ratio_max: float, reach: int) -> None:
        self._ratio_max = ratio_max
        self._more, self._less = (Detector(reach, together=2) for _ in range(2))

    def add(self, row: int, predicted: float, realised: float) -> None:
        """Variances of a row, in order.  Where nothing moved there is no label: none is learned from either."""
        if not realised > 0.0 or not predicted >= 0.0:
            return
        most = _MORE * self._ratio_max
        ratio = min(realised / predicted, most) if predicted > 0.0 else most
        self._more.add(row, ratio / self._ratio_max - 1.0, 1.0, ratio)
        self._less.add(row, (1.0 - min(ratio * self._ratio_max, _LESS)) / (_LESS - 1.0), 1.0, ratio)

    def clear(self) -> None:
        """Count from here on."""
        self._more.clear()
        self._less.clear()

    @property
    def beyond(self) -> Since | None:
        """Labels and mean ratio since it is beyond its limits; None while it is within."""
        return self._more.since or self._less.since
