"""The aggregator's example runs as its page says: on a market it makes up, on recorded files, and on none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from tests.support.daemon import ROOT, environment


def run_example(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "aggregator.py"), *arguments],
        cwd=ROOT,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_made_up_market_shows_a_mute_and_a_wild_venue(tmp_path: Path) -> None:
    """Without recorded data: both leave and return, and confidence follows."""
    done = run_example(KESTREL_DATA=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    mute = [line for line in lines if "b mute" in line]
    wild = [line for line in lines if "c wild" in line]
    sound = [line for line in lines if all(f"{venue} live" in line for venue in "abc")]
    assert len(mute) >= 1
    assert len(wild) >= 2
    assert all("confidence 0.6" in line for line in (*mute, *wild))
    assert lines.index(sound[-1]) > lines.index(wild[-1]) > lines.index(mute[-1])
    assert "BTC traded on all venues" in done.stdout


def test_recorded_files_are_consolidated(market_data: Path, tmp_path: Path) -> None:
    """The first rows of Binance spot and futures: a price of two venues, some basis points apart."""
    files = []
    for venue, rows in (("spot", 3_000), ("usdm", 9_000)):
        source = market_data / "ticks" / f"binance_{venue}_btcusdt_20240808_quotes.parquet"
        files.append(str(tmp_path / source.name))
        pq.write_table(pq.read_table(source).slice(0, rows), files[-1])
    done = run_example(*files)
    assert (done.returncode, done.stderr) == (0, "")
    assert "binance_spot live" in done.stdout
    assert "binance_usdm live" in done.stdout
    assert "BTC/USDT: " in done.stdout


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    """A file that is not there."""
    done = run_example(str(tmp_path / "none.parquet"))
    assert done.returncode == 2
    assert done.stderr.startswith("aggregator: ")
    assert len(done.stderr.splitlines()) == 1
