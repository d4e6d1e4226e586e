"""Two models on the same rows: what one lost and won more than the other, added up by spans of time.

Owns the sums and their interval.  Neighbouring rows share most of their label; spans that are at least twice as long
as it are nearly independent, and they are what is drawn.  Memory: ``SPANS_MAX`` spans, then two become one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

SPANS_MAX: Final = 4_096
_DRAWS: Final = 2_000
_WIDTH: Final = 6


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds that it is beyond with probability ``alpha`` each, and of how many spans it is."""

    value: float
    low: float
    high: float
    spans: int

    @property
    def text(self) -> str:
        return f"{self.value:+.4g} ({self.low:+.4g} to {self.high:+.4g}, {self.spans} spans)"


class Paired:
    """Of one challenger beside one champion.  ``span_ns``: at least twice the labels' horizon."""

    def __init__(self, span_ns: int) -> None:
        self.span_ns = span_ns
        # rows of both, loss of the challenger less the champion's, signals and profit (bps) of each.
        self._sums: dict[int, list[float]] = {}
        self.label_ns = 0
        """The longest time that a label took; what was drawn from shorter spans would be too sure."""

    @property
    def rows(self) -> int:
        return int(sum(one[0] for one in self._sums.values()))

    @property
    def signals(self) -> int:
        """Of the challenger, whose outcome is known."""
        return int(sum(one[2] for one in self._sums.values()))

    @property
    def champion_signals(self) -> int:
        return int(sum(one[4] for one in self._sums.values()))

    def lost(self, ts_ns: int, challenger: float, champion: float, label_ns: int) -> None:
        """Losses of one row on which both spoke."""
        span = self._span(ts_ns)
        span[0] += 1.0
        span[1] += challenger - champion
        self.label_ns = max(self.label_ns, label_ns)

    def won(self, ts_ns: int, profit_bps: float, *, challenger: bool) -> None:
        """What a signal of one of the two was worth after cost."""
        span, at = self._span(ts_ns), 2 if challenger else 4
        span[at] += 1.0
        span[at + 1] += profit_bps

    def loss_gap(self, alpha: float) -> Interval | None:
        """Mean loss of the challenger less the champion's, a row; None where no row has both."""
        table = self._table()
        return interval(table[:, 1], table[:, 0], alpha)

    def profit_gap_bps(self, alpha: float) -> Interval | None:
        """Profit of the challenger less the champion's, a span of time."""
        table = self._table()
        return interval(table[:, 3] - table[:, 5], np.ones(len(table)), alpha)

    def profit_bps(self, alpha: float) -> Interval | None:
        """Of the challenger, a signal."""
        table = self._table()
        return interval(table[:, 3], table[:, 2], alpha)

    def clear(self) -> None:
        """Begin anew: a test is made once of what it was declared for."""
        self._sums.clear()

    def _span(self, ts_ns: int) -> list[float]:
        key = ts_ns // self.span_ns
        found = self._sums.get(key)
        if found is None:
            if len(self._sums) >= SPANS_MAX:
                self._merge(2)
                return self._span(ts_ns)
            found = self._sums[key] = [0.0] * _WIDTH
        return found

    def _merge(self, factor: int) -> None:
        merged: dict[int, list[float]] = {}
        for key, sums in self._sums.items():
            held = merged.setdefault(key // factor, [0.0] * _WIDTH)
            for place, value in enumerate(sums):
                held[place] += value
        self._sums = merged
        self.span_ns *= factor

    def _table(self) -> Float64:
        """``(S, 6)`` by time, in spans of at least twice the label."""
        while self._sums and self.span_ns < 2 * self.label_ns:
            self._merge(2)
        rows = [self._sums[key] for key in sorted(self._sums)]
        return np.asarray(rows, np.float64).reshape(len(rows), _WIDTH)


def interval(sums: Float64, weights: Float64, alpha: float) -> Interval | None:
    """``sum(sums) / sum(weights)`` of spans ``(S,)``, with the quantiles ``alpha`` and ``1 - alpha`` of what is drawn
    from whole spans with replacement; None without weight.

    Below ten spans the bounds are infinite: nothing can be told from so few.
    """
    whole = float(weights.sum())
    if not whole:
        return None
    value, spans = float(sums.sum()) / whole, int((weights > 0).sum())
    if spans < 10:
        return Interval(value, -np.inf, np.inf, spans)
    picks = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_DRAWS)
    drawn = picks @ weights
    means = (picks @ sums)[drawn > 0] / drawn[drawn > 0]
    low, high = np.quantile(means, [alpha, 1.0 - alpha])
    return Interval(value, float(low), float(high), spans)
