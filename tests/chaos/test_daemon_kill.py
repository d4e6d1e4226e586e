"""kill -9 at any moment leaves a session that replays."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path

import pytest

from engine.commands import NewOrder
from engine.runtime.journal_reader import read_journal
from tests.support.daemon import Running, replay_session
from tests.support.journals import wait_until


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_daemon_leaves_a_session_that_replays(seed: int, market_data: Path, tmp_path: Path) -> None:
    """Killed at a random moment of a full-speed run over recorded data; its last event may be unfinished, no more."""
    name = "binance_usdm_btcusdt_20240808"
    files = [str(market_data / "ticks" / f"{name}_{kind}.parquet") for kind in ("quotes", "trades")]
    daemon = Running(tmp_path, "--replay", *files, "--speed", "20", "--no-report")
    try:
        wait_until(lambda: re.search("orders [1-9]", daemon.said()) is not None, timeout_s=90.0)
        time.sleep(random.Random(seed).uniform(0.0, 1.5))
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait(30)
    finally:
        daemon.close()
    orders = [r for r in read_journal(daemon.session / "journal") if isinstance(r.record, NewOrder)]
    assert orders
    status, result = replay_session(tmp_path, daemon.session.name)
    assert (status, result["identical"]) == (0, True)
    assert result["decisions"] >= len(orders)
