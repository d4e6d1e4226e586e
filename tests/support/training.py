"""A training run small enough for a test: generated quotes and the settings to learn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from models.trainer import dataset
from models.trainer.dataset import Dataset
from models.trainer.settings import load_settings, settings_of

ROWS = 3_000
WILD = 1.15
"""Thousands of the moves of before, and what the quality gate believes at the second quote."""


def tiny_settings(**changes: Any) -> dict[str, Any]:
    """As a user would write them, with ``changes`` of whole sections."""
    settings: dict[str, Any] = {
        "name": "tiny",
        "task": "direction",
        "summary": "A test.",
        "data": {"files": ["quotes.parquet"]},
        "features": {"columns": "quote40", "window": 30},
        "label": {"horizon_rows": 5, "span_s_max": 60},
        "scope": {"asset_classes": ["fx"]},
        "fit": {"seeds": [1], "epochs": 1, "rows_per_epoch": 512, "batch": 64, "eval_rows_max": 300, "threads": 1},
    }
    return settings | changes


def write_quotes(folder: Path, *, wild_from_ns: int | None = None) -> Path:
    """A generated mean-reverting EUR/USD in ``quotes.parquet``; from that time on ``WILD`` times its price."""
    random = np.random.default_rng(5)
    ts_ns = 1_400_000_000_000_000_000 + np.cumsum(random.integers(50_000_000, 900_000_000, ROWS))
    level = np.zeros(ROWS)
    for i in range(1, ROWS):
        level[i] = 0.9 * level[i - 1] + random.normal()
    bid = np.round(1.38 + 0.00002 * level, 5)
    ask = np.round(bid + 0.00001 * random.integers(1, 4, ROWS), 5)
    if wild_from_ns is not None:
        bid[ts_ns >= wild_from_ns] *= WILD
        ask[ts_ns >= wild_from_ns] *= WILD
    table = pa.table({"ts_ns": ts_ns, "bid": bid, "ask": ask})
    pq.write_table(table.replace_schema_metadata({"venue": "OANDA", "symbol": "EURUSD"}), folder / "quotes.parquet")
    return folder


def write_settings(folder: Path, settings: dict[str, Any]) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def train_bundle(run: Path, files: Path, **changes: Any) -> Path:
    """Trains on the quotes in ``files`` to the run folder ``run``; where its bundle is.  Needs the extra train."""
    from models.trainer.run import run_training
    from models.trainer.run_bundle import bundle_run

    run_training(settings_of(tiny_settings(**changes)), folder=run, data=files)
    return bundle_run(run, data=files).path


def tiny_dataset(folder: Path, **changes: Any) -> Dataset:
    """Rows, labels and parts of the quotes in ``folder``."""
    settings, _ = load_settings(write_settings(folder, tiny_settings(**changes)))
    return dataset.build(settings, dataset.feature_spec(settings.features), folder)


CANDLES = 900
LABELS: dict[str, dict[str, Any]] = {
    "direction": {"horizon_rows": 2},
    "classes": {"threshold": 0.004},
    "signal": {"horizon_rows": 8, "target": 0.01, "stop": 0.008},
    "return": {},
    "variance": {"horizon_rows": 3},
    "regime": {"horizon_rows": 5},
    "multi_horizon": {"horizons": [1, 3]},
}
"""A label of each task that has one."""


def write_candles(folder: Path, *, still_from: int | None = None) -> Path:
    """Generated minutes of two coins in ``candles.parquet``, whose volatility clusters; from that row on nothing
    moves."""
    tables = []
    for seed, symbol in enumerate(("AAAUSDT", "BBBUSDT")):
        random = np.random.default_rng(seed)
        volatility = 0.004 * np.exp(0.7 * np.sin(np.arange(CANDLES) / 20 + seed))
        close = np.round(100 * np.exp(np.cumsum(volatility * random.normal(size=CANDLES))), 2)
        if still_from is not None:
            close[still_from:] = close[still_from - 1]
        start = np.r_[100.0, close[:-1]]
        reach = np.zeros((2, CANDLES)) if still_from is not None else random.exponential(0.2, (2, CANDLES))
        prices = {
            "open": start,
            "high": np.round(np.maximum(start, close) + reach[0], 2),
            "low": np.round(np.minimum(start, close) - reach[1], 2),
            "close": close,
            "volume": np.round(random.exponential(5.0, CANDLES) + 0.01, 3),
        }
        times = 1_700_000_040_000_000_000 + np.arange(CANDLES) * 60_000_000_000
        tables.append(pa.table({"symbol": [symbol] * CANDLES, "ts_ns": times, **prices}))
    whole = pa.concat_tables(tables).replace_schema_metadata({"venue": "Binance spot"})
    pq.write_table(whole, folder / "candles.parquet")
    return folder


def candle_settings(task: str, **changes: Any) -> dict[str, Any]:
    """A run of a task on those candles that takes a second; ``changes`` of whole sections, of ``fit`` key by key."""
    label: dict[str, Any] = {"label": LABELS[task]} if task in LABELS else {}
    if task == "multi_task":
        label = {
            "labels": {
                "return": {"kind": "return"},
                "variance": {"kind": "parkinson_variance", "horizon_rows": 3},
                "regime": {"kind": "regime", "horizon_rows": 5},
            }
        }
    fit = {"seeds": [1], "epochs": 2, "batch": 64, "rows_per_epoch": 512, **changes.pop("fit", {})}
    settings: dict[str, Any] = {
        "name": "tiny",
        "task": task,
        "summary": "A test.",
        "data": {"files": ["candles.parquet"]},
        "features": {
            "columns": ["ret_1", "rv_5", "range_ratio"],
            "window": 6,
            "sampling": {"kind": "time_bar", "interval_ns": 60_000_000_000, "price": "trade"},
        },
        "scope": {"asset_classes": ["spot"]},
        "network": {"name": "mlp", "sizes": [8]},
        "normaliser": {"kind": "robust"},
        "regimes": {"trend": 0.004},
        **label,
        "fit": fit,
    }
    return settings | changes
