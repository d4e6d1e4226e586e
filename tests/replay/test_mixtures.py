"""A session on a mixture with gates: what its members said is on record, and it replays, also computed anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.commands import NewOrder
from engine.events import ModelAssigned, Prediction
from models.bundle import load_bundle
from models.mixture.learned import LearnedWeights, write_weights
from tests.replay.test_sessions import USDM_BTC, head_of, records
from tests.support.daemon import ROOT, paper_session, replay_session


def test_a_mixture_trades_behind_its_gates_and_replays_identically(market_data: Path, tmp_path: Path) -> None:
    """Two bundles, learned weights with conformal quantiles, both gates: every prediction holds the members' numbers
    and shares, and entries are beyond the learned thresholds."""
    for name in ("first", "second"):
        place = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "bundles" / name))
        manifest = json.loads((place / "manifest.json").read_bytes())
        (place / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    versions = [load_bundle(tmp_path / "bundles" / name).version for name in ("first", "second")]
    learned = LearnedWeights(
        dict(zip(versions, (0.75, 0.25), strict=True)), 1_000, {}, {"0.8": 0.4, "0.9": 0.55}, (0.45, 0.55)
    )
    write_weights(tmp_path / "weights.json", learned)
    files = [
        head_of(market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet", rows, tmp_path)
        for kind, rows in (("quotes", 4_000), ("trades", 1_500))
    ]
    mixture = {"name": "both", "members": ["first", "second"], "weights_file": str(tmp_path / "weights.json")}
    params = {"cost_multiple": 0, "gates": ["conformal", "spread"], "spread_max": 0.01}
    strategy = {"name": "s", "kind": "threshold", "model": "both", "params": params}
    wanted = {
        "models.directory": str(tmp_path / "bundles"),
        "models.deadline_us": 60_000_000,
        "mixtures": json.dumps([mixture]),
        "strategies": json.dumps([strategy]),
    }
    summary = paper_session(
        tmp_path, files, *(word for key, value in wanted.items() for word in ("--set", f"{key}={value}"))
    )
    written = [one.record for one in records(tmp_path, summary["session"])]
    (assigned,) = {one.model: one for one in written if isinstance(one, ModelAssigned)}.values()
    facts = dict(assigned.facts)
    assert [facts[f"member.{version}"] for version in versions] == [2.0, 3.0]
    said = [one for one in written if isinstance(one, Prediction)]
    assert len(said) == summary["predictions"] > 100
    for one in said:
        mean, spread, first, second, *shares = one.values
        assert (one.model, tuple(shares)) == (assigned.model, (0.75, 0.25))
        assert (mean, spread) == pytest.approx((first, 0.0), abs=1e-6)
        assert first == second
    entries = [one.intent for one in written if isinstance(one, NewOrder) and one.intent.model]
    assert entries
    for one in entries:
        value = float(one.reason.split()[1])
        assert value > 0.55 if one.reason.startswith("long") else value < 0.45
    for again in ((), ("--recompute",)):
        status, result = replay_session(tmp_path, summary["session"], *again)
        assert (status, result["identical"]) == (0, True)
