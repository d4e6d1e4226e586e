"""The command ``data quality``, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import run
from engine.errors import ConfigError, DataError

CSV = "ts,bid,ask\n" + "".join(
    f"2024-01-01T{hour:02}:00:{second:02}Z,{100 + second % 2},{101 + second % 2 if second else 90}\n"
    for hour in range(3)
    for second in range(50)
)


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    """Three hours of 50 quotes; the first of each hour is crossed."""
    path = tmp_path / "quotes.csv"
    path.write_text(CSV)
    return path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(run.app, ["data", "quality", *map(str, arguments), "--json"])


def series(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])["series"]
    return found


def test_a_file_is_reported_by_issue(quotes: Path) -> None:
    """Table and JSON; exit 0, because defects of rows are what was asked for."""
    result = call(quotes)
    assert result.exit_code == 0, result.output
    assert "crossed 3" in result.stdout
    (one,) = series(result)
    assert (one["quality"]["points"], one["quality"]["dropped"]) == (150, 3)
    assert one["quality"]["issues"] == {"crossed": 3}
    assert one["quality"]["issue_rate"] == 0.02


def test_the_last_hours_only(quotes: Path) -> None:
    """One and a half of three."""
    (one,) = series(call(quotes, "--hours", "1.5"))
    assert (one["quality"]["points"], one["quality"]["issues"]) == (100, {"crossed": 2})


def test_tolerances_are_the_configured_ones(quotes: Path) -> None:
    """The step of one in a hundred is an outlier where 30 standard deviations are made 0.1."""
    (one,) = series(call(quotes, "--set", "quality.outlier_z=0.1", "--set", "quality.outlier_bps=1"))
    assert one["quality"]["issues"]["outlier"] > 0


def test_a_catalogue_is_judged_series_by_series(quotes: Path, tmp_path: Path) -> None:
    """After an import into it; an empty one is an empty report."""
    folder = tmp_path / "catalogue"
    assert series(call("--catalogue", folder)) == []
    imported = CliRunner().invoke(
        run.app, ["data", "import", str(quotes), "--to", str(folder), "--venue", "coinbase", "--symbol", "BTC-USD"]
    )
    assert imported.exit_code == 0, imported.output
    (one,) = series(call("--catalogue", folder))
    assert (one["instrument"], one["quality"]["issues"]) == ("BTC/USD@coinbase", {"crossed": 3})


def test_a_file_that_is_none_is_one_line(quotes: Path, tmp_path: Path) -> None:
    """Alone it is the error; among others it is named, the others are judged, and the exit status says so."""
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    assert isinstance(call(broken).exception, DataError)
    result = call(quotes, broken)
    assert result.exit_code == 2
    assert [bool(one["error"]) for one in series(result)] == [False, True]


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_hours_must_be_some(quotes: Path, hours: str) -> None:
    """Refused before anything is read."""
    failed = call(quotes, "--hours", hours).exception
    assert isinstance(failed, ConfigError)
    assert "--hours" in str(failed)
