"""What forecasts would have brought after costs, by row and by day.

No fills are simulated: a position is taken at the row's price and given back at the label's, for a cost that is told.
Whoever has an event-driven back-test of the strategy goes by that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.evaluation.rows import Rows
from models.evaluation.signals import first_of_episodes

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
_DAY_NS = 86_400_000_000_000


def net_of_signal(
    rows: Rows, said: Bool, horizon_s: float, *, gain_bps: float, loss_bps: float, cost_bps: float
) -> Float64:
    """Net return of each row ``(N,)``: what is said is bought once an episode, brings ``gain_bps`` or takes
    ``loss_bps``; 0 where nothing was bought."""
    bought = first_of_episodes(rows, said, horizon_s)
    brought = np.where(rows.label == 1, gain_bps, -loss_bps) - cost_bps
    return np.where(bought, brought / 1e4, 0.0)


def net_of_return(rows: Rows, forecast: Float64, cost_bps: float, horizon_rows: int = 1) -> Float64:
    """Net return of each row ``(N,)``, held in the direction of a forecast that is beyond the cost; labels are
    logarithms, and the stake is split over the positions that run at a time."""
    cost = cost_bps / 1e4
    side = np.where(np.abs(forecast) > cost, np.sign(forecast), 0.0)
    net: Float64 = (side * np.expm1(rows.label) - cost * np.abs(side)) / horizon_rows
    return net


def by_day(rows: Rows, net: Float64) -> tuple[Int64, Float64]:
    """Days ``(D,)`` (ns) that have rows, and the net return of each: a stake of 1 split over the instruments."""
    days = np.unique(rows.ts_ns // _DAY_NS)
    share = 1.0 / max(1, len(np.unique(rows.instrument)))
    place = np.searchsorted(days, rows.ts_ns // _DAY_NS)
    daily: Float64 = np.bincount(place, weights=net * share, minlength=len(days)).astype(np.float64)
    return days * _DAY_NS, daily
