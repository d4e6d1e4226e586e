"""Windows to learn from, for the programs that train a network: recorded quotes through the engine's feature buffer.

The quotes are those of the folder KESTREL_DATA; where there are none, generated ones.  Either way the rows are those
that a session would hand to a model.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.data.instruments import known_instrument
from engine.data.parquet import describe_files, read_events
from engine.events import MarketEvent, Quote
from engine.features.rows import compute_rows
from engine.features.sets import quote40_spec
from engine.instruments import Instrument

RECORDED = "oanda_eurusd_quotes"
WINDOW = 30
HORIZON = 5  # rows that a label looks ahead

Float32Array = npt.NDArray[np.float32]


class Windows(NamedTuple):
    """N windows in time order, and what came after each."""

    source: str
    columns: tuple[str, ...]
    x: Float32Array  # (N, W, F) raw features
    move_bps: Float32Array  # (N,) move of the mid over the next HORIZON rows
    variance_bps: Float32Array  # (N,) mean square of its moves from row to row over the same rows

    def cut(self, share: float) -> tuple[Windows, Windows]:
        """Earlier and later windows; those whose label reaches into the later ones, or overlaps them, are left out."""
        at = int(len(self.x) * share)
        return self._rows(slice(None, at - HORIZON)), self._rows(slice(at + WINDOW, None))

    def _rows(self, rows: slice) -> Windows:
        return self._replace(x=self.x[rows], move_bps=self.move_bps[rows], variance_bps=self.variance_bps[rows])


def load_windows(events: int = 6_000) -> Windows:
    """From the first ``events`` quotes."""
    source, instrument, quotes = _quotes(events)
    spec = quote40_spec(WINDOW)
    rows = compute_rows(spec, instrument, quotes)
    log_mid = np.log(rows.mid_px) * 1e4
    step = np.diff(log_mid, prepend=log_mid[:1]) ** 2  # (rows,)
    ends = np.flatnonzero(rows.warm[:-HORIZON])  # (N,) last rows of full windows
    after = ends[:, None] + np.arange(1, HORIZON + 1)  # (N, HORIZON)
    return Windows(
        source,
        spec.columns,
        rows.values[ends[:, None] + np.arange(1 - WINDOW, 1)],
        (log_mid[ends + HORIZON] - log_mid[ends]).astype(np.float32),
        step[after].mean(axis=1).astype(np.float32),
    )


def _quotes(count: int) -> tuple[str, Instrument, list[MarketEvent]]:
    folder = os.environ.get("KESTREL_DATA")
    files = sorted(Path(folder, "ticks").glob(f"{RECORDED}_*.parquet")) if folder else []
    if files:
        info = describe_files(files)[0]
        return f"recorded {info.instrument.id}", info.instrument, list(islice(read_events(files), count))
    instrument = known_instrument("oanda", "EURUSD")
    assert instrument is not None
    return f"generated {instrument.id}", instrument, _generated(instrument, count)


def _generated(instrument: Instrument, count: int) -> list[MarketEvent]:
    """A seeded mid that swings with a period of 24 quotes, and noise: what is learned here is in no market."""
    rng = np.random.default_rng(7)
    tick, ts_ns = float(instrument.tick_px), 1_400_000_000_000_000_000
    quotes: list[MarketEvent] = []
    for number in range(count):
        ts_ns += int(rng.exponential(400_000_000)) + 1_000_000
        level = 3.0 * np.sin(2 * np.pi * number / 24) + rng.normal()
        bid = round(1.38 + 2 * tick * level, 5)
        ask = round(bid + tick * float(rng.integers(1, 4)), 5)
        quotes.append(Quote(ts_ns, ts_ns, instrument.id, bid, 0.0, ask, 0.0))
    return quotes
