"""``config.data_list``: ``data list`` and ``data query`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from typer.testing import CliRunner

import run
from engine.data.catalogue import Catalogue
from tests.support.stored import DAY_NS, T0, bars, quotes, store

HOUR = 3_600 * 10**9


def invoke(*words: object) -> tuple[str, dict[str, Any]]:
    done = CliRunner().invoke(run.app, ["data", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.strip().splitlines()
    return "\n".join(lines[:-1]), json.loads(lines[-1])


def test_list_sums_parts_by_series(tmp_path: Path) -> None:
    """Two days of quotes in three parts and a year of bars; names, times and figures for people and for scripts."""
    root = tmp_path / "c"
    store(root, quotes(48, step_ns=HOUR))
    store(root, quotes(2, start_ns=T0 + DAY_NS))
    store(root, bars(10, HOUR), "bars", interval_ns=HOUR)
    text, content = invoke("list", "--catalogue", root)
    assert "BTC/USD@test" in text
    assert "2024-06-26 00:00" in text
    made = [{key: row[key] for key in ("kind", "interval", "rows", "parts")} for row in content["series"]]
    assert made == [
        {"kind": "bars", "interval": "1h", "rows": 10, "parts": 1},
        {"kind": "quotes", "interval": "", "rows": 50, "parts": 3},
    ]
    on_disk = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    assert sum(row["bytes"] for row in content["series"]) == on_disk
    assert content["series"][1]["first"] == "2024-06-26T00:00:00Z"
    assert content["series"][1]["last"] == "2024-06-27T23:00:00Z"


def test_list_of_nothing_says_where_data_comes_from(tmp_path: Path) -> None:
    text, content = invoke("list", "--catalogue", tmp_path / "none")
    assert "nothing is stored" in text
    assert content["series"] == []
    assert not (tmp_path / "none").exists()


def test_list_tells_what_it_set_aside(tmp_path: Path) -> None:
    """A truncated part: named once on stderr and in the JSON object."""
    root = tmp_path / "c"
    part = store(root, quotes(5)).parts()[0]
    part.path.write_bytes(b"")
    _, content = invoke("list", "--catalogue", root)
    assert [each["file"] for each in content["set_aside"]] == [part.file]
    assert content["series"] == []


def test_the_catalogue_of_the_configuration_is_the_default(tmp_path: Path) -> None:
    root = tmp_path / "c"
    store(root, quotes(5))
    assert invoke("list", "--set", f"data.catalogue={root}")[1]["catalogue"] == str(root)


def test_a_query_answers_for_people_and_for_scripts(tmp_path: Path) -> None:
    """Names and rows; NaN, which JSON does not know, and null are both null."""
    root = tmp_path / "c"
    table = quotes(2).set_column(1, "bid", pa.array([float("nan"), 5.0])).drop(["ask_size"])
    store(root, table)
    text, content = invoke("query", "SELECT bid, ask_size, instrument FROM quotes ORDER BY ts_ns", "--catalogue", root)
    assert content == {
        "columns": ["bid", "ask_size", "instrument"],
        "rows": [[None, None, "BTC/USD@test"], [5.0, None, "BTC/USD@test"]],
    }
    assert "BTC/USD@test" in text


def test_a_long_answer_is_cut_for_people_only(tmp_path: Path) -> None:
    root = tmp_path / "c"
    store(root, quotes(300))
    text, content = invoke("query", "FROM quotes", "--catalogue", root)
    assert "... and 100 more rows" in text
    assert len(content["rows"]) == 300


def test_a_query_that_fails_is_one_line(tmp_path: Path) -> None:
    """Through the program's own entry point the error is told and nothing else."""
    store(tmp_path / "c", quotes(1))
    done = CliRunner().invoke(run.app, ["data", "query", "DROP VIEW quotes", "--catalogue", str(tmp_path / "c")])
    assert "the query is no SELECT; expected one SELECT" in str(done.exception)
    assert len(Catalogue(tmp_path / "c").parts()) == 1


def test_two_columns_of_one_name_both_have_their_values(tmp_path: Path) -> None:
    """As a join gives them; what people read and what scripts read is the same."""
    text, content = invoke("query", "SELECT 'first' AS a, 'second' AS a", "--catalogue", tmp_path / "c")
    assert "first" in text
    assert "second" in text
    assert content == {"columns": ["a", "a"], "rows": [["first", "second"]]}


def test_numbers_that_json_does_not_know_are_null_wherever_they_are(tmp_path: Path) -> None:
    """Alone, in a list, in a struct."""
    statement = "SELECT 'nan'::double AS a, ['inf'::double, 1.5] AS b, {'x': '-inf'::double, 'y': 2} AS c"
    _, content = invoke("query", statement, "--catalogue", tmp_path / "c")
    assert content["rows"] == [[None, [None, 1.5], {"x": None, "y": 2}]]
