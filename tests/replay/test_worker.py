"""A daemon on paper whose model runs on the worker: its answers are events, and the session is decided again."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from engine import events as e
from engine.commands import NewOrder
from engine.runtime.journal_reader import read_journal
from engine.runtime.session import Session
from engine.seats import ASYNCHRONOUS
from tests.replay.test_model_life import last_json_of, until
from tests.replay.test_sessions import USDM_BTC, head_of
from tests.support.daemon import Running, paper_session, replay_session


@pytest.mark.fault("E4")
def test_answers_from_the_worker_are_inputs_that_replay(tmp_path: Path) -> None:
    """Two instruments at 300 orders a second of the market, and a deadline that some answers miss.

    Each prediction follows from an answer on record and has the times of its row; what is late is told as late and
    traded on by nobody; models computed anew say the same. The worker's counts are in status and metrics.
    """
    eager = "strategies=[{name: mine, kind: threshold, params: {buy: 0.51, sell: 0.49, cost_multiple: 0}}]"
    wanted = (
        "models.schedule=worker",
        "sandbox.rate_per_s=300",
        "sandbox.history_s=5",
        "models.deadline_us=900",
        eager,
    )
    daemon = Running(tmp_path, *(part for one in wanted for part in ("--set", one)), "--no-report", "--json")
    try:
        status = until(daemon, lambda now: now["predictions"] > 150 and now["orders"] > 2)
        counts = status["model_asks"]
        url = next(line.split()[1] for line in daemon.said().splitlines() if line.strip().startswith("metrics"))
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert 'kestrel_model_asks_total{outcome="superseded"}' in answer.read().decode()
        assert daemon.stop() == 0
    finally:
        daemon.close()
    assert counts["asked"] >= counts["answered"] + counts["late"] > 100
    assert "worker on cpu: models.schedule says so" in daemon.said()
    journal = {one.seq: one.record for one in read_journal(daemon.session / "journal")}
    records = list(journal.values())
    (facts, *_) = [dict(one.facts) for one in records if isinstance(one, e.ModelAssigned)]
    assert facts[ASYNCHRONOUS] == 1.0
    made = [one for one in records if isinstance(one, e.PredictionMade)]
    said = [one for one in records if isinstance(one, e.Prediction)]
    assert {(one.instrument, one.ts_recv_ns, one.values) for one in said} <= {
        (one.instrument, one.row_ns, one.values) for one in made
    }
    assert all(one.ts_recv_ns > one.row_ns for one in made)
    rested_on = {one.intent.prediction_seq for one in records if isinstance(one, NewOrder)} - {0}
    behind = [journal[seq] for seq in rested_on]
    assert {one.status for one in behind if isinstance(one, e.Prediction)} == {e.PredictionStatus.OK}
    assert last_json_of(daemon)["predictions"] == len(said)
    for extra in ((), ("--recompute",)):
        code, result = replay_session(tmp_path, daemon.session.name, *extra)
        assert (code, result["identical"], result["predictions"]) == (0, True, len(said)), json.dumps(result)
    failed = sum(one.status is e.PredictionStatus.FAILED for one in said)
    assert result["recomputed_decisions"] >= len(said) - failed


def test_a_played_file_loses_no_ask_however_fast_it_is_played(market_data: Path, tmp_path: Path) -> None:
    """Full speed, with a worker asked for: every row is predicted in the loop, and the record has no answer apart."""
    files = [market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet" for kind in ("quotes", "trades")]
    heads = [head_of(file, 2_000, tmp_path) for file in files]
    summary = paper_session(tmp_path, heads, "--set", "models.schedule=worker")
    session = Session.open(tmp_path / "sessions" / summary["session"])
    records = [one.record for one in read_journal(session.journal)]
    (assigned,) = [one for one in records if isinstance(one, e.ModelAssigned)]
    assert ASYNCHRONOUS not in dict(assigned.facts)
    assert not any(isinstance(one, e.PredictionMade) for one in records)
    assert summary["predictions"] == sum(isinstance(one, e.Prediction) for one in records) > 200
