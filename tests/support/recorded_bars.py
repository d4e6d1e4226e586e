"""The candles of the recorded files, as arrays: one entry for each symbol of each file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.features import Candles

INTERVALS_NS = {"1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400}


def bar_files(market_data: Path) -> list[Path]:
    """Every file of candles."""
    return sorted((market_data / "bars").glob("*.parquet"))


def interval_ns(path: Path) -> int:
    """The length of a file's candles, which its name says."""
    return INTERVALS_NS[path.name.split("_")[1]] * 10**9


def candles_of(path: Path) -> Iterator[tuple[str, Candles]]:
    """Symbol and candles in file order; of quote candles the mids, with no volume.  ``end_ns`` is start + interval."""
    table = pq.read_table(path)
    symbols = table["symbol"].unique().to_pylist() if "symbol" in table.column_names else [""]
    for symbol in symbols:
        rows = table.filter(pc.equal(table["symbol"], symbol)) if symbol else table

        def column(name: str, rows=rows) -> np.ndarray:
            return rows[name].to_numpy().astype(np.float64)

        end_ns = rows["ts_ns"].to_numpy() + interval_ns(path)
        if "open" in rows.column_names:
            prices = [column(name) for name in ("open", "high", "low", "close")]
            volume = column("volume")
        else:
            sides = [[column(f"{side}_{name}") for name in ("open", "high", "low", "close")] for side in ("bid", "ask")]
            prices = [0.5 * (bid + ask) for bid, ask in zip(*sides, strict=True)]
            volume = np.zeros(len(end_ns))
        yield symbol, Candles(end_ns, *prices, volume)
