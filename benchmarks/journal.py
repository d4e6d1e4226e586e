"""What an append to the journal costs.

Appends a quote (57 bytes as stored) to a real journal under ``var/`` with the default sizes, by sync mode: each append
timed on its own for the percentiles (the cost of reading the clock, measured beside, is taken off), untimed for the
rate.  Also at 2,000 records a second, the pace of a lively market, where the caches are cold and the background threads
have time.  Goals: p50 <= 1 us, >= 200,000 records/s.  Not a test: it asserts nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, own_times
from benchmarks.rig import scratch
from engine.events import Quote
from engine.runtime.journal import Fsync, JournalWriter

ROUNDS = 300_000
PACED = 6_000
PACE_NS = 500_000

MODES: tuple[Fsync, ...] = ("interval", "never", "always")

QUOTE = Quote(1_700_000_000_000_000_000, 1_700_000_000_000_050_000, "BTC/USD@coinbase", 60_000.01, 0.5, 60_000.02, 1.25)


def with_journal(fsync: Fsync, measure: Callable[[JournalWriter], Any]) -> Any:
    """Run ``measure`` on a fresh journal on the disk that sessions use."""
    with scratch() as folder:
        journal = JournalWriter(folder / "journal", session="bench", fsync=fsync)
        try:
            journal.wait_ready()
            return measure(journal)
        finally:
            journal.close()


def timed(journal: JournalWriter, rounds: int) -> list[int]:
    append, read = journal.append, time.perf_counter_ns
    samples = [0] * rounds
    for number in range(rounds):
        before = read()
        append(number + 1, QUOTE)
        samples[number] = read() - before
    return samples


def untimed(journal: JournalWriter, rounds: int) -> float:
    append = journal.append
    before = time.perf_counter()
    for number in range(1, rounds + 1):
        append(number, QUOTE)
    return rounds / (time.perf_counter() - before)


def paced(journal: JournalWriter, rounds: int) -> list[int]:
    append, read = journal.append, time.perf_counter_ns
    samples = [0] * rounds
    due = read()
    for number in range(rounds):
        due += PACE_NS
        while (left_ns := due - read()) > 0:
            time.sleep(max(left_ns - 100_000, 0) / 1e9)
        before = read()
        append(number + 1, QUOTE)
        samples[number] = read() - before
    return samples


def profile(name: str) -> Sequence[str]:
    """The functions of one append in the sync mode that ``name`` ends with."""

    def measure(journal: JournalWriter) -> list[str]:
        numbers = itertools.count(1)
        return own_times(lambda: journal.append(next(numbers), QUOTE), 50_000)

    (fsync,) = (mode for mode in MODES if name.endswith(mode))
    lines: list[str] = with_journal(fsync, measure)
    return lines


def run(quick: bool) -> list[Reading]:
    """By sync mode, then at the pace of a lively market."""
    rounds, paced_rounds = (60_000, 1_500) if quick else (ROUNDS, PACED)
    overhead_ns = clock_cost_ns()
    readings = []
    for fsync in MODES:
        samples = with_journal(fsync, lambda journal: timed(journal, rounds))
        rate = max(with_journal(fsync, lambda journal: untimed(journal, rounds)) for _ in range(1 if quick else 3))
        readings.append(
            latency(
                f"journal_append_{fsync}",
                _without(samples, overhead_ns),
                per_second=rate,
                targets=(Target("p50", 1.0), Target("per_second", 200_000, at_least=True)),
                note="57 bytes as stored",
            )
        )
    samples = with_journal("interval", lambda journal: paced(journal, paced_rounds))
    readings.append(
        latency("journal_append_paced", _without(samples, overhead_ns), per_second=1e9 / PACE_NS, note="caches cool")
    )
    return readings


def _without(samples: list[int], overhead_ns: int) -> list[int]:
    return [max(sample - overhead_ns, 0) for sample in samples]
