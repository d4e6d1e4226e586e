"""kill -9 at every step of a write: all of it is there afterwards or nothing, and nothing half-written is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import ROOT

# Each call below may be the writer's last; it is killed before it, once for each place in the sequence.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

pa.set_cpu_count(1)  # a forked child has no threads of its parent

from engine.data.catalogue import Catalogue, Source
from tests.support.stored import DAY_NS, T0, bars, quotes, store

HOUR = 3_600 * 10**9
SOURCE = Source("day.csv", "ab12")


def write(root, again):
    with Catalogue(root).batch(SOURCE, again=again) as batch:
        batch.writer("test", "BTC-USD", "quotes").write(quotes(10, start_ns=T0 + DAY_NS - 5 * 10**9))
        batch.writer("test", "BTC-USD", "bars", HOUR).write(bars(3, HOUR))
        batch.mark("session", 10, expected=batch._known.marks.get("session"))


def kill_at(step, names):
    count = 0

    def guard(owner, name):
        call = getattr(owner, name)

        def guarded(*arguments, **options):
            nonlocal count
            count += 1
            if count == step:
                with open(names, "a") as file:
                    file.write(name + " ")
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        setattr(owner, name, guarded)

    for name in ("rename", "replace", "fsync", "mkdir", "unlink", "rmdir", "ftruncate"):
        guard(os, name)
    guard(pq.ParquetWriter, "write_table")
    guard(pq.ParquetWriter, "close")


def see(root):
    catalogue = Catalogue(root)
    found = sorted((part.kind, part.rows) for part in catalogue.parts(venue="test", instrument="BTC/USD"))
    rows = sum(batch.num_rows for kind in ("quotes", "bars") for batch in catalogue.read(kind, instrument="BTC/USD"))
    named = {part.file for part in catalogue.parts()}
    on_disk = {str(path.relative_to(root)) for path in root.glob("venue=*/**/*.parquet")}
    return {
        "parts": found, "rows": rows, "mark": catalogue.mark("session"), "strays": sorted(on_disk - named),
        "problems": len(catalogue.problems), "other": len(catalogue.parts(instrument="ETH/USD")),
        "staging": len([path for path in (root / ".staging").glob("*")]), "bad": len(catalogue.verify()),
    }


def rounds(folder, again):
    step = -1 if again else 0
    while True:
        step += 2 if again else 1
        root = folder / str(step)
        if again:
            store(root, quotes(4), symbol="ETH-USD")
            write(root, False)
        names = folder / f"{step}.names"
        child = os.fork()
        if child == 0:
            kill_at(step, names)
            try:
                write(root, again)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        after = see(root)
        done = after["mark"] == 10
        if not (done and after["parts"]):
            write(root, again)
        after["retried"] = see(root)
        after["killed"] = os.WIFSIGNALED(status)
        after["at"] = names.read_text().strip() if names.exists() else ""
        print(json.dumps(after), flush=True)
        if not after["killed"]:
            return


rounds(Path(sys.argv[1]), sys.argv[2] == "again")
"""

WHOLE = [["bars", 3], ["quotes", 5], ["quotes", 5]]


def kills(folder: Path, again: bool) -> list[dict[str, object]]:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), "again" if again else "first"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_killed_import_is_whole_or_not_there(tmp_path: Path) -> None:
    """Killed at each file operation of the first import of all: two series and a mark appear together or not at all,
    leftovers are set aside, and the import can be run again."""
    found = kills(tmp_path / "first", again=False)
    assert len(found) > 25
    assert {"rename", "replace", "fsync", "mkdir", "write_table", "close"} <= {str(each["at"]) for each in found}
    for each in found:
        assert (each["parts"], each["rows"], each["mark"]) in ((WHOLE, 13, 10), ([], 0, None)), each
        assert (each["strays"], each["staging"], each["bad"]) == ([], 0, 0), each
        retried = each["retried"]
        assert isinstance(retried, dict)
        assert (retried["parts"], retried["rows"], retried["mark"]) == (WHOLE, 13, 10), each
    assert {bool(each["parts"]) for each in found} == {True, False}
    assert any(each["problems"] for each in found)


def test_a_killed_replacement_leaves_the_old_rows_or_the_new(tmp_path: Path) -> None:
    """``--again`` killed at every second file operation: the rows are there once, never twice and never none."""
    found = kills(tmp_path / "again", again=True)
    assert "unlink" in {each["at"] for each in found}
    for each in found:
        assert (each["parts"], each["rows"], each["mark"], each["other"]) == (WHOLE, 13, 10, 1), each
        assert (each["strays"], each["staging"], each["bad"]) == ([], 0, 0), each
