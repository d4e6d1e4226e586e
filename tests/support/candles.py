"""Markets of generated candles for tests of rows: small, seeded, and with a fingerprint of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.events import Bar
from engine.features import FeatureSpec, GapPolicy, Sampling
from models.trainer.recorded import Recorded
from models.windows.table import RowTable
from tests.support.features import SECOND, instrument

MINUTE = 60 * SECOND
START_NS = 1_700_000_040_000_000_000
"""A whole minute."""


def candle_spec(window: int = 4, columns: tuple[str, ...] = ("close", "ret_1", "rv_5")) -> FeatureSpec:
    """Few columns of one-minute candles: compiled in a second or two."""
    sampling = Sampling.time_bar(MINUTE, price="trade")
    return FeatureSpec("candles", columns, window, sampling, gap=GapPolicy(flat_rows_max=window - 1))


def candles(name: str, count: int, *, seed: int = 1, begin: int = 0) -> list[Bar]:
    """A seeded walk in cents; ``begin`` minutes after the start of all."""
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.004, count))), 2)
    start = np.r_[100.0, close][:count]
    high = np.round(np.maximum(start, close) + random.exponential(0.2, count), 2)
    low = np.round(np.minimum(start, close) - random.exponential(0.2, count), 2)
    volume = np.round(random.exponential(5.0, count) + 0.01, 3)
    ends = START_NS + (np.arange(count) + begin + 1) * MINUTE
    rows = zip(*(column.tolist() for column in (ends, start, high, low, close, volume)), strict=True)
    return [Bar(end, end, name, MINUTE, *numbers) for end, *numbers in rows]


def market(name: str = "A/USD@test", count: int = 300, *, sha: str = "ab", **made: Any) -> Recorded:
    """One instrument's candles, as a training run reads them."""
    bars = candles(name, count, **made)

    def events() -> Iterator[Bar]:
        return iter(bars)

    base = name.partition("/")[0]
    about = instrument(id=name, venue="test", venue_symbol=base, base=base, quote="USD", settlement="USD")
    return Recorded(about, events, ((f"{base}.parquet", sha * 32),))


def mapped_table(folder: Any, rows: int, width: int, window: int, *, seed: int = 0) -> RowTable:
    """A table of random rows in files, all of one instrument, warm from the first full window on; columns have no
    meaning."""
    columns = tuple(f"lag(ret_1,{n})" for n in range(1, width + 1))
    spec = FeatureSpec("random", columns, window, Sampling.time_bar(MINUTE, price="trade"))
    file = folder / "values.f32"
    values = np.memmap(file, np.float32, "w+", shape=(rows, width))
    random = np.random.default_rng(seed)
    for start in range(0, rows, 50_000):
        values[start : start + 50_000] = random.standard_normal((min(50_000, rows - start), width), np.float32)
    values.flush()
    del values
    ts_ns = START_NS + np.arange(rows) * MINUTE
    prices = np.full(rows, 100.0)
    warm = np.arange(rows) >= window - 1
    return RowTable(
        spec=spec,
        instruments=(instrument(),),
        starts=np.array([0, rows]),
        values=np.asarray(np.memmap(file, np.float32, "r", shape=(rows, width))),
        ts_event_ns=ts_ns,
        ts_ns=ts_ns,
        close_px=prices,
        high_px=prices,
        low_px=prices,
        warm=warm,
    )
