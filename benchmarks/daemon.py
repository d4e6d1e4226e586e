"""The daemon as ``make paper`` starts it: default stack, built-in exchange as its child, its own figures of itself.

Nothing is swapped: ``websockets`` with the compression that the exchange offers, two instruments, about a hundred
ticks a second, several messages in a read, shadow ticks, the shipped strategy, which orders a handful of times.
Tick-to-order is the summary's, stages are read from the metrics endpoint, times to the first prediction and fill from
the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.figures import Reading, Target
from benchmarks.market import INSTRUMENT
from benchmarks.rig import ROOT, alone, scratch
from engine.commands import NewOrder
from engine.errors import KestrelError
from engine.events import FeedUp, OrderFilled, Prediction, Quote, SessionStarted, Trade
from engine.features import FeatureBuffer, core40_spec
from engine.ports import STAGES
from engine.runtime.journal_reader import read_journal

SECONDS = 20.0
QUICK_SECONDS = 10.0
SCRAPE_BEFORE_END_S = 1.5
Marked = SessionStarted | FeedUp | Quote | Prediction | OrderFilled
FIRST: dict[type, str] = {
    SessionStarted: "journal open",
    FeedUp: "venue up",
    Quote: "first quote",
    Prediction: "first prediction",
    OrderFilled: "first fill",
}
"""Marks on the way from the start of the process to a fill."""
LIMIT_S = 120.0
"""For starting and ending, beside the session itself."""


@dataclass
class Session:
    """One run.  ``stages``: name to ``[(upper edge us, count up to it)]``, ascending; times are seconds."""

    summary: dict[str, Any]
    stages: dict[str, list[tuple[float, float]]]
    first_s: dict[type, float] = field(default_factory=dict)
    """Seconds from the start of the process to the first record of a type."""
    reads: int = 0
    messages: int = 0
    crowded: int = 0
    """Reads with more than one quote or trade."""
    places: list[tuple[int, int]] = field(default_factory=list)
    """For each order: which event of its read made it, of how many."""


def percentile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """From cumulative counts, linear within a bucket; None when nothing was counted."""
    finite = [(edge, count) for edge, count in buckets if edge != float("inf")]
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return None
    below_edge = below = 0.0
    for edge, count in finite:
        if count >= share * total:
            return below_edge + (edge - below_edge) * (share * total - below) / (count - below)
        below_edge, below = edge, count
    return below_edge


def stages_of(text: str) -> dict[str, list[tuple[float, float]]]:
    """The histograms of ``kestrel_stage_seconds`` in a scrape."""
    found: dict[str, list[tuple[float, float]]] = {}
    for family in text_string_to_metric_families(text):
        if family.name == "kestrel_stage_seconds":
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    edge_us = float(sample.labels["le"]) * 1e6
                    found.setdefault(sample.labels["stage"], []).append((edge_us, sample.value))
    return found


class _Talk:
    """Reads the daemon's stderr to its end; the metrics address is in it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self._stream = process.stderr
        self.metrics = ""
        self.last = ""
        self.thread = Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        for line in self._stream:
            self.last = line.strip() or self.last
            word, _, rest = line.strip().partition(" ")
            if word == "metrics":
                self.metrics = rest.strip()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _threads(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())


def _part(daemon: int) -> bool:
    """The exchange on the last core, the daemon on the others; False where there is no second core or no child yet."""
    cores = os.sched_getaffinity(0)
    children = _children(daemon)
    if len(cores) < 2 or not children:
        return False
    theirs = {max(cores)}
    for child in children:
        for thread in _threads(child):
            os.sched_setaffinity(thread, theirs)
    for thread in _threads(daemon):
        os.sched_setaffinity(thread, cores - theirs)
    return True


def _session(seconds: float, *, apart: bool) -> Session:
    FeatureBuffer(core40_spec(), INSTRUMENT)  # the kernel is on disk, as after a first start
    with scratch() as folder:
        started_ns = time.time_ns()
        command = [sys.executable, str(ROOT / "run.py"), "paper", "--for", str(seconds), "--json", "--no-report"]
        process = subprocess.Popen(
            [*command, "--set", f"session.directory={folder / 'sessions'}"],
            cwd=ROOT,
            env=alone(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            talk = _Talk(process)
            text = _watch(process, talk, seconds, apart=apart)
            assert process.stdout is not None
            said = process.stdout.read()
            process.wait(LIMIT_S)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(LIMIT_S)
        talk.thread.join(5.0)
        if process.returncode:
            raise KestrelError(f"the daemon failed: {talk.last[-200:]}")
        session = Session(json.loads(said.splitlines()[-1]), stages_of(text))
        (sessions,) = (folder / "sessions").iterdir()
        read_times(session, sessions / "journal", started_ns)
    return session


def _watch(process: subprocess.Popen[str], talk: _Talk, seconds: float, *, apart: bool) -> str:
    """Wait for the last moments of a session and read its metrics once, before it ends."""
    deadline = time.monotonic() + LIMIT_S
    while not (talk.metrics and _children(process.pid)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise KestrelError(f"the daemon did not start: {talk.last[-200:]}")
        time.sleep(0.05)
    if apart and not _part(process.pid):
        raise KestrelError("the exchange cannot have a core of its own", expected="two cores")
    time.sleep(max(seconds - SCRAPE_BEFORE_END_S, 0.0))
    with urllib.request.urlopen(talk.metrics, timeout=10.0) as answer:  # the daemon's own address
        return str(answer.read().decode())


def read_times(session: Session, journal: Path, started_ns: int) -> None:
    """What the journal tells: first times, and how events came in reads (events of one read share their stamp)."""
    sizes: Counter[int] = Counter()
    orders: list[tuple[int, int]] = []
    recv_ns = 0
    for entry in read_journal(journal):
        record = entry.record
        if isinstance(record, Quote | Trade):
            recv_ns = record.ts_recv_ns
            sizes[recv_ns] += 1
        if isinstance(record, NewOrder):
            orders.append((recv_ns, sizes[recv_ns]))
        if isinstance(record, Marked) and type(record) not in session.first_s:
            session.first_s[type(record)] = (record.ts_recv_ns - started_ns) / 1e9
    session.reads, session.messages = len(sizes), sum(sizes.values())
    session.crowded = sum(1 for size in sizes.values() if size > 1)
    session.places = [(place, sizes[recv_ns]) for recv_ns, place in orders]


def _readings(name: str, quick: bool, *, apart: bool) -> list[Reading]:
    session = _session(QUICK_SECONDS if quick else SECONDS, apart=apart)
    summary = session.summary
    latency_us = summary["tick_to_order_us"]
    later = sum(1 for place, _ in session.places if place > 1)
    note = (
        f"{summary['orders']} orders in {summary['ticks']:,} ticks, so p99 is the slowest; {later} of them by a "
        f"message that was not the first of its read ({session.crowded} of {session.reads} reads held more than one)"
    )
    rows = [
        Reading(
            name,
            latency_us["p50"],
            latency_us["p99"],
            per_second=session.messages / (QUICK_SECONDS if quick else SECONDS),
            n=summary["orders"],
            note=note,
        )
    ]
    if not apart:
        rows += [
            _time(f"{name}_first_prediction", session, Prediction, 10.0),
            _time(f"{name}_first_fill", session, OrderFilled, 20.0),
        ]
    for stage in STAGES:
        buckets = session.stages.get(stage, [])
        if (p50 := percentile(buckets, 0.5)) is not None:
            rows.append(Reading(f"{name}_{stage}", p50, percentile(buckets, 0.99), n=int(buckets[-1][1])))
    return rows


def _time(name: str, session: Session, kind: type, bound_s: float) -> Reading:
    seconds = session.first_s.get(kind)
    way = ", ".join(f"{label} {session.first_s[one]:.1f} s" for one, label in FIRST.items() if one in session.first_s)
    targets = (Target("value", bound_s),)
    return Reading(name, n=int(seconds is not None), value=seconds, unit="s", targets=targets, note=way)


def default(quick: bool) -> list[Reading]:
    """As ``make paper``, twenty seconds long."""
    return _readings("daemon_default", quick, apart=False)


def apart(quick: bool) -> list[Reading]:
    """The same with the exchange on a core of its own: what it costs that venue and daemon share two."""
    return _readings("daemon_default_apart", quick, apart=True)
