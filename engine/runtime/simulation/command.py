"""What ``run.py simulate`` does and prints: seeds, one by one or on all cores, progress, failures, totals, a page."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

import msgspec
from rich.console import Console
from rich.progress import Progress

from engine.cli import print_json
from engine.errors import ConfigError
from engine.runtime.simulation.ledger import Entry, Ledger, Version, version_of
from engine.runtime.simulation.page import page
from engine.runtime.simulation.record import Sum, fold, read_record, write_record
from engine.runtime.simulation.sweep import World
from engine.runtime.simulation.totals import Totals, add_up, sum_up
from engine.runtime.simulation.workers import Ran, in_order, run_here, run_in_workers

USUAL_SEEDS = 10
FAILING_MAX = 100
"""A sweep for hours ends after so many seeds that failed: more of them say nothing new."""


class CountedWorld(World, Protocol):
    """Knows which kinds of faults there are at all, and their ids."""

    @property
    def kinds(self) -> Mapping[str, Sequence[str]]: ...


@dataclass(frozen=True)
class Plan:
    """``seeds`` None: as many as ``until_hours`` takes, or a few.  ``hours``: of faults, each seed.

    ``workers`` None: one a core; 0: none but this process.  With a ``ledger`` seeds that this code has run are not run
    again, and ``until_hours`` and the page (``write``) are about what is in it: of this code, or ``across_versions``.
    ``record``: sums of ledgers that are gone, which count like the ledger's seeds; what this one holds is added.
    """

    code_root: Path
    seeds: int | None = None
    first_seed: int = 1
    hours: float = 1.0
    workers: int | None = None
    ledger: Path | None = None
    until_hours: float | None = None
    across_versions: bool = False
    record: Path | None = None
    write: Path | None = None
    as_json: bool = False


def run_sweep(world: CountedWorld, plan: Plan) -> int:
    """Sweep and tell; the exit status is 1 when an invariant was broken, 130 after an interrupt."""
    about_ledger = (plan.until_hours is not None, plan.write is not None, plan.record is not None, plan.across_versions)
    if plan.ledger is None and any(about_ledger):
        raise ConfigError("--until-hours, --write, --record or --across-versions without --ledger", do="name a ledger")
    interrupted = False
    with ExitStack() as stack:
        ledger = None if plan.ledger is None else stack.enter_context(Ledger(plan.ledger))
        interrupts = _Interrupts()
        sweep = _Sweep(world, plan, ledger, version_of(plan.code_root), interrupts)
        try:
            with interrupts:
                sweep.run()
        except KeyboardInterrupt:
            interrupted = True
        totals = sweep.totals()
        if ledger is not None:
            _keep(plan, sweep, world)
    _show(totals, plan.hours, sys.stderr if plan.as_json else sys.stdout)
    if plan.as_json:
        print_json(msgspec.to_builtins(totals))
    return 130 if interrupted else 1 if totals.violations else 0


def _keep(plan: Plan, sweep: _Sweep, world: CountedWorld) -> None:
    for path in (plan.write, plan.record):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if plan.record is not None:
        write_record(plan.record, sweep.sums())
    if plan.write is not None:
        plan.write.write_text(page(sweep.sums(), sweep.version, world.kinds, across_versions=plan.across_versions))


class _Sweep:
    def __init__(
        self, world: World, plan: Plan, ledger: Ledger | None, version: Version, interrupts: _Interrupts
    ) -> None:
        self.version = version
        self._world = world
        self._plan = plan
        self._ledger = ledger
        self._interrupts = interrupts
        self._ran: list[Ran] = []
        self._record = [] if plan.record is None else read_record(plan.record)
        self._done_hours = self.totals().simulated_hours
        self._failing = 0

    def sums(self) -> list[Sum]:
        """By version of the code, of the record and the ledger."""
        return fold(() if self._ledger is None else self._ledger.entries, self._record)

    def totals(self) -> Totals:
        """What is told: of these seeds, or of all that record and ledger hold of what is counted."""
        if self._ledger is None:
            return sum_up(self._ran)
        return add_up(one.totals for one in self.sums() if self._counts(one))

    def _counts(self, one: Sum) -> bool:
        return self._plan.across_versions or one.code == self.version.code

    def run(self) -> None:
        plan = self._plan
        workers = os.cpu_count() or 1 if plan.workers is None else plan.workers
        asked: list[int] = []
        screen = Console(stderr=True)
        with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
            goal = plan.until_hours if plan.until_hours is not None else plan.seeds or USUAL_SEEDS
            task = progress.add_task("hours" if plan.until_hours is not None else "seeds", total=goal)
            seeds = self._seeds(asked)
            if workers:
                runs = run_in_workers(seeds, self._world, hours=plan.hours, workers=workers)
            else:
                runs = run_here(seeds, self._world, hours=plan.hours)
            with closing(runs):
                for ran in in_order(self._noted(runs), asked):
                    self._tell(ran, progress.console)
                    progress.update(
                        task, completed=self._done_hours if plan.until_hours is not None else len(self._ran)
                    )

    def _seeds(self, asked: list[int]) -> Iterator[int]:
        """The next to run, noted in ``asked``; ends when what is done and under way is enough."""
        plan = self._plan
        known: set[int] = set()
        if self._ledger is not None:
            known = self._ledger.seeds(plan.hours, None if plan.across_versions else self.version)
            for one in self._record:
                if one.hours == plan.hours and self._counts(one):
                    known.update(seed for first, last in one.seeds for seed in range(first, last + 1))
        most = plan.seeds if plan.seeds is not None else None if plan.until_hours is not None else USUAL_SEEDS
        for seed in itertools.count(plan.first_seed):
            if most is not None and len(asked) >= most:
                return
            if plan.until_hours is not None:
                under_way = (len(asked) - len(self._ran)) * plan.hours
                if self._done_hours + under_way >= plan.until_hours or self._failing >= FAILING_MAX:
                    return
            if seed not in known:
                asked.append(seed)
                yield seed

    def _noted(self, runs: Iterator[Ran]) -> Iterator[Ran]:
        """Kept as they end: what is in the ledger is not run again."""
        for ran in runs:
            with self._interrupts.held():
                self._ran.append(ran)
                self._done_hours += ran.outcome.seconds / 3600.0
                self._failing += bool(ran.outcome.violations)
                if self._ledger is not None:
                    self._ledger.add(Entry(self.version, self._plan.hours, ran))
            yield ran

    def _tell(self, ran: Ran, console: Console) -> None:
        for found in ran.outcome.violations:
            console.print(
                f"seed {ran.outcome.seed}, {found.at_s:.6f} s: {found.invariant}: {found.text}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


class _Interrupts:
    """SIGINT and SIGTERM end a sweep alike, and never while a seed is being kept.

    No signal mask would do: the system hands the signal to whichever thread does not mask it.
    """

    def __init__(self) -> None:
        self._held = self._came = False

    def __enter__(self) -> _Interrupts:
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._came:
            raise KeyboardInterrupt

    def _on_signal(self, _number: int, _frame: object) -> None:
        if not self._held:
            raise KeyboardInterrupt
        self._came = True


def _show(totals: Totals, hours: float, out: TextIO) -> None:
    clock = totals.simulated_hours * 3600.0 / totals.seconds if totals.seconds else 0.0
    print(
        f"{totals.seeds:,} seeds, {totals.simulated_hours:,.1f} simulated hours: {totals.events:,} events, "
        f"{totals.orders:,} orders, {totals.sessions:,} sessions, {sum(totals.kinds.values()):,} faults, "
        f"{totals.violations} violations; {clock:,.0f} times real time, {totals.pace:,.0f} on one core",
        file=out,
    )
    if totals.first_failing_seed is not None:
        seed = totals.first_failing_seed
        print(f"again: python run.py simulate --seeds 1 --first-seed {seed} --hours {hours:g} --workers 0", file=out)
