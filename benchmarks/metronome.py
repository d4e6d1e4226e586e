"""Ticks that come due by another process: a descriptor that becomes readable, with the time of each.

Owns that process.  Its clock is ours, so that a loop that stands still makes all ticks late that were due meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from engine import processors
from engine.errors import KestrelError

STAMP: Final = struct.Struct("=q")
"""When a tick was due, ns of ``time.perf_counter_ns``."""
_READ_MAX: Final = 512 * STAMP.size
_SCRIPT: Final = """
import os, struct, sys, time
interval_ns = int(1e9 / float(sys.argv[1]))
due_ns = time.perf_counter_ns()
while True:
    due_ns += interval_ns
    left_ns = due_ns - time.perf_counter_ns()
    if left_ns > 0:
        time.sleep(left_ns / 1e9)
    elif left_ns < -interval_ns:
        # The machine was away, which is not the loop's fault: ticks do not pile up in a market that waits for us.
        due_ns = time.perf_counter_ns()
    os.write(1, struct.pack("=q", time.perf_counter_ns()))
"""


@contextlib.contextmanager
def metronome(per_second: int) -> Iterator[int]:
    """A descriptor that becomes readable ``per_second`` times a second, a stamp each."""
    ours, theirs = os.pipe()
    with processors.beside():
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _SCRIPT, str(per_second)], stdout=theirs, stderr=subprocess.DEVNULL
        )
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def due_ns(beats: int) -> list[int]:
    """When the ticks were due that are there by now, the oldest first; waits for one.  Raises ``KestrelError``."""
    if not (stamps := os.read(beats, _READ_MAX)):
        raise KestrelError("the process that paces the benchmark died")
    return [due for (due,) in STAMP.iter_unpack(stamps)]


def drain(beats: int) -> None:
    """What came due while nobody looked is nobody's."""
    os.set_blocking(beats, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(beats, _READ_MAX):
            pass
    os.set_blocking(beats, True)
