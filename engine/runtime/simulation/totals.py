"""Sums over seeds, and the page that tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from engine.runtime.simulation.ledger import Entry, Version
from engine.runtime.simulation.workers import Ran

ENOUGH = 100
"""How often each kind of fault should have happened before a sweep says much about it."""


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


# --- the page ---------------------------------------------------------------------------------------------------------


def page(
    entries: Sequence[Entry], version: Version, kinds: Mapping[str, Sequence[str]], *, across_versions: bool = False
) -> str:
    """Of the seeds of one version of the code; others are told of and not added, or added and told.

    ``kinds``: the faults' ids by kind, all that there are.
    """
    counted = [entry for entry in entries if across_versions or entry.version.code == version.code]
    totals = sum_up(entry.ran for entry in counted)
    lines = [
        "# Simulation",
        "",
        *_head(counted, totals, version),
        *_versions(entries, counted),
        *_scarce(totals, kinds),
        "",
        *_failures(counted),
        "| fault | times |",
        "|---|---|",
    ]
    ids = sorted({one for each in kinds.values() for one in each} | set(totals.faults), key=_in_order)
    lines += [f"| {one} | {totals.faults.get(one, 0):,} |" for one in ids]
    lines += ["", "The rarest first:", "", "| kind of fault | ids | times | in 1,000 hours |", "|---|---|---|---|"]
    for name in sorted(kinds, key=lambda name: totals.kinds.get(name, 0)):
        times = totals.kinds.get(name, 0)
        rate = 1000.0 * times / totals.simulated_hours if totals.simulated_hours else 0.0
        lines.append(f"| `{name}` | {', '.join(kinds[name])} | {times:,} | {rate:,.0f} |")
    return "\n".join(lines) + "\n"


def _head(counted: Sequence[Entry], totals: Totals, version: Version) -> list[str]:
    machines = "; ".join(dict.fromkeys(entry.version.machine for entry in counted)) or version.machine
    commits = list(dict.fromkeys(_short(entry.version.commit) for entry in counted)) or [_short(version.commit)]
    between = commits[0] if len(commits) == 1 else f"{commits[0]} to {commits[-1]}"
    return [
        f"The whole daemon under simulated time, network and faults: `make simulate`. Commit {between},",
        f"{machines}.",
        "",
        f"- {totals.seeds:,} seeds, {totals.simulated_hours:,.0f} simulated hours, {totals.events:,} events,",
        f"  {totals.orders:,} orders, {totals.sessions:,} sessions, {sum(totals.kinds.values()):,} faults.",
        f"- {totals.cpu_s / 3600:.2f} hours of processor time, {totals.pace:,.0f} times real time on one core;",
        f"  {totals.seconds / 3600:.2f} hours by the clock.",
        f"- Violations: {totals.violations}.",
    ]


def _versions(entries: Sequence[Entry], counted: Sequence[Entry]) -> list[str]:
    codes = list(dict.fromkeys(entry.version.code for entry in counted))
    lines = [f"- Code {', '.join(code[:12] for code in codes) or 'never run'}: {len(codes)} version(s) of the sources."]
    chosen = set(codes)
    others = [entry for entry in entries if entry.version.code not in chosen]
    if others:
        totals, count = sum_up(entry.ran for entry in others), len({entry.version.code for entry in others})
        lines += [
            f"- Not counted here: {count} other versions, {totals.seeds:,} seeds, {totals.simulated_hours:,.0f} hours,",
            f"  {totals.events:,} events, {totals.violations} violations.",
        ]
    return lines


def _scarce(totals: Totals, kinds: Mapping[str, Sequence[str]]) -> list[str]:
    scarce = [name for name in kinds if totals.kinds.get(name, 0) < ENOUGH]
    if not scarce:
        return [f"- Each of the {len(kinds)} kinds of faults happened at least {ENOUGH} times."]
    return [f"- {len(scarce)} of {len(kinds)} kinds of faults happened fewer than {ENOUGH} times (the last table)."]


def _failures(counted: Sequence[Entry]) -> list[str]:
    found = [
        f"- seed {entry.ran.outcome.seed} (`--hours {entry.hours:g}`), {one.at_s:.6f} s: {one.invariant}: {one.text}"
        for entry in counted
        for one in entry.ran.outcome.violations
    ]
    return [*found, ""] if found else []


def _short(commit: str) -> str:
    return commit[:7] + ("+" if commit.endswith("+") else "") if commit else "unknown"


def _in_order(name: str) -> tuple[str, int]:
    return name[:1], int(name[1:])
