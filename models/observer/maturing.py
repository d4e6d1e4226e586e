"""When the outcome of a prediction is known: the label of its row, and what its signal was worth after cost.

Owns the waiting.  A label is the bundle's own: the close ``horizon_rows`` rows later against that of the row; a price
that is unchanged then has no direction (and a return of nothing), and across a break of the feed nothing is known.  A
signal is entered at the first tradable price after it and left at the first after its horizon: spread and fees are paid
twice.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from models.observer.losses import log_loss, return_loss
from models.observer.rebuilding import ROWS_KEPT, Rows
from models.observer.scale import Scale

VarianceKind = Literal["realised_variance", "parkinson_variance"]
"""As ``models.labels.volatility``: the sum of squared log returns, or the mean of a row's by its highest and lowest."""
_PARKINSON: Final = 1.0 / (4.0 * math.log(2.0))
PENDING_MAX: Final = ROWS_KEPT
"""Predictions that wait for their label; the oldest is given up."""
COVERED: Final = 0.9
"""Of the errors of returns on validation rows: within ``Reading.error_max``."""


@dataclass(frozen=True)
class Reading:
    """Which numbers of a prediction are judged, and as what.

    ``direction``: place of the probability of a rise; or, where there is none that is judged, ``number``: place of a
    forecast of the log return.  ``buy`` and ``sell``: where either is a signal (NaN: never; of a return, beyond what a
    round trip costs).  ``error_max``: what the error of ``COVERED`` of the validation rows of that number was at most
    (NaN: not known).  ``variance``: place of a forecast of the variance of the ``variance_rows`` rows ahead, as
    ``variance_kind`` has it.  ``output``: place of the number whose drift is watched.  ``lacks``: the output that
    strategies trade on, where there is none of that name that can be traded on.
    """

    horizon_rows: int
    direction: int | None = 0
    buy: float = float("nan")
    sell: float = float("nan")
    variance: int | None = None
    variance_rows: int = 0
    output: int | None = 0
    number: int | None = None
    error_max: float = float("nan")
    variance_kind: VarianceKind = "realised_variance"
    lacks: str = ""

    @property
    def place(self) -> int | None:
        """Of what is compared, weighed and traded on."""
        return self.number if self.direction is None else self.direction

    @property
    def is_return(self) -> bool:
        """That is a return, no probability."""
        return self.direction is None and self.number is not None

    @property
    def reach(self) -> int:
        return max(self.horizon_rows, self.variance_rows if self.variance is not None else 0)


@dataclass(frozen=True, slots=True)
class Matured:
    """A row whose outcome is known, when it was made, and how long its label took.

    ``said`` and ``outcome``: probability of a rise, and 1 or 0; with a ``scale`` (``models.observer.scale``, as known
    by then) log returns.
    """

    row: int
    ts_ns: int
    said: float
    outcome: float
    label_ns: int
    scale: float | None = None

    @property
    def known_ns(self) -> int:
        return self.ts_ns + self.label_ns

    def loss_of(self, said: float) -> float:
        """What that would have cost as its forecast, nats; NaN where the scale was not known."""
        return log_loss(said, self.outcome) if self.scale is None else return_loss(said, self.outcome, self.scale)


@dataclass
class _Signal:
    side: int
    ts_ns: int
    event: int
    exit_row: int
    from_ns: int
    entry_px: float = 0.0


class Maturing:
    """Of one version on one instrument.  ``fee_bps``: what one execution costs, of the notional."""

    def __init__(self, reading: Reading, rows: Rows, fee_bps: float) -> None:
        self.reading = reading
        self.rows = rows
        self._fee_bps = fee_bps
        self._scale = Scale(rows, reading.horizon_rows) if reading.is_return else None
        self._pending: deque[tuple[int, float, float | None]] = deque(maxlen=PENDING_MAX)
        """Row, what was said of it, and the scale by then."""
        self._variances: deque[tuple[int, float]] = deque(maxlen=PENDING_MAX)
        self._signal: _Signal | None = None

    def predicted(
        self,
        row: int,
        values: tuple[float, ...],
        event: int,
        *,
        in_time: bool = True,
        from_ns: int = 0,
        spread_bps: float = math.nan,
    ) -> None:
        """``event`` numbers the event that is being handled: its prices are those that were decided on, ``spread_bps``
        apart, and those before ``from_ns`` are older than the answer.

        What was not ``in_time`` has an outcome as a forecast, and is no signal: nobody trades on it.
        """
        reading, place = self.reading, self.reading.place
        if reading.reach >= ROWS_KEPT:
            return
        if reading.variance is not None and reading.variance < len(values):
            self._variances.append((row, values[reading.variance]))
        if place is None or place >= len(values):
            return
        said = values[place]
        if not math.isfinite(said):
            return  # no forecast: what is made of it would be none either, for good
        self._pending.append((row, said, None if self._scale is None else self._scale.rms))
        # Signals that overlap are one: their outcomes would be counted several times.
        side = self._side(said, spread_bps)
        if side and in_time and self._signal is None:
            self._signal = _Signal(side, self.rows.recv_ns(row), event, row + reading.horizon_rows, from_ns)

    def _side(self, said: float, spread_bps: float) -> int:
        reading = self.reading
        if reading.is_return and math.isnan(reading.buy):
            beyond = 1e4 * abs(said) > spread_bps + 2.0 * self._fee_bps  # as ``models.evaluation.returns`` has it
            return (1 if said > 0.0 else -1) if beyond else 0
        return 1 if said >= reading.buy else -1 if said <= reading.sell else 0

    def matured(self) -> list[Matured]:
        """The rows whose outcome is known since the last call.  To be called at each row."""
        if self._scale is not None:
            self._scale.follow()
        found: list[Matured] = []
        rows, horizon = self.rows, self.reading.horizon_rows
        while self._pending and self._pending[0][0] + horizon < rows.count:
            row, said, scale = self._pending.popleft()
            outcome = self._outcome(rows.px(row), rows.px(row + horizon)) if row >= rows.begun else math.nan
            if not math.isnan(outcome):
                made_ns, known_ns = rows.recv_ns(row), rows.recv_ns(row + horizon) or rows.ts_recv_ns
                found.append(Matured(row, made_ns, said, outcome, max(known_ns - made_ns, 0), scale))
        return found

    def _outcome(self, now: float, then: float) -> float:
        """NaN where it is not known, or there is none."""
        if self.reading.is_return:
            return math.log(then / now) if now > 0.0 and 0.0 < then < math.inf else math.nan
        is_known = math.isfinite(now) and math.isfinite(then) and now != then
        return float(then > now) if is_known else math.nan

    def matured_variances(self) -> list[tuple[int, float, float]]:
        """Row, predicted and realised, of the rows where that is known since the last call."""
        found: list[tuple[int, float, float]] = []
        rows, horizon = self.rows, self.reading.variance_rows
        while self._variances and self._variances[0][0] + horizon < rows.count:
            row, predicted = self._variances.popleft()
            if row < rows.begun or row < rows.count - ROWS_KEPT:
                continue
            realised = self._realised(row, row + horizon)
            if math.isfinite(realised):
                found.append((row, predicted, realised))
        return found

    def _realised(self, row: int, last: int) -> float:
        """Variance of the rows after ``row`` up to ``last``; NaN where a price of them is unknown or not positive."""
        if self.reading.variance_kind == "parkinson_variance":
            return _PARKINSON * float((self.rows.log_ranges(row + 1, last) ** 2).mean())
        closes = self.rows.pxs(row, last)
        return float((np.diff(np.log(closes)) ** 2).sum()) if (closes > 0.0).all() else math.nan

    def on_prices(self, bid_px: float, ask_px: float, event: int, now_ns: int) -> tuple[int, float] | None:
        """Best prices that could be traded at, received at ``now_ns``; when they end a signal: its time and its
        profit in bps."""
        signal = self._signal
        if signal is None or event <= signal.event or now_ns < signal.from_ns or not 0.0 < bid_px <= ask_px:
            return None
        if not signal.entry_px:
            signal.entry_px = ask_px if signal.side > 0 else bid_px
            return None
        if self.rows.count <= signal.exit_row:
            return None
        exit_px = bid_px if signal.side > 0 else ask_px
        self._signal = None
        profit_bps = 1e4 * signal.side * (exit_px - signal.entry_px) / signal.entry_px - 2.0 * self._fee_bps
        return signal.ts_ns, profit_bps
