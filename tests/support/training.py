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
from models.trainer.settings import load_settings

ROWS = 3_000


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
    """A generated mean-reverting EUR/USD in ``quotes.parquet``; from that time on a thousand times its price."""
    random = np.random.default_rng(5)
    ts_ns = 1_400_000_000_000_000_000 + np.cumsum(random.integers(50_000_000, 900_000_000, ROWS))
    level = np.zeros(ROWS)
    for i in range(1, ROWS):
        level[i] = 0.9 * level[i - 1] + random.normal()
    bid = np.round(1.38 + 0.00002 * level, 5)
    ask = np.round(bid + 0.00001 * random.integers(1, 4, ROWS), 5)
    if wild_from_ns is not None:
        bid[ts_ns >= wild_from_ns] *= 1_000
        ask[ts_ns >= wild_from_ns] *= 1_000
    table = pa.table({"ts_ns": ts_ns, "bid": bid, "ask": ask})
    pq.write_table(table.replace_schema_metadata({"venue": "OANDA", "symbol": "EURUSD"}), folder / "quotes.parquet")
    return folder


def write_settings(folder: Path, settings: dict[str, Any]) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def tiny_dataset(folder: Path, **changes: Any) -> Dataset:
    """Rows, labels and parts of the quotes in ``folder``."""
    settings, _ = load_settings(write_settings(folder, tiny_settings(**changes)))
    return dataset.build(settings, dataset.feature_spec(settings.features), folder)
