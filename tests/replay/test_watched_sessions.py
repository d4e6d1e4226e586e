"""A session whose models are watched: another process makes every sampled prediction again while it trades, and knows a
challenger from the champion afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from models.bundle import load_bundle
from models.registry.store import Registry
from tests.support.daemon import ROOT, attempt, last_json, paper_session, replay_session


@pytest.mark.fault("E9")
def test_a_session_is_watched_to_its_end_replays_and_judges_a_challenger(market_data: Path, tmp_path: Path) -> None:
    """The shipped bundle plays three thousand events; the same bundle under another version is judged beside it."""
    files = []
    for kind, rows in (("quotes", 2_200), ("trades", 800)):
        files.append(tmp_path / f"binance_usdm_btcusdt_20240808_{kind}.parquet")
        pq.write_table(pq.read_table(market_data / "ticks" / files[-1].name).slice(0, rows), files[-1])
    watch = ["--set", "models.watch.enabled=true", "--set", "models.watch.skew_every=10"]
    summary = paper_session(tmp_path, files, "--session", "watched", *watch, "--set", "models.deadline_us=1000000")
    session = tmp_path / "sessions" / "watched"
    report = json.loads((session / "observer" / "report.json").read_text())
    (model,) = report["models"]
    assert report["troubles"] == {}
    assert model["predictions"] == summary["predictions"] > 1_000
    assert model["compared"] == model["equal"] > 50
    assert model["unmatched"] == 0
    assert replay_session(tmp_path, "watched")[1]["identical"]

    copy = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "made" / "demo-crypto"))
    manifest = json.loads((copy / "manifest.json").read_bytes())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "created_ns": manifest["created_ns"] + 1}))
    registry = Registry(tmp_path / "registry")
    version, _ = registry.add(load_bundle(copy))
    name, _, sha = version.partition("@")
    places = ["--sessions", str(tmp_path / "sessions"), "--registry", str(registry.root), "--json"]
    (verdict,) = last_json(attempt("models", "judge", name, sha, "--session", "watched", *places))["judged"]
    assert (verdict["model"], verdict["champion"], verdict["verdict"]) == (version, model["model"], "wait")
    assert "200 were fixed beforehand" in verdict["tests"]["signals"]["figures"]
    lost = attempt("models", "judge", name, "ffff", "--session", "watched", *places)
    assert lost.returncode == 2
    assert "no version 'ffff'" in lost.stderr
