"""A session whose GPU is not there trades on the CPU, and its record says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.events import ProviderChanged
from tests.replay.test_sessions import USDM_BTC, head_of, records
from tests.support.daemon import paper_session, replay_session


@pytest.mark.fault("E5")
def test_a_session_without_its_gpu_trades_on_the_cpu_and_replays_identically(market_data: Path, tmp_path: Path) -> None:
    """``models.providers`` names CUDA, which this runtime has not: predictions come, the change is in the journal with
    version and reason, and a replay decides the same, also one that computes again."""
    files = [
        head_of(market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet", rows, tmp_path)
        for kind, rows in (("quotes", 3_000), ("trades", 1_000))
    ]
    wanted = ("--set", 'models.providers=["cuda"]', "--set", "models.deadline_us=60000000")
    summary = paper_session(tmp_path, files, *wanted)
    assert summary["predictions"] > 100
    changes = [one.record for one in records(tmp_path, summary["session"]) if isinstance(one.record, ProviderChanged)]
    (change,) = changes
    assert (change.model, change.before, change.after) == (summary["models"][0], "cuda", "cpu")
    assert "provider cuda is not in this runtime" in change.text
    for again in ((), ("--recompute",)):
        status, result = replay_session(tmp_path, summary["session"], *again)
        assert (status, result["identical"]) == (0, True)
