"""What ``run.py simulate`` prints: progress, each seed that fails, and the totals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

import msgspec
from rich.console import Console
from rich.progress import Progress

from engine.cli import print_json
from engine.runtime.simulation.sweep import Outcome, Totals, World, sweep


def run_sweep(world: World, seeds: Sequence[int], *, hours: float, as_json: bool) -> int:
    """Sweep and tell; the exit status is 1 when an invariant was broken."""
    screen = Console(stderr=True)
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task("seeds", total=len(seeds))

        def tell(outcome: Outcome) -> None:
            progress.advance(task)
            for found in outcome.violations:
                progress.console.print(
                    f"seed {outcome.seed}, {found.at_s:.6f} s: {found.invariant}: {found.text}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )

        totals = sweep(seeds, world, hours=hours, tell=tell)
    _show(totals, hours, sys.stderr if as_json else sys.stdout)
    if as_json:
        print_json(msgspec.to_builtins(totals))
    return 1 if totals.violations else 0


def _show(totals: Totals, hours: float, out: TextIO) -> None:
    pace = totals.simulated_hours * 3600.0 / totals.seconds if totals.seconds else 0.0
    print(
        f"{totals.seeds} seeds, {totals.simulated_hours:,.1f} simulated hours at {pace:,.0f} times real time: "
        f"{totals.events:,} events, {totals.orders:,} orders, {totals.sessions:,} sessions, "
        f"{sum(totals.kinds.values()):,} faults, {totals.violations} violations",
        file=out,
    )
    if totals.first_failing_seed is not None:
        seed = totals.first_failing_seed
        print(f"again: python run.py simulate --seeds 1 --first-seed {seed} --hours {hours:g}", file=out)
