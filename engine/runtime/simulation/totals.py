"""Sums over seeds."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.runtime.simulation.workers import Ran


class Totals(msgspec.Struct):
    """What ``simulate --json`` prints.  ``seconds`` is real time in which seeds ran, ``cpu_s`` processor time."""

    seeds: int = 0
    violations: int = 0
    simulated_hours: float = 0.0
    events: int = 0
    orders: int = 0
    sessions: int = 0
    faults: dict[str, int] = {}
    kinds: dict[str, int] = {}
    first_failing_seed: int | None = None
    seconds: float = 0.0
    cpu_s: float = 0.0

    @property
    def pace(self) -> float:
        """Times real time, by processor time: what one core does."""
        return self.simulated_hours * 3600.0 / self.cpu_s if self.cpu_s else 0.0


def sum_up(runs: Iterable[Ran]) -> Totals:
    totals = Totals()
    spans: list[tuple[float, float]] = []
    failing: list[int] = []
    for ran in runs:
        outcome = ran.outcome
        totals.seeds += 1
        totals.violations += len(outcome.violations)
        totals.simulated_hours += outcome.seconds / 3600.0
        totals.events += outcome.events
        totals.orders += outcome.orders
        totals.sessions += outcome.sessions
        totals.cpu_s += ran.cpu_s
        _add(totals.faults, outcome.faults)
        _add(totals.kinds, outcome.kinds)
        spans.append((ran.started_s, ran.started_s + ran.wall_s))
        if outcome.violations:
            failing.append(outcome.seed)
    totals.first_failing_seed = min(failing, default=None)
    totals.seconds = round(_covered(spans), 3)
    totals.simulated_hours = round(totals.simulated_hours, 3)
    totals.cpu_s = round(totals.cpu_s, 3)
    totals.faults = dict(sorted(totals.faults.items()))
    totals.kinds = dict(sorted(totals.kinds.items()))
    return totals


def add_up(parts: Iterable[Totals]) -> Totals:
    """Of sweeps that did not run at the same time."""
    totals = Totals()
    failing: list[int] = []
    for one in parts:
        for name in ("seeds", "violations", "simulated_hours", "events", "orders", "sessions", "seconds", "cpu_s"):
            setattr(totals, name, getattr(totals, name) + getattr(one, name))
        _add(totals.faults, one.faults)
        _add(totals.kinds, one.kinds)
        if one.first_failing_seed is not None:
            failing.append(one.first_failing_seed)
    totals.first_failing_seed = min(failing, default=None)
    for name in ("simulated_hours", "seconds", "cpu_s"):
        setattr(totals, name, round(getattr(totals, name), 3))
    totals.faults = dict(sorted(totals.faults.items()))
    totals.kinds = dict(sorted(totals.kinds.items()))
    return totals


def _add(into: dict[str, int], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count


def _covered(spans: list[tuple[float, float]]) -> float:
    """How much time at least one of the spans covers."""
    covered = 0.0
    until = 0.0
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered
