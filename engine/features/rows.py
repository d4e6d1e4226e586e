"""Feature rows of recorded events, for the trainer and for checks: the live buffer, fed from a sequence.

Owns the collecting only.  There is no second implementation: what the model trains on is what it will be served.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.events import MarketEvent
from engine.features.buffer import FeatureBuffer
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from engine.ports import Float32Array


class Rows(NamedTuple):
    """N rows in order.  ``values[warm[i]]`` ends a full window of clean rows: ``values[i - W + 1 : i + 1]``."""

    values: Float32Array
    """(N, F); NaN where a column has no value yet."""
    ts_event_ns: npt.NDArray[np.int64]
    """(N,) venue time of the row; the end of a time bar."""
    ts_recv_ns: npt.NDArray[np.int64]
    """(N,) receive time of the event that completed the row."""
    mid_px: npt.NDArray[np.float64]
    """(N,) close of the row."""
    warm: npt.NDArray[np.bool_]
    """(N,) what the live buffer's ``warm`` was after the row."""


def compute_rows(spec: FeatureSpec, instrument: Instrument, events: Iterable[MarketEvent]) -> Rows:
    """All rows that the live buffer would make of these events (of one instrument, in order, bad ones left out).

    Time bars close at the first later event; a timer would close the same rows earlier.  Raises ``DataError`` when the
    instrument cannot feed the spec.
    """
    buffer = FeatureBuffer(spec, instrument)
    values = bytearray()
    ts_event_ns = array("q")
    ts_recv_ns = array("q")
    mid_px = array("d")
    warm = bytearray()
    received = 0
    newest = spec.window - 1

    def collect() -> None:
        values.extend(buffer.window()[newest].tobytes())
        ts_event_ns.append(buffer.row_ts_ns)
        ts_recv_ns.append(received)
        mid_px.append(buffer.mid_px)
        warm.append(buffer.warm)

    by_time = spec.sampling.kind == "time_bar"
    if by_time:
        # One event may complete several bars.
        buffer.on_bar = collect
    for event in events:
        received = event.ts_recv_ns
        if buffer.update(event) and not by_time:
            collect()
    return Rows(
        np.frombuffer(values, np.float32).reshape(-1, len(spec.columns)),
        np.frombuffer(ts_event_ns, np.int64),
        np.frombuffer(ts_recv_ns, np.int64),
        np.frombuffer(mid_px, np.float64),
        np.frombuffer(warm, np.bool_),
    )
