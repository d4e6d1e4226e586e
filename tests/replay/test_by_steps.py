"""A session whose model carries its state from row to row: it replays, also with every step computed anew."""

from __future__ import annotations

from pathlib import Path

from engine.commands import NewOrder
from engine.events import Prediction
from tests.replay.test_sessions import USDM_BTC, head_of, records
from tests.support.daemon import paper_session, replay_session
from tests.unit.models.serving.gru import write_gru_bundle


def test_a_session_by_steps_trades_and_replays_with_its_states(market_data: Path, tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    write_gru_bundle(bundles / "demo-crypto", columns=("imbalance", "imbalance_5", "microprice_bps", "ret_1", "ret_5"))
    files = [
        head_of(market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet", rows, tmp_path)
        for kind, rows in (("quotes", 2_500), ("trades", 900))
    ]
    wanted = {
        "models.directory": bundles,
        "models.by_step": "[demo-crypto]",
        "models.deadline_us": 60_000_000,
        "strategies": "[{name: s, kind: threshold, params: {buy: 0.51, sell: 0.49, cost_multiple: 0}}]",
    }
    summary = paper_session(
        tmp_path, files, *(word for key, one in wanted.items() for word in ("--set", f"{key}={one}"))
    )
    log = (tmp_path / "sessions" / summary["session"] / "log" / "kestrel.jsonl").read_text()
    assert "by steps" in log
    written = [one.record for one in records(tmp_path, summary["session"])]
    assert sum(isinstance(one, Prediction) for one in written) == summary["predictions"] > 1_000
    assert any(isinstance(one, NewOrder) for one in written)
    for again in ((), ("--recompute",)):
        status, result = replay_session(tmp_path, summary["session"], *again)
        assert (status, result["identical"]) == (0, True), result
    assert result["recomputed_decisions"] == summary["predictions"]
