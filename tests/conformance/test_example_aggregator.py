"""The aggregator's example runs as its page says: on a market it makes up, on recorded files, and on none."""

from __future__ import annotations

import re
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


def test_prices_are_printed_in_the_steps_of_their_instruments(market_data: Path, tmp_path: Path) -> None:
    """A day of EUR/USD at FXCM and OANDA: two decimals would make one price of bid and ask."""
    files = []
    for venue in ("fxcm", "oanda"):
        source = next((market_data / "ticks").glob(f"{venue}_eurusd_quotes_*.parquet"))
        files.append(str(tmp_path / source.name))
        pq.write_table(pq.read_table(source).slice(0, 40_000), files[-1])
    done = run_example(*files)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert re.search(r"bid 1\.3\d{4} +ask 1\.3\d{4} ", lines[-3])
    assert re.search(r"fxcm unseen  oanda live 1\.3\d{4} \(", lines[0])
    assert re.fullmatch(r"last bar:( 1\.3\d{4}){4}", lines[-1])


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As with ``| head -1``."""
    command = [sys.executable, str(ROOT / "examples" / "aggregator.py")]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert (run.wait(120), run.stderr.read()) == (0, b"")


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    """A file that is not there."""
    done = run_example(str(tmp_path / "none.parquet"))
    assert done.returncode == 2
    assert done.stderr.startswith("aggregator: ")
    assert len(done.stderr.splitlines()) == 1
