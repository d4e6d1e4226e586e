"""Where trials run: in this process, or in others of this machine.  ``ray_executor`` runs the same function elsewhere.

Owns the processes.  One that dies takes its trial with it, and no other: the trial is told as killed, and a new process
takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, Protocol

from models.tuning.settings import Pruner
from models.tuning.trial import Outcome, Report, Task, run_trial

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

RunTrial = Callable[[Task, Report], Outcome]
_PATIENCE_S = 10.0


class Reporting(Protocol):
    """How a process that runs trials reaches the study; made there, so that it travels as plain data."""

    def __call__(self) -> Callable[[int, int, float], bool]: ...


class Killed(str):
    """Why there is no outcome."""

    __slots__ = ()


class Executor(Protocol):
    """Runs ``slots`` tasks at a time."""

    slots: int

    def submit(self, task: Task) -> None: ...

    def next(self) -> tuple[Task, Outcome | Killed]:
        """Waits for one that was submitted."""
        ...

    def close(self) -> None:
        """Ends what runs still."""
        ...


class BoardOf:
    """Reports to the study's storage."""

    def __init__(self, folder: str, name: str, pruner: Pruner, epochs: int) -> None:
        self._told = (folder, name, pruner, epochs)

    def __call__(self) -> Callable[[int, int, float], bool]:
        from models.tuning.study import Board

        return Board(*self._told).report


class Unwatched:
    """Nobody ends a trial early, and no storage is asked."""

    def __call__(self) -> Callable[[int, int, float], bool]:
        return lambda _number, _epoch, _value: False


class InProcess:
    """One at a time, here."""

    slots = 1

    def __init__(self, reporting: Reporting, run: RunTrial = run_trial) -> None:
        self._report = reporting()
        self._run = run
        self._waiting: list[Task] = []

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def next(self) -> tuple[Task, Outcome | Killed]:
        task = self._waiting.pop(0)
        return task, self._run(task, partial(self._report, task.number))

    def close(self) -> None:
        self._waiting.clear()


class Processes:
    """``count`` of this machine, each of which imports the trainer once."""

    def __init__(self, count: int, reporting: Reporting, run: RunTrial = run_trial) -> None:
        self.slots = count
        self._told = (reporting, run)
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def submit(self, task: Task) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._context, self._told)
        worker.give(task)
        self._busy.append(worker)

    def next(self) -> tuple[Task, Outcome | Killed]:
        connection.wait([each.pipe for each in self._busy])
        worker = next(each for each in self._busy if each.pipe.poll())
        self._busy.remove(worker)
        task, found = worker.take()
        if isinstance(found, Killed):
            worker.end()
        else:
            self._idle.append(worker)
        return task, found

    def close(self) -> None:
        for worker in (*self._idle, *self._busy):
            worker.end()
        self._idle, self._busy = [], []


class _Worker:
    def __init__(self, context: Any, told: tuple[Reporting, RunTrial]) -> None:
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_work, args=(theirs, *told), daemon=True)
        self._process.start()
        theirs.close()
        self._task: Task | None = None

    def give(self, task: Task) -> None:
        self._task = task
        try:
            self.pipe.send(task)
        except OSError:
            pass  # it has died; take says so

    def take(self) -> tuple[Task, Outcome | Killed]:
        task, self._task = self._task, None
        assert task is not None
        try:
            outcome: Outcome = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join(_PATIENCE_S)
            code = self._process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            return task, Killed(f"its process ended ({how}); out of memory, or killed by hand")
        return task, outcome

    def end(self) -> None:
        self.pipe.close()
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_PATIENCE_S)


class _Orphaned(BaseException):
    """The study's process is gone: what is still learned here is nobody's."""


def _work(pipe: Connection, reporting: Reporting, run: RunTrial) -> None:
    """The life of a worker: it ends when the study's process does, also in the middle of a trial."""
    parent = multiprocessing.parent_process()
    # Ctrl-C reaches the whole group: the study's process decides what ends.
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    report = reporting()

    def told(number: int, epoch: int, value: float) -> bool:
        if parent is not None and not parent.is_alive():
            raise _Orphaned
        return report(number, epoch, value)

    try:
        while True:
            task: Task = pipe.recv()
            pipe.send(run(task, partial(told, task.number)))
    except (EOFError, BrokenPipeError, _Orphaned):
        sys.stdout.flush()
        os._exit(0)
