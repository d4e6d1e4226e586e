"""From candles to the batches that a network learns from: rows, a label, parts that do not touch, batches.

    python examples/training_rows.py                                     # generated candles
    python examples/training_rows.py candles.parquet

The file holds candles of one or more symbols (docs/training.md).  Rows are written once to the folder of ``--rows`` and
mapped by the next run on the same; without it they go to a folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import KestrelError
from engine.features import FeatureSpec, GapPolicy, Sampling
from engine.features.sets import SETS, named_spec
from models.labels import LabelSpec
from models.labels.barrier import REACHED
from models.labels.uniqueness import episodes
from models.splits import walk_forward
from models.trainer.candle_files import read_candles
from models.trainer.recorded import recorded_markets
from models.trainer.settings import Data
from models.windows.loader import TrainingBatches
from models.windows.samples import Samples, samples_of
from models.windows.sampling import uniqueness_weights
from models.windows.store import stored

HOUR_NS = 3_600_000_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="From candles to training batches.")
    parser.add_argument("file", nargs="?", type=Path, help="Parquet file of candles; default: generated ones")
    parser.add_argument("--quote", default="", help="what symbols are priced in that do not say it")
    parser.add_argument("--set", default="hybrid11", help=f"column set: {', '.join(SETS)}")
    parser.add_argument("--window", type=int, default=24, help="rows that a model sees at once")
    parser.add_argument("--rows", type=Path, help="folder to keep the rows in")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        file = options.file or generated(Path(scratch))
        show(file, options.quote, options.set, options.window, options.rows or Path(scratch) / "rows")
    return 0


def show(file: Path, quote: str, columns: str, window: int, folder: Path) -> None:
    # 1. Markets: candles as events, judged as in a session.
    interval_ns = read_candles(file, quote)[0].interval_ns
    spec = spec_of(columns, window, interval_ns)
    markets = recorded_markets(Data(files=(file.name,), quote=quote), file.parent, spec)
    print(f"{len(markets)} instruments in {file.name}, candles of {interval_ns / 1e9:g} s")

    # 2. Rows and labels, through the feature buffer of a session, written once under their fingerprint.
    barrier = LabelSpec(kind="barrier", horizon_rows=8, target=Decimal("0.05"), stop=Decimal("0.02"))
    table = stored(folder, markets, spec, {"buy": barrier})
    samples = samples_of(table, "buy")
    print(f"{len(table):,} rows of {len(spec.columns)} columns, {len(samples):,} samples, {table.fingerprint[:16]}...")
    print(f"+5 % before -2 % within 8 rows: {np.mean(samples.values == REACHED):.2%}, {signals(samples)} episodes")

    # 3. Parts: five times the past learns and what follows judges; nothing between window and label is shared.
    splits = walk_forward(samples.spans)
    for number, split in enumerate(splits, 1):
        print(
            f"origin {number}: {len(split.train):,} learn, {len(split.validation):,} choose, {len(split.test):,} judge"
        )

    # 4. Batches: drawn by how much a label has of its own, in an order that the seed decides.
    part = splits[-1].train
    batches = TrainingBatches(part, samples, batch=32, seed=1, weights=uniqueness_weights(part, samples))
    first = next(batches.epoch())
    print(f"{batches.steps:,} batches an epoch; the first is {first.windows.shape} {first.windows.dtype}")


def spec_of(columns: str, window: int, interval_ns: int) -> FeatureSpec:
    """Rows of candles; holes of up to a week are a market that was closed."""
    sampling = Sampling.time_bar(interval_ns, price="trade")
    return named_spec(columns, window, sampling, GapPolicy(flat_rows_max=0, hole_ns_max=7 * 24 * HOUR_NS))


def signals(samples: Samples) -> int:
    """Stretches that labels with the target reached make: as often as one could have traded them."""
    found = 0
    for number in range(len(samples.table.instruments)):
        own = samples.instrument == number
        found += episodes(samples.position[own] + 1, samples.last[own], samples.values[own] == REACHED)
    return found


def generated(folder: Path) -> Path:
    """Hourly candles of two made-up coins, half a year."""
    random = np.random.default_rng(1)
    tables = []
    for symbol in ("AAAUSDT", "BBBUSDT"):
        close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.01, 4_400)))
        start = np.r_[100.0, close[:-1]]
        prices = {
            "open": start,
            "high": np.maximum(start, close) * (1 + random.exponential(0.003, 4_400)),
            "low": np.minimum(start, close) * (1 - random.exponential(0.003, 4_400)),
            "close": close,
        }
        times = 1_704_067_200_000_000_000 + np.arange(4_400) * HOUR_NS
        volume = random.exponential(10.0, 4_400)
        tables.append(pa.table({"symbol": [symbol] * 4_400, "ts_ns": times, **prices, "volume": volume}))
    path = folder / "generated.parquet"
    pq.write_table(pa.concat_tables(tables).replace_schema_metadata({"venue": "Binance spot"}), path)
    return path


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KestrelError as error:
        sys.exit(f"training_rows: {error}")
