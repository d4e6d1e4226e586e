"""kill -9 at every second file operation of a compaction: the next one goes on, and every record is stored once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import ROOT

SCRIPT = """
import json, os, signal, sys
from pathlib import Path

import pyarrow as pa

pa.set_cpu_count(1)  # a forked child has no threads of its parent

from engine.data.catalogue import Catalogue
from engine.runtime.compaction import Compaction
from tests.support.journals import market_session, quote

folder = Path(sys.argv[1])
RECORDS = [quote(number + 10**18) for number in range(150)]
session, _ = market_session(folder, RECORDS)


def kill_at(step):
    count = 0
    for name in ("rename", "replace", "fsync", "mkdir", "rmdir"):
        call = getattr(os, name)

        def guarded(*arguments, call=call, **options):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        setattr(os, name, guarded)


step = 1
while True:
    root = folder / f"c{step}"
    child = os.fork()
    if child == 0:
        kill_at(step)
        try:
            Compaction(session.path, root).run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    before = sum(part.rows for part in Catalogue(root).parts())
    Compaction(session.path, root).run()
    same = list(Catalogue(root).events()) == RECORDS
    print(json.dumps({"killed": os.WIFSIGNALED(status), "before": before, "same": same}), flush=True)
    if not os.WIFSIGNALED(status):
        break
    step += 2
"""


@pytest.mark.fault("A5")
def test_a_killed_compaction_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Three segments, a commit each: before the second run some of them are in; after it, all records in order."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 15
    assert all(each["same"] for each in found), found
    assert len({each["before"] for each in found}) >= 3, found
