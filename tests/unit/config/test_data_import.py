"""The command ``data import``: which files it takes, what it prints, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from config import data_commands
from config.data_import import choose
from engine.data.catalogue import Catalogue
from engine.errors import DataError
from tests.support.daemon import ROOT, environment
from tests.support.journals import wait_until

CSV = "ts,open,high,low,close,volume\n" + "".join(f"2024-01-0{day},1,3,1,2,7\n" for day in (1, 2, 4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as people have them: data in folders, a README, a picture."""
    (tmp_path / "in" / "binance").mkdir(parents=True)
    (tmp_path / "in" / "binance" / "BTC_USDT-1d.csv").write_text(CSV)
    (tmp_path / "in" / "binance" / "ETH_USDT-1d.csv").write_text(CSV)
    (tmp_path / "in" / "README.md").write_text("prices")
    (tmp_path / "in" / "chart.png").write_bytes(b"\x89PNG\0\0\0")
    return tmp_path / "in"


def test_a_folder_gives_its_files_and_names_the_rest(folder: Path) -> None:
    """Sorted, each once although it is named twice; the README is neither."""
    chosen, skipped = choose([folder, folder / "binance" / "BTC_USDT-1d.csv"])
    assert [path.name for path in chosen] == ["BTC_USDT-1d.csv", "ETH_USDT-1d.csv"]
    assert [path.name for path in skipped] == ["chart.png"]
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no file of market data"):
        choose([empty])


def test_the_report_is_a_table_and_one_json_object(folder: Path, tmp_path: Path) -> None:
    """Two files, each with a day missing; names, counts and the catalogue in both."""
    done = CliRunner().invoke(data_commands.app, ["import", str(folder), "--to", str(tmp_path / "c"), "--json"])
    assert done.exit_code == 0, done.output
    assert "BTC_USDT-1d.csv" in done.output
    assert "missing_bars 1" in done.output
    content = json.loads(done.stdout.splitlines()[-1])
    assert {name: content[name] for name in ("catalogue", "rows", "imported", "failed")} == {
        "catalogue": str(tmp_path / "c"), "rows": 6, "imported": 6, "failed": 0
    }  # fmt: skip
    first = content["files"][0]
    assert (first["kind"], first["interval"], first["venue"]) == ("bars", "1d", "binance_spot")
    assert (first["defects"], first["remarks"]) == ({"missing_bars": 1}, {"naive_time": 3})
    assert len(Catalogue(tmp_path / "c").parts()) == 2


def test_an_import_that_was_killed_is_given_again(tmp_path: Path) -> None:
    """Kill -9 after some of 150 files: the same command stores the rest, says what was there, and ends with 0."""
    folder, to = tmp_path / "coinbase", tmp_path / "c"
    folder.mkdir()
    for number in range(150):
        lines = [f"2024-01-0{day},1,3,1,2,7" for day in (1, 2, 3)]
        (folder / f"A{number}_USD-1d.csv").write_text("\n".join(["date,open,high,low,close,volume", *lines]) + "\n")
    command = [sys.executable, "run.py", "data", "import", str(folder), "--to", str(to)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL) as killed:
        wait_until(lambda: len(list(to.glob("log/*.json"))) >= 5)
        killed.kill()
    before = sum(part.rows for part in Catalogue(to).parts())
    assert 0 < before < 450
    done = CliRunner().invoke(data_commands.app, ["import", str(folder), "--to", str(to), "--json"])
    assert done.exit_code == 0, done.output[-2000:]
    content = json.loads(done.stdout.splitlines()[-1])
    assert {name: content[name] for name in ("rows", "imported", "before", "failed")} == {
        "rows": 450, "imported": 450 - before, "before": before, "failed": 0
    }  # fmt: skip
    assert f"450 of 450 rows are in {to}, {before:,} of them since an earlier import" in done.output
    assert sorted(part.rows for part in Catalogue(to).parts()) == [3] * 150


def test_names_of_columns_command_neither_table_nor_terminal(tmp_path: Path) -> None:
    """A column that is not stored is named in the report, as it is written."""
    path = tmp_path / "coinbase" / "BTC_USD-1d.csv"
    path.parent.mkdir()
    lines = CSV.splitlines()
    path.write_text("\n".join([f"{lines[0]},[/] [red]\x1b[2J", *(f"{line},x" for line in lines[1:])]) + "\n")
    done = CliRunner().invoke(data_commands.app, ["import", str(path), "--to", str(tmp_path / "c")])
    assert done.exit_code == 0, done.exception
    assert "[/] [red]" in done.output
    assert "\x1b[2J" not in done.output


def test_the_program_refuses_in_one_line(tmp_path: Path) -> None:
    """As a process of its own: exit 2, one line on stderr, no traceback, no catalogue."""
    (tmp_path / "a.csv").write_text(CSV.replace("7\n", "seven\n", 1))
    named = ("--venue", "coinbase", "--symbol", "BTC-USD")
    done = subprocess.run(
        [sys.executable, "run.py", "data", "import", str(tmp_path / "a.csv"), "--to", str(tmp_path / "c"), *named],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    line = f"kestrel: {tmp_path / 'a.csv'} column 'volume' is 'seven' in line 2; expected a number"
    assert done.stderr == f"{line}; correct or remove that row\n"
    assert not (tmp_path / "c").exists()
