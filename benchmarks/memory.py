"""How much memory a session takes: growth over ticks, and a daemon with 50 instruments.  Each in a fresh process.

Resident memory as the kernel counts it, mapped journal included; MB are 10**6 bytes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

from benchmarks.figures import Reading, Target
from benchmarks.rig import ROOT, Market, NullWriter, Rig, alone, running, scratch
from engine import arithmetic
from engine.errors import KestrelError

ORDER_EVERY = 20
INSTRUMENTS = 50


def resident_mb(pid: int | str = "self", field: str = "VmRSS") -> float:
    """A memory field of ``/proc/<pid>/status``; 0.0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


# --- growth -------------------------------------------------------------------------------------------------------


def grow(first: int, last: int) -> dict[str, float]:
    """Resident memory at both counts of ticks; runs in a process of its own (``main``)."""
    from benchmarks.in_process import finish

    writer = NullWriter()
    marks = {}
    with running(writer, model=True, every=ORDER_EVERY) as rig:
        market = Market()
        rig.receive(market.ticker(rig.clock.now_ns()))
        rig.timer()
        for tick in range(2, last + 1):
            rig.receive(market.ticker(rig.clock.now_ns()))
            finish(rig, market, writer)
            if tick % 10_000 == 0:
                rig.tokens.refresh()
            if tick in (first, last):
                gc.collect()
                time.sleep(0.3)  # the journal's threads let go of what is written
                marks[f"rss_{tick}"] = resident_mb()
                marks[f"anon_{tick}"] = resident_mb(field="RssAnon")
        rig.check()
    return marks


def where(first: int, last: int) -> list[str]:
    """What was allocated between both counts of ticks and is still held; runs in a process of its own."""
    from benchmarks.in_process import finish

    writer = NullWriter()
    with running(writer, model=False, every=ORDER_EVERY) as rig:
        market = Market()
        rig.receive(market.ticker(rig.clock.now_ns()))
        rig.timer()
        tracemalloc.start(1)
        for tick in range(2, last + 1):
            rig.receive(market.ticker(rig.clock.now_ns()))
            finish(rig, market, writer)
            if tick == first:
                gc.collect()
                before = tracemalloc.take_snapshot()
        gc.collect()
        grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
    return [
        f"{change.size_diff / 1e6:+7.2f} MB {change.count_diff:+9,} blocks  "
        f"{Path(change.traceback[0].filename).name}:{change.traceback[0].lineno}"
        for change in grown[:10]
    ]


def profile(name: str) -> list[str]:  # noqa: ARG001  # only the growth has one
    """Lines of code by what they still hold; Python's own objects only."""
    first, last = 30_000, 110_000
    return [
        f"held after {last:,} ticks that was not held after {first:,}:",
        *_in_new_process("where", str(first), str(last))["lines"],
    ]


def growth(quick: bool) -> list[Reading]:
    first, last = (10_000, 40_000) if quick else (100_000, 1_000_000)
    marks = _in_new_process("growth", str(first), str(last))
    before, after = marks[f"rss_{first}"], marks[f"rss_{last}"]
    own = marks[f"anon_{last}"] - marks[f"anon_{first}"]
    return [
        Reading(
            "memory_growth",
            n=last,
            value=after - before,
            unit="MB",
            targets=(Target("value", 10),),
            note=f"{before:.1f} MB at {first:,} ticks, {after:.1f} MB at {last:,} (not counting mapped files: "
            f"{own:+.1f} MB); a prediction on each tick, an order on every {ORDER_EVERY}th",
        )
    ]


# --- many instruments ---------------------------------------------------------------------------------------------


def instruments(quick: bool) -> list[Reading]:
    """A real ``paper`` session on the built-in exchange with 50 instruments; the exchange is not counted.

    ``quick`` measures the parts of such a daemon without venue and console: the exchange needs long to open 50 books.
    """
    if quick:
        marks = _in_new_process("instruments", str(INSTRUMENTS))
        note = "core, features, model, journal and gateway only"
        return [_instruments_reading(marks["rss"], note)]
    seconds = 6.0
    symbols = ["BTC/USD", "ETH/USD", *(f"C{number}/USD" for number in range(INSTRUMENTS - 2))]
    with scratch() as folder:
        daemon = subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "run.py"),
                "paper",
                "--for",
                str(seconds),
                "--no-report",
                "--json",
                "--set",
                f"venue.symbols={json.dumps(symbols)}",
                "--set",
                f"session.directory={folder / 'sessions'}",
            ],
            cwd=ROOT,
            env=alone(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        peak = last = 0.0
        deadline = time.monotonic() + 120 + seconds
        while daemon.poll() is None and time.monotonic() < deadline:
            now = resident_mb(daemon.pid)
            last = now or last
            peak = max(peak, resident_mb(daemon.pid, "VmHWM"))
            time.sleep(0.1)
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        said, complained = daemon.communicate(timeout=60)
    if daemon.returncode:
        raise KestrelError(f"the daemon with {INSTRUMENTS} instruments failed: {complained.strip()[-200:]}")
    summary = json.loads(said.splitlines()[-1])
    note = (
        f"peak of the daemon; {last:.0f} MB at the end, {summary['ticks']:,} ticks, {summary['predictions']:,} "
        f"predictions in {seconds:g} s"
    )
    return [_instruments_reading(peak, note)]


def _instruments_reading(resident: float, note: str) -> Reading:
    return Reading(
        "memory_50_instruments", n=INSTRUMENTS, value=resident, unit="MB", targets=(Target("value", 400),), note=note
    )


def hold(count: int) -> dict[str, float]:
    """Resident memory of a core with ``count`` instruments after some ticks; runs in a process of its own."""
    with scratch() as folder:
        rig = Rig(folder, NullWriter(), model=True, every=0, instrument_count=count)
        markets = [Market(instrument.venue_symbol) for instrument in rig.instruments]
        for number in range(100 * count):
            market = markets[number % count]
            market.sequence = number  # one stream carries them all
            rig.receive(market.ticker(rig.clock.now_ns()))
        rig.check()
        resident = resident_mb()
        rig.close()
    return {"rss": resident}


def _in_new_process(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise KestrelError(f"the memory run failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    marks: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return marks


def main() -> None:
    arithmetic.install()
    what, *texts = sys.argv[1:]
    numbers = [int(text) for text in texts]
    if what == "growth":
        print(json.dumps(grow(*numbers)))
    elif what == "where":
        print(json.dumps({"lines": where(*numbers)}))
    else:
        print(json.dumps(hold(*numbers)))


if __name__ == "__main__":
    main()
