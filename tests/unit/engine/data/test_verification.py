"""``data verify``: files and catalogues, whole, damaged, and with defects only."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from config import data_commands
from engine.data.catalogue import Catalogue
from engine.data.importing.importer import examine_file, import_file
from engine.data.importing.options import Options, make_options
from engine.data.verification import verify_catalogue, verify_file

START_NS = 1_704_067_200 * 10**9  # 2024-01-01
HOUR_NS = 3_600 * 10**9


def bars_file(path: Path, hours: list[int], symbol: str = "BTC-USD", close: float = 2.0) -> Path:
    columns = {"ts_ns": pa.array([START_NS + hour * HOUR_NS for hour in hours], pa.int64())}
    columns |= {name: [close] * len(hours) for name in ("open", "high", "low", "close")}
    table = pa.table(columns | {"volume": [1.0] * len(hours)})
    pq.write_table(table.replace_schema_metadata({"venue": "coinbase", "symbol": symbol}), path)
    return path


def verify(*arguments: str) -> tuple[int, dict[str, Any], str]:
    done = CliRunner().invoke(data_commands.app, ["verify", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout.splitlines()[-1]), done.output


def test_defects_of_rows_are_no_damage(tmp_path: Path) -> None:
    """A file with a hole: exit 0, the hole in the table and in the JSON."""
    path = bars_file(tmp_path / "a.parquet", [0, 1, 4])
    code, content, output = verify(str(path))
    assert code == 0
    assert content["damaged"] == 0
    assert [(file["file"], file["rows"], file["defects"]) for file in content["files"]] == [
        (str(path), 3, {"missing_bars": 2})
    ]
    assert "missing_bars 2" in output


def test_a_damaged_file_is_exit_1_and_a_file_that_is_not_understood_exit_2(tmp_path: Path) -> None:
    """A truncated one beside a good one; then one whose columns mean nothing."""
    good = bars_file(tmp_path / "good.parquet", [0, 1, 2])
    bad = bars_file(tmp_path / "bad.parquet", list(range(100)))
    bad.write_bytes(bad.read_bytes()[:-100])
    code, content, output = verify(str(good), str(bad))
    assert code == 1
    assert [file["damaged"] for file in content["files"]] == [False, True]
    assert "DAMAGED" in output
    assert "is damaged" in content["files"][1]["error"]
    odd = tmp_path / "odd.csv"
    odd.write_text("a,b\nx,y\n")
    code, content, _ = verify(str(good), str(odd))
    assert code == 2
    assert [file["damaged"] for file in content["files"]] == [False, False]


@pytest.mark.parametrize("name", ["a.parquet.sha256", "SHA256SUMS"])
def test_a_checksum_beside_a_file_is_held_against_it(name: str, tmp_path: Path) -> None:
    """As sha256sum writes it; then the file is changed into another good one."""
    path = bars_file(tmp_path / "a.parquet", [0, 1, 2])
    (tmp_path / name).write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  a.parquet\n{'0' * 64}  other\n")
    assert not verify_file(path, Options()).damaged
    bars_file(path, [0, 1, 2, 3])
    report = verify_file(path, Options())
    assert report.damaged
    assert "not what its checksum says" in report.error


def test_a_file_that_does_not_say_what_it_is_about_can_be_looked_at(tmp_path: Path) -> None:
    """A CSV without venue and symbol: an import refuses it, a look does not."""
    (tmp_path / "a.csv").write_text("ts,open,high,low,close,volume\n2024-01-01,1,3,1,2,7\n2024-01-02,1,3,1,2,7\n")
    code, content, _ = verify(str(tmp_path / "a.csv"))
    assert code == 0
    assert content["files"][0]["rows"] == 2


def test_a_catalogue_has_the_defects_of_its_files(tmp_path: Path) -> None:
    """Bars over three years with holes within and between years: what each year lacks, in sum what the file lacks."""
    hours = [hour for hour in range(17_600) if hour % 1000 and hour not in range(8782, 8788)]
    path = bars_file(tmp_path / "a.parquet", hours)
    import_file(Catalogue(tmp_path / "c"), path, Options())
    reports = list(verify_catalogue(Catalogue(tmp_path / "c")))
    assert [report.file.split("date=")[1][:4] for report in reports] == ["2024", "2025", "2026"]
    whole = examine_file(path, Options()).defects
    assert whole == {"missing_bars": 23}
    assert sum(report.defects.get("missing_bars", 0) for report in reports) == 23
    assert sum(report.rows for report in reports) == len(hours)


def test_bars_of_two_files_in_one_year_are_looked_at_together(tmp_path: Path) -> None:
    """Odd hours from one file, even ones from another: nothing is missing."""
    catalogue = Catalogue(tmp_path / "c")
    hourly = make_options(interval="1h")
    for name, hours in (("a", range(0, 20, 2)), ("b", range(1, 20, 2))):
        import_file(catalogue, bars_file(tmp_path / f"{name}.parquet", list(hours)), hourly)
    reports = list(verify_catalogue(catalogue))
    assert [(report.rows, report.defects) for report in reports] == [(20, {})]
    assert "(2 parts)" in reports[0].file


def test_a_part_that_is_not_as_it_was_written_is_set_aside_and_exit_1(tmp_path: Path) -> None:
    """One byte of one of two parts; the second look finds a whole catalogue with the other part in it."""
    catalogue = Catalogue(tmp_path / "c")
    for symbol in ("BTC-USD", "ETH-USD"):
        import_file(catalogue, bars_file(tmp_path / f"{symbol}.parquet", [0, 1, 2], symbol), Options())
    part = next(part for part in catalogue.parts() if part.symbol == "ETH-USD")
    data = bytearray(part.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    part.path.write_bytes(bytes(data))
    code, content, _ = verify("--catalogue", str(tmp_path / "c"))
    assert code == 1
    assert (content["files"][0]["file"], content["files"][0]["damaged"]) == (part.file, True)
    assert not part.path.exists()
    code, content, _ = verify("--catalogue", str(tmp_path / "c"))
    assert code == 0
    assert [file["rows"] for file in content["files"]] == [3]


def test_an_empty_catalogue_is_whole(tmp_path: Path) -> None:
    """No folder yet: nothing to tell, nothing made."""
    code, content, _ = verify("--catalogue", str(tmp_path / "c"))
    assert (code, content["files"]) == (0, [])
    assert not (tmp_path / "c").exists()


def test_parts_of_a_catalogue_are_named_by_what_they_are_about(tmp_path: Path) -> None:
    """Two instruments: the table tells them apart."""
    for symbol in ("BTC-USD", "ETH-USD"):
        path = bars_file(tmp_path / f"{symbol}.parquet", [0, 1, 2], symbol)
        import_file(Catalogue(tmp_path / "c"), path, make_options())
    code, _, output = verify("--catalogue", str(tmp_path / "c"))
    assert code == 0
    for pair in ("BTC-USD", "ETH-USD"):
        assert f"coinbase/{pair}/2024/part-" in output
