"""Samples of several instruments on a common clock of one nanosecond a row, for tests of splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.splits.parts import HeldOutPart, TrainingPart
from models.splits.spans import Spans


class Panel(NamedTuple):
    spans: Spans
    instruments: npt.NDArray[np.str_]
    """(N,) the name of each sample's instrument."""


def panel(moments: Mapping[str, Iterable[int]], *, window: int, horizon: int) -> Panel:
    """A sample at each moment of an instrument: ``window`` before it are inputs, ``horizon`` after it the label."""
    ts_ns = np.concatenate([np.fromiter(times, np.int64) for times in moments.values()]) + 1_000
    names = np.concatenate([np.full(len(list(times)), name) for name, times in moments.items()])
    return Panel(Spans(ts_ns - window, ts_ns, ts_ns + horizon), names)


def times_of(part: TrainingPart | HeldOutPart, spans: Spans) -> npt.NDArray[np.int64]:
    """When the samples of a part are asked about, ascending."""
    return spans.ts_ns[part.index]
