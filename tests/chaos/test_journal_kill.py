"""kill -9 at random moments: every record whose append returned is read back, and none is corrupt."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import codec
from engine.codec import Record
from tests.support.journals import cancel, new_order, prediction, quote, read_all, timer

ROUNDS = 6


def made(seq: int) -> Record:
    """The record that both sides expect under a number."""
    return (quote, quote, timer, new_order, quote, cancel, prediction)[seq % 7](seq)


CHILD = """
import mmap, os, sys
from pathlib import Path
from tests.chaos.test_journal_kill import made
from tests.support.journals import small_writer
folder, shared, fsync = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
# One store: ``struct.pack_into`` clears its target first, and a kill in between would leave 0.
count = memoryview(mmap.mmap(os.open(shared, os.O_RDWR), 8)).cast("Q")
records = [made(seq) for seq in range(700)]
journal = small_writer(folder, fsync=fsync, market_bytes=65536, orders_bytes=65536)
journal.wait_ready()
seq = 0
while True:
    seq += 1
    journal.append(seq, made(seq))
    count[0] = seq
"""


@pytest.mark.parametrize("fsync", ["interval", "never"])
def test_no_appended_record_is_lost_or_changed_by_a_kill(tmp_path: Path, fsync: str) -> None:
    """A child appends and counts returned appends in shared memory until it is killed at a random moment; six times."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    torn = 0
    for attempt in range(ROUNDS):
        folder = tmp_path / f"j{attempt}"
        shared = tmp_path / f"count{attempt}"
        shared.write_bytes(bytes(8))
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(shared), fsync])
        try:
            with shared.open("r+b") as file, mmap.mmap(file.fileno(), 8) as count:
                deadline = time.monotonic() + 90
                while struct.unpack("<Q", count)[0] < 100:
                    assert child.poll() is None, f"the child ended by itself (seed {seed})"
                    assert time.monotonic() < deadline, f"the child does not append (seed {seed})"
                    time.sleep(0.001)
                time.sleep(rng.uniform(0, 0.15))
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
                returned = struct.unpack("<Q", count)[0]
        finally:
            child.kill()
            child.wait()
        found, report = read_all(folder)
        torn += report.torn_bytes
        assert returned <= len(found) <= returned + 1, f"seed {seed}, attempt {attempt}"
        assert [item.seq for item in found] == list(range(1, len(found) + 1)), f"seed {seed}, attempt {attempt}"
        for item in found:
            assert item.raw == codec.encode(made(item.seq)), f"seed {seed}, attempt {attempt}, record {item.seq}"
        assert not report.closed
    assert torn < 1000 * ROUNDS, "at most the one record in flight can be torn"
