"""One source, three ways to run it: event by event, whole arrays, plain Python.  All of them say the same."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.features import jit
from engine.quality.report import QualityLine
from engine.quality.verdicts import verdict_of
from tests.support.recorded_ticks import read_ticks

ROOT = Path(__file__).resolve().parents[4]

RECORDED = {
    "binance_spot_btcusdt_20240808_quotes": {},
    "binance_spot_btcusdt_20240808_trades": {"volume_spike": 16},
    "binance_spot_ethusdt_20240808_quotes": {},
    "binance_spot_ethusdt_20240808_trades": {"volume_spike": 5},
    "binance_spot_xrpeth_trades_201910": {"outlier": 48, "spike": 21, "confirmed": 26},
    "binance_usdm_btcusdt_20240808_quotes": {},
    "binance_usdm_btcusdt_20240808_trades": {},
    "binance_usdm_ethusdt_20240808_quotes": {},
    "binance_usdm_ethusdt_20240808_trades": {"volume_spike": 4},
    "fxcm_eurusd_quotes_20140501_20140516": {"crossed": 116_871, "locked": 142_462},
    "oanda_eurusd_quotes_20140501_20140515": {"duplicate": 1},
    "oanda_xauusd_quotes_20140505_20140509": {},
    "us_ibm_trades_20131007_20131011": {"outlier": 18, "spike": 13, "confirmed": 2, "volume_spike": 15},
    "us_spy_trades_20131007_20131011": {"outlier": 92, "spike": 80, "confirmed": 10, "volume_spike": 82},
}
"""What the defaults find in each file of ticks: the table of docs/quality.md."""


@pytest.mark.parametrize("name", RECORDED)
def test_arrays_get_the_verdicts_of_events_one_by_one(name: str, market_data: Path) -> None:
    """Every row of every tick file, both ways: equal code by code, equal records, and no issue that is not known."""
    ticks = read_ticks(market_data / "ticks" / f"{name}.parquet")
    live, stored = ticks.gate(), ticks.gate()
    rows = min(len(ticks.ts_ns), 400_000)  # one by one a file of two million rows takes seconds
    codes = ticks.at_once(stored, 0, rows)
    np.testing.assert_array_equal(codes, ticks.one_by_one(live, 0, rows))
    np.testing.assert_array_equal(live._s, stored._s)
    ticks.at_once(stored, rows)
    line = QualityLine.of(stored.counts)
    assert line.points == len(ticks.ts_ns)
    assert line.issues == RECORDED[name]


def test_prints_that_a_vendor_marks_as_off_market_are_all_held_back(market_data: Path) -> None:
    """Ten of 1.9 million trades of SPY, 2 % below the market: the gate does not see the mark and finds each of them."""
    path = market_data / "ticks" / "us_spy_trades_20131007_20131011.parquet"
    marked = pq.read_table(path, columns=["suspicious"])["suspicious"].to_numpy().astype(bool)
    ticks = read_ticks(path)
    codes = ticks.at_once(ticks.gate())
    assert marked.sum() == 10
    assert {verdict_of(code) for code in codes[marked]} == {"suspect"}


def test_plain_python_says_the_same(market_data: Path) -> None:
    """Three files of different kinds in a process without numba: verdicts and records bit for bit."""
    code = (
        "import hashlib, sys\n"
        "from pathlib import Path\n"
        "from tests.support.recorded_ticks import read_ticks\n"
        "digest = hashlib.sha256()\n"
        "for path in sys.argv[1:]:\n"
        "    ticks = read_ticks(Path(path))\n"
        "    one, all_ = ticks.gate(), ticks.gate()\n"
        "    digest.update(ticks.one_by_one(one, 0, 3000).tobytes() + one._s.tobytes())\n"
        "    digest.update(ticks.at_once(all_, 0, 3000).tobytes() + all_._s.tobytes())\n"
        "from engine.features import jit\n"
        "print(jit.enabled(), digest.hexdigest())\n"
    )
    names = (
        "binance_spot_xrpeth_trades_201910",
        "binance_usdm_btcusdt_20240808_quotes",
        "fxcm_eurusd_quotes_20140501_20140516",
    )
    files = [str(market_data / "ticks" / f"{name}.parquet") for name in names]
    said = {}
    for switch in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code, *files],
            env={**os.environ, "KESTREL_NUMBA": switch},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        enabled, digest = done.stdout.split()
        said[enabled] = digest
    assert said["False"] == said.get("True", said["False"])
    assert len(said) == 2 or not jit.enabled()


def test_a_stream_judged_in_pieces_is_judged_as_a_whole(market_data: Path) -> None:
    """Batches of a file, as a reader gives them, cut anywhere."""
    ticks = read_ticks(market_data / "ticks" / "binance_spot_xrpeth_trades_201910.parquet")
    whole, pieces = ticks.gate(), ticks.gate()
    expected = ticks.at_once(whole)
    cuts = [0, 1, 777, 778, 5_000, len(expected)]
    found = np.concatenate([ticks.at_once(pieces, a, b) for a, b in pairwise(cuts)])
    np.testing.assert_array_equal(found, expected)
