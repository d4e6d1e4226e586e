"""Seeds on several cores: each worker is a process that runs one seed after the other.

Owns the processes.  A worker that dies, hangs or raises is an outcome of the seed that it ran, with a violation, and
another takes its place: no seed is skipped in silence.  An interrupt ends them all and leaves no files.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import msgspec

from engine import arithmetic
from engine.errors import printable
from engine.runtime.simulation.checks import Violation
from engine.runtime.simulation.sweep import Outcome, World, simulate

CPU_S = 120.0
"""Processor time that a seed may take, and as much again for each simulated hour: some thirty times what it needs."""
PATIENCE_S = 3600.0
"""Likewise real time, of which a sweep that gives way to everything else needs much: this is for one that is stuck."""


class Ran(msgspec.Struct, frozen=True):
    """A seed that is over.  ``started_s`` since 1970; ``wall_s`` and ``cpu_s``: what it took."""

    outcome: Outcome
    started_s: float
    wall_s: float
    cpu_s: float


def run_here(seeds: Iterable[int], world: World, *, hours: float) -> Generator[Ran, None, None]:
    """One after the other in this process, without a limit of time: a debugger can look."""
    with _Folder() as root:
        for seed in seeds:
            yield _run(seed, world, hours, root)


def run_in_workers(
    seeds: Iterable[int],
    world: World,
    *,
    hours: float,
    workers: int,
    patience_s: float | None = None,
    cpu_s: float | None = None,
) -> Generator[Ran, None, None]:
    """Each seed's end, as they end.  ``seeds`` is asked for the next one when a worker has nothing to do.

    ``patience_s`` and ``cpu_s``: real and processor time that a seed may take.
    """
    limit_s = PATIENCE_S * (1.0 + hours) if patience_s is None else patience_s
    limit_cpu_s = CPU_S * (1.0 + hours) if cpu_s is None else cpu_s
    waiting = iter(seeds)
    with _Folder() as root:
        crew = [_Worker(world, hours, root / str(number), limit_s, limit_cpu_s) for number in range(workers)]
        try:
            idle = list(crew)
            busy: list[_Worker] = []
            while True:
                while idle and (seed := next(waiting, None)) is not None:
                    worker = idle.pop()
                    worker.begin(seed)
                    busy.append(worker)
                if not busy:
                    return
                nearest_s = min(worker.deadline_s for worker in busy) - time.monotonic()
                wait([worker.pipe for worker in busy], max(0.0, nearest_s))
                for worker in list(busy):
                    ran = worker.take()
                    if ran is not None:
                        busy.remove(worker)
                        idle.append(worker)
                        yield ran
        finally:
            for worker in crew:
                worker.end()


def in_order(runs: Iterable[Ran], asked: Sequence[int]) -> Iterator[Ran]:
    """The same in the order in which they were begun (``asked``, which may grow), whichever worker was quicker."""
    early: dict[int, Ran] = {}
    told = 0
    for ran in runs:
        early[ran.outcome.seed] = ran
        while told < len(asked) and asked[told] in early:
            yield early.pop(asked[told])
            told += 1


class _Folder:
    """In memory where there is such a place: a simulated disk is slow by virtual time alone."""

    def __enter__(self) -> Path:
        memory = Path("/dev/shm")
        place = memory if memory.is_dir() else None
        self._path = Path(tempfile.mkdtemp(prefix=f"kestrel-simulation-{os.getpid()}-", dir=place))
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


class _Worker:
    """One process at a time, made when it is first needed."""

    def __init__(self, world: World, hours: float, folder: Path, limit_s: float, limit_cpu_s: float) -> None:
        self.pipe: Connection
        self.deadline_s = 0.0
        self._world = world
        self._hours = hours
        self._folder = folder
        self._limit_s = limit_s
        self._limit_cpu_s = limit_cpu_s
        self._process: Any = None
        self._seed = 0
        self._began_s = 0.0
        self._began_at_s = 0.0

    def begin(self, seed: int) -> None:
        if self._process is None:
            self._start()
        self._seed = seed
        self._began_s, self._began_at_s = time.monotonic(), time.time()
        self.deadline_s = self._began_s + self._limit_s
        try:
            self.pipe.send_bytes(msgspec.json.encode(seed))
        except OSError:
            return  # it died meanwhile; ``take`` tells

    def take(self) -> Ran | None:
        """What became of its seed; None while it runs."""
        if self.pipe.poll():
            try:
                return msgspec.json.decode(self.pipe.recv_bytes(), type=Ran)
            except (EOFError, OSError):
                self._process.join(5.0)
                status = self._process.exitcode
        elif time.monotonic() < self.deadline_s:
            return None
        else:
            status = None
        self.end()
        if status is None:
            text = f"no end after {self._limit_s:g} s"
        elif status == -signal.SIGPROF:
            text = f"no end after {self._limit_cpu_s:g} s of processor time"
        else:
            text = f"its process ended with status {status}"
        wall_s = time.monotonic() - self._began_s
        return Ran(_failed(self._seed, text), self._began_at_s, wall_s, 0.0)

    def end(self) -> None:
        """Whatever it does; its files go as well."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.pipe.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        # A fresh interpreter: a copy of this one would have its threads' locks without its threads.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._folder.mkdir(exist_ok=True)
        given = (theirs, self._world, self._hours, self._folder, self._limit_cpu_s)
        self._process = context.Process(target=_work, args=given, daemon=True)
        # Ctrl-C goes to the whole group, and is for the parent, which ends its workers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def _work(pipe: Connection, world: World, hours: float, folder: Path, limit_cpu_s: float) -> None:
    """Run what the pipe says until nobody is there any more."""
    arithmetic.install()
    try:
        while True:
            seed = msgspec.json.decode(pipe.recv_bytes(), type=int)
            signal.setitimer(signal.ITIMER_PROF, limit_cpu_s)  # whose signal ends the process: nobody handles it
            pipe.send_bytes(msgspec.json.encode(_run(seed, world, hours, folder)))
    except (EOFError, OSError):
        shutil.rmtree(folder, ignore_errors=True)


def _run(seed: int, world: World, hours: float, root: Path) -> Ran:
    started_s, wall_s, cpu_s = time.time(), time.perf_counter(), time.process_time()
    try:
        outcome = simulate(seed, world, hours=hours, root=root)
    except Exception as error:
        outcome = _failed(seed, printable(f"the simulation itself failed: {type(error).__name__}: {error}"))
    return Ran(outcome, started_s, time.perf_counter() - wall_s, time.process_time() - cpu_s)


def _failed(seed: int, text: str) -> Outcome:
    return Outcome(seed, [Violation("defect", text, 0.0)], 0.0, 0, 0, 0, {}, {})
