"""What an append to the journal costs: ``python -m benchmarks.journal [--json]``.

Appends a quote (57 bytes as stored) to a real journal under ``var/`` with the default sizes, by sync mode: each append
timed on its own for the percentiles (the cost of reading the clock, measured beside, is taken off), untimed for the
rate.  Also at 2,000 records a second, the pace of a lively market, where the caches are cold and the background threads
have time.  Goals: p50 <= 1 us, >= 200,000 records/s.  Not a test: it asserts nothing.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.events import Quote
from engine.runtime.journal import Fsync, JournalWriter

ROUNDS = 300_000
PACED = 6_000
PACE_NS = 500_000

QUOTE = Quote(1_700_000_000_000_000_000, 1_700_000_000_000_050_000, "BTC/USD@coinbase", 60_000.01, 0.5, 60_000.02, 1.25)


def clock_cost_ns() -> int:
    """Median of reading the clock twice in a row."""
    read = time.perf_counter_ns
    samples = []
    for _ in range(100_000):
        before = read()
        samples.append(read() - before)
    return sorted(samples)[len(samples) // 2]


def percentiles(samples: list[int], overhead_ns: int) -> dict[str, float]:
    """Microseconds at the median and the 99th percentile."""
    ordered = sorted(samples)
    return {
        name: max(ordered[int(share * (len(ordered) - 1))] - overhead_ns, 0) / 1e3
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def with_journal(fsync: Fsync, measure: Callable[[JournalWriter], Any]) -> Any:
    """Run ``measure`` on a fresh journal on the disk that sessions use."""
    root = Path(__file__).resolve().parent.parent / "var"
    root.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-journal-", dir=root))
    journal = JournalWriter(folder / "journal", session="bench", fsync=fsync)
    try:
        journal.wait_ready()
        return measure(journal)
    finally:
        journal.close()
        shutil.rmtree(folder)


def timed(journal: JournalWriter) -> list[int]:
    append, read = journal.append, time.perf_counter_ns
    samples = [0] * ROUNDS
    for number in range(ROUNDS):
        before = read()
        append(number + 1, QUOTE)
        samples[number] = read() - before
    return samples


def untimed(journal: JournalWriter) -> float:
    append = journal.append
    before = time.perf_counter()
    for number in range(1, ROUNDS + 1):
        append(number, QUOTE)
    return ROUNDS / (time.perf_counter() - before)


def paced(journal: JournalWriter) -> list[int]:
    append, read = journal.append, time.perf_counter_ns
    samples = [0] * PACED
    due = read()
    for number in range(PACED):
        due += PACE_NS
        while (left_ns := due - read()) > 0:
            time.sleep(max(left_ns - 100_000, 0) / 1e9)
        before = read()
        append(number + 1, QUOTE)
        samples[number] = read() - before
    return samples


def cases() -> list[dict[str, Any]]:
    overhead_ns = clock_cost_ns()
    modes: tuple[Fsync, ...] = ("interval", "never", "always")
    results = []
    for fsync in modes:
        figures = percentiles(with_journal(fsync, timed), overhead_ns)
        rate = max(with_journal(fsync, untimed) for _ in range(3))
        results.append({"name": f"journal append, {fsync}", **figures, "per_second": round(rate), "n": ROUNDS})
    figures = percentiles(with_journal("interval", paced), overhead_ns)
    results.append({"name": "journal append, interval, 2,000/s", **figures, "per_second": 2_000, "n": PACED})
    return results


def main() -> None:
    results = cases()
    if "--json" in sys.argv:
        print(json.dumps({"cases": results, "machine": f"{platform.machine()} {platform.python_version()}"}))
        return
    print(f"{platform.machine()}, Python {platform.python_version()}; {len(QUOTE.instrument)}-letter instrument, quote")
    for case in results:
        print(f"{case['name']:<36} p50 {case['p50']:6.2f} us  p99 {case['p99']:6.2f} us  {case['per_second']:>9,}/s")


if __name__ == "__main__":
    main()
