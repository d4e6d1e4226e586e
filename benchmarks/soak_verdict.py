"""What counts as flat: each figure of a soak against the bound that is declared here.

Owns the bounds and the arithmetic.  The first third of a run is warm-up for what fills (histories, caches); growth is
judged over the rest, by the slope of Theil and Sen (the median of the slopes between all pairs of looks, which a few
disturbed ones do not move), times that time.  Of latencies the median of the last third is compared with that of the
first, and of looks at which the loop had a processor when it wanted one: how long it waits for one is the doing of
whoever else uses the machine, and where it always waited nothing is said of latencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from engine.errors import KestrelError

Row = dict[str, float]
LEAST_ROWS = 12
ARRIVED_SHARE = 0.95
ORDERS_PER_S = 0.1
"""In the last third: a session that was halted meanwhile has shown nothing."""
AT_LEAST = frozenset({"ticks_per_s", "orders_per_s"})
"""Figures whose bound is a lower one."""
RATIO = 1.25
"""Of a latency's medians, last third to first."""
GROWTH = {
    # name: (share of its level, least bound), whichever is more
    "daemon_anon_mb": (0.03, 6.0),
    "daemon_file_mb": (0.05, 20.0),
    "daemon_descriptors": (0.0, 1.0),
    "daemon_threads": (0.0, 0.5),
    "watchdog_anon_mb": (0.05, 2.0),
    "watchdog_descriptors": (0.0, 1.0),
    "exchange_descriptors": (0.0, 1.0),
    "queued": (0.0, 10.0),
    "open_orders": (0.0, 5.0),
}
CALM_SHARE = 0.1
"""Of the time, in which the loop was ready to run and had no processor."""
LATENCIES = (
    "cpu_us_per_tick",
    "tick_to_order_p50_us",
    "decode_p50_us",
    "features_p50_us",
    "model_p50_us",
    "strategy_p50_us",
)
NONE = ("waiting_dropped", "unjournaled", "core_errors", "log_lines_dropped", "gaps", "reconnects")
"""Counts that must not move after the warm-up."""


@dataclass(frozen=True)
class Verdict:
    """``low`` and ``high``: 95 % interval of ``value`` where it comes from a slope, else equal to it."""

    name: str
    value: float
    low: float
    high: float
    bound: float
    level: float
    """Median of the figure itself."""
    text: str
    judged: bool = True

    @property
    def ok(self) -> bool:
        if not self.judged:
            return True
        return self.value >= self.bound if self.name in AT_LEAST else self.value <= self.bound


def slope(at: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """Theil and Sen's slope and its 95 % interval (P. K. Sen, 1968; normal approximation for Kendall's tau)."""
    x, y = np.asarray(at, float), np.asarray(values, float)
    first, second = np.triu_indices(len(x), 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    count, n = len(slopes), len(x)
    half = 1.96 * sqrt(n * (n - 1) * (2 * n + 5) / 18)
    low = slopes[max(int((count - half) / 2), 0)]
    high = slopes[min(int((count + half) / 2) + 1, count - 1)]
    return float(np.median(slopes)), float(low), float(high)


def judge(rows: Sequence[Row], rate: float) -> list[Verdict]:
    """All verdicts.  Raises ``KestrelError`` for fewer looks than say anything."""
    if len(rows) < LEAST_ROWS:
        raise KestrelError(f"a soak of {len(rows)} looks", expected=f"{LEAST_ROWS} or more", do="run it for longer")
    third = len(rows) // 3
    rest = rows[third:]
    span_s = rest[-1]["at_s"] - rest[0]["at_s"]
    verdicts = [_arrived(rest, rate), _traded(rows[-third:])]
    verdicts += [growth(name, rest, span_s, bound) for name, bound in GROWTH.items() if _has(rest, name)]
    verdicts += [_ratio(name, rows[:third], rows[-third:]) for name in LATENCIES if _has(rest, name)]
    verdicts += [_still(name, rest) for name in NONE if _has(rest, name)]
    return verdicts


def _has(rows: Sequence[Row], name: str) -> bool:
    return sum(name in row for row in rows) >= LEAST_ROWS // 2


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows if name in row]


def _arrived(rows: Sequence[Row], rate: float) -> Verdict:
    """Quotes that gave way to newer ones arrived as well; they are shown for themselves."""
    arrived = float(np.mean(_values(rows, "ticks_per_s")) + np.mean(_values(rows, "conflated_per_s")))
    bound = ARRIVED_SHARE * rate
    return Verdict("ticks_per_s", arrived, arrived, arrived, bound, arrived, f"{arrived:,.0f}/s arrived on average")


def _traded(rows: Sequence[Row]) -> Verdict:
    rate = float(np.mean(_values(rows, "orders_per_s")))
    return Verdict("orders_per_s", rate, rate, rate, ORDERS_PER_S, rate, f"{rate:.2f}/s in the last third")


def growth(name: str, rows: Sequence[Row], span_s: float, bounds: tuple[float, float]) -> Verdict:
    """``bounds``: a share of the figure's own level and a least bound, of which the greater counts."""
    found = [row for row in rows if name in row]
    per_s, low, high = slope([row["at_s"] for row in found], [row[name] for row in found])
    level = float(np.median(_values(rows, name)))
    share, least = bounds
    grown = per_s * span_s
    text = f"{grown:+.2f} in {span_s / 60:.0f} min, at {level:,.1f}"
    return Verdict(name, grown, low * span_s, high * span_s, max(share * level, least), level, text)


def _ratio(name: str, first: Sequence[Row], last: Sequence[Row]) -> Verdict:
    calm = [[row for row in rows if row.get("waited_share", 1.0) <= CALM_SHARE] for rows in (first, last)]
    judged = all(_has(rows, name) for rows in calm)
    before, after = (float(np.median(_values(rows, name) or [np.nan])) for rows in (calm if judged else (first, last)))
    ratio = after / before if before else float("nan")
    text = f"{before:,.1f} in the first third, {after:,.1f} in the last"
    if not judged:
        waited = float(np.median(_values([*first, *last], "waited_share")))
        text += f" (the loop waited for a processor {waited:.0%} of the time)"
    return Verdict(name, ratio, ratio, ratio, RATIO, after, text, judged)


def _still(name: str, rows: Sequence[Row]) -> Verdict:
    values = _values(rows, name)
    moved = values[-1] - values[0]
    return Verdict(name, moved, moved, moved, 0.0, values[-1], f"{moved:,.0f} more")
