"""The page that tells what sweeps have run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.runtime.simulation.ledger import Version
from engine.runtime.simulation.record import Sum, join, short
from engine.runtime.simulation.totals import Totals, add_up

ENOUGH = 100
"""How often each kind of fault should have happened before a sweep says much about it."""


def page(
    sums: Sequence[Sum], version: Version, kinds: Mapping[str, Sequence[str]], *, across_versions: bool = False
) -> str:
    """Of the seeds of one version of the code; others are told of and not added, or added and told.

    ``kinds``: the faults' ids by kind, all that there are.
    """
    counted = [one for one in sums if across_versions or one.code == version.code]
    whole = join(counted)
    totals = whole.totals
    lines = [
        "# Simulation",
        "",
        *_head(whole, version),
        *_versions(sums, counted),
        *_scarce(totals, kinds),
        "",
        *([*whole.failures, ""] if whole.failures else []),
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


def _head(whole: Sum, version: Version) -> list[str]:
    totals = whole.totals
    commits = whole.commits or [short(version.commit)]
    between = commits[0] if len(commits) == 1 else f"{commits[0]} to {commits[-1]}"
    return [
        f"The whole daemon under simulated time, network and faults: `make simulate`. Commit {between},",
        f"{'; '.join(whole.machines) or version.machine}.",
        "",
        f"- {totals.seeds:,} seeds, {totals.simulated_hours:,.0f} simulated hours, {totals.events:,} events,",
        f"  {totals.orders:,} orders, {totals.sessions:,} sessions, {sum(totals.kinds.values()):,} faults.",
        f"- {totals.cpu_s / 3600:.2f} hours of processor time, {totals.pace:,.0f} times real time on one core;",
        f"  {totals.seconds / 3600:.2f} hours by the clock.",
        f"- Violations: {totals.violations}.",
    ]


def _versions(sums: Sequence[Sum], counted: Sequence[Sum]) -> list[str]:
    codes = list(dict.fromkeys(one.code for one in counted))
    lines = [f"- Code {', '.join(code[:12] for code in codes) or 'never run'}: {len(codes)} version(s) of the sources."]
    others = [one for one in sums if one.code not in codes]
    if others:
        totals, count = add_up(one.totals for one in others), len({one.code for one in others})
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


def _in_order(name: str) -> tuple[str, int]:
    return name[:1], int(name[1:])
