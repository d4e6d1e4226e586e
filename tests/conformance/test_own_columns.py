"""A column from a folder of the user's: configured for the daemon, named in a training file, the same in both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from config.assembly import ConfiguredAssembly
from config.load import load
from engine.data.parquet import describe_files, read_events
from engine.features import column, compute_rows
from engine.quality.sieve import believed
from models.trainer.dataset import feature_spec
from models.trainer.settings import Features
from tests.support.daemon import paper_session, replay_apart

OWN = '''
from engine.features import Column, Family, register, register_family
from engine.features import layout as at
from engine.features.jit import kernel

STRETCH = 10.0


@kernel
def own_gap(s, scale):
    """How far the close lies above the middle of its row."""
    return scale * (at.last(s, at.CLOSE, 0) - 0.5 * (at.last(s, at.HIGH, 0) + at.last(s, at.LOW, 0)))


register(Column(name="own_gap", function=own_gap, params=(STRETCH,), formula="10 (close - (high + low) / 2)",
                unit="price", inputs=("price",), warm_rows=1, candle=True))
'''
NAMES = ("binance_usdm_btcusdt_20240808_quotes.parquet", "binance_usdm_btcusdt_20240808_trades.parquet")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(column, "_COLUMNS", dict(column._COLUMNS))
    made = tmp_path / "columns"
    made.mkdir()
    (made / "gap.py").write_text(OWN)
    return made


def test_live_and_offline_give_the_same_numbers(folder: Path, market_data: Path) -> None:
    """The daemon's assembly and the trainer's spec over 10,000 recorded events: equal fingerprints, equal bits."""
    settings = load(
        env={},
        overrides={
            "features.columns_folder": str(folder),
            "features.columns": ["own_gap", "lag(own_gap,3)", "close"],
            "features.window": 10,
        },
    )
    infos = describe_files([market_data / "ticks" / name for name in NAMES])
    instrument = infos[0].instrument
    assembly = ConfiguredAssembly(settings, lambda: 0)
    live = assembly.features(instrument, assembly.assign(instrument, uses_model=False))
    assert live is not None
    wanted = feature_spec(
        Features(
            columns=("own_gap", "lag(own_gap,3)", "close"),
            window=live.spec.window,
            sampling=live.spec.sampling,
            columns_folder=str(folder),
        )
    )
    assert wanted.fingerprint() == live.spec.fingerprint()
    events = [event for event, _ in zip(read_events([info.path for info in infos]), range(10_000), strict=False)]
    judged = list(believed(events, {instrument.id: instrument}))
    rows = compute_rows(wanted, instrument, judged)
    served = [live.window()[-1].copy() for event in judged if live.update(event)]
    assert rows.values.tobytes() == np.array(served).tobytes()
    assert rows.warm.any()
    assert np.ptp(rows.values[rows.warm][:, 2]) > 0.0


def test_a_session_runs_with_it(folder: Path, market: tuple[Path, Path], tmp_path: Path) -> None:
    """``paper --replay`` with the column configured: rows are made, the session replays."""
    config = tmp_path / "own.json"
    config.write_text(
        json.dumps(
            {
                "features": {"columns_folder": str(folder), "columns": ["own_gap", "ema_12", "ema_26"], "window": 5},
                "strategies": [{"name": "cross", "kind": "ema_cross", "model": "none"}],
            }
        )
    )
    summary = paper_session(tmp_path, market, "--config", str(config))
    assert summary["ticks"] > 3000
    status, again = replay_apart(tmp_path, summary["session"])
    assert status == 0
    assert again["identical"] is True
