"""Several horizons at once: the returns over 5, 10 and 15 rows of one row, say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import ConfigError
from models.labels.labelled import Float64, Labels, unknown
from models.labels.returns import log_return


def log_returns(close_px: Float64, horizons: Sequence[int]) -> Labels:
    """``(N, H)`` log returns over each of ``horizons`` (rows, ascending).  A row without one of them has no label:
    heads that learn from different rows would be compared on different days."""
    if not horizons or list(horizons) != sorted(set(horizons)):
        raise ConfigError(f"label horizons {list(horizons)}", expected="one or more, ascending, each once")
    each = [log_return(close_px, horizon) for horizon in horizons]
    known = np.logical_and.reduce([one.known for one in each])
    found = unknown(len(close_px), len(horizons))
    found.values[known] = np.stack([one.values for one in each], axis=1)[known]
    found.last[known] = each[-1].last[known]
    return found


def rows_of(span_ns: int, interval_ns: int) -> int:
    """How many rows of ``interval_ns`` a span of time is: 5 minutes are 5 rows of one minute.

    Raises ``ConfigError`` where it is no whole number of them.
    """
    if interval_ns < 1:
        raise ConfigError("a label's horizon in time, of rows that have no fixed length", expected="a horizon in rows")
    rows, rest = divmod(span_ns, interval_ns)
    if rest or rows < 1:
        raise ConfigError(
            f"a label's horizon of {span_ns / 1e9:g} s of rows of {interval_ns / 1e9:g} s", expected="whole rows"
        )
    return rows
