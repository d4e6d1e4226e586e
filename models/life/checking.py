"""A bundle opened, run and timed in a process of its own before the daemon opens it.

Owns that process and what it says.  A graph that crashes the runtime, or never ends, takes this process with it and not
the daemon; feature kernels that were never compiled on this machine are compiled here.  It runs at the lowest priority
and ends with the daemon: its stdin is a leash.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from engine.errors import BundleError
from engine.events import PredictionStatus
from engine.features import load_columns
from models.bundle import Bundle, load_bundle
from models.refusals import problem_of
from models.serving.schedule import Wanted
from models.shipped import ENGINES, Name

if TYPE_CHECKING:
    from engine.ports import Model

TIMEOUT_S: Final = 180.0
"""Kernels of other features compile for half a minute on a slow core."""
GIVEN_UP: Final = "given up"
_LOOK_S: Final = 0.1
_ROUNDS: Final = 5
_TIMED_RUNS: Final = 60
"""Of each round."""
_PAUSE_S: Final = 0.4
"""Between two rounds: whoever keeps the machine busy may be done by then."""
_ON_GPU: Final = frozenset({"cuda", "tensorrt"})
NICE: Final = 10


class Task(msgspec.Struct, frozen=True):
    """``deadline_us``: the median prediction must not take longer; ``columns``: folder of the user's own features;
    ``providers``: that may compute it, in order, and the folder of built ``engines``.  ``spread``: it is served with
    the spread of its forecast, where it has a graph of that; ``by_step``: it is served row by row; ``schedule`` is
    ``models.schedule``."""

    path: str
    version: str
    deadline_us: float
    columns: str = ""
    providers: tuple[Name, ...] = ("cpu",)
    engines: str = str(ENGINES)
    spread: bool = False
    by_step: bool = False
    schedule: Wanted = "auto"


class Checked(msgspec.Struct, frozen=True):
    """``problem``: why it may not serve, empty where it may.  ``median_us`` and ``p99_us``: of one prediction there.
    ``passing``: the machine is in the way, not the version: another check may end otherwise."""

    problem: str = ""
    median_us: float = 0.0
    passing: bool = False
    p99_us: float = 0.0


class Checker:
    """Starts the process.  ``env``: its environment, without secrets; ``code_root``: where the program lies;
    ``command``: what is started there."""

    def __init__(
        self,
        code_root: Path,
        env: Mapping[str, str],
        *,
        timeout_s: float = TIMEOUT_S,
        command: tuple[str, ...] = (sys.executable, "-m", "models.life.checking"),
    ) -> None:
        self._code_root = code_root
        self._env = dict(env)
        self._timeout_s = timeout_s
        self._command = command

    def check(self, task: Task, given_up: Callable[[], bool] = lambda: False) -> Checked:
        """Waits for the verdict, or until nobody wants it any more; never raises."""
        try:
            reading, writing = os.pipe()
        except OSError as error:
            return Checked(f"it could not be checked: {error.strerror}", passing=True)
        # The end that is written to stays open here alone: when this process dies, however, the other one ends.
        with open(reading, "rb", buffering=0) as theirs, open(writing, "wb", buffering=0) as leash:
            try:
                process = subprocess.Popen(
                    self._command,
                    cwd=self._code_root,
                    env=self._env,
                    stdin=theirs,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for the daemon, which ends this one
                )
            except OSError as error:
                return Checked(f"it could not be checked: {error.strerror}", passing=True)
            _lower(process.pid)
            theirs.close()
            with contextlib.suppress(BrokenPipeError):  # how it ended says more
                leash.write(msgspec.json.encode(task) + b"\n")
            return self._verdict(process, given_up)

    def _verdict(self, process: subprocess.Popen[bytes], given_up: Callable[[], bool]) -> Checked:
        deadline_s = time.monotonic() + self._timeout_s
        while True:
            try:
                out, err = process.communicate(timeout=_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                late = time.monotonic() > deadline_s
                if late or given_up():
                    process.kill()
                    process.communicate()
                    if late:
                        return Checked(f"its check did not end within {self._timeout_s:g} s", passing=True)
                    return Checked(GIVEN_UP)
        try:
            return msgspec.json.decode(out.splitlines()[-1], type=Checked)
        except (IndexError, msgspec.MsgspecError):
            words_said = err.decode(errors="replace").strip().splitlines()
            said = f": {words_said[-1][:200]}" if words_said else ""
            # Killed by the system for memory, perhaps; what crashes by itself does so each time, and is seldom tried.
            return Checked(f"the process that checked it ended with {process.returncode}{said}", passing=True)


def _lower(pid: int) -> None:
    """From its first instruction on: what it imports keeps a core busy for longer than the check itself."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)


# --- the process --------------------------------------------------------------------------------------------------


def examine(task: Task) -> Checked:
    """Load, open as it will serve with the golden tape, and time.  Never raises."""
    from models.providers.graph import NoProviderError

    try:
        if task.columns:
            load_columns(Path(task.columns))
        bundle = load_bundle(task.path)
        if bundle.version != task.version:
            raise BundleError(f"{task.path} holds {bundle.version}", expected=task.version)
        model, provider = _opened(task, bundle)
        took = _timed(model, bundle, task, on_gpu=provider in _ON_GPU)
    except Exception as error:
        return Checked(problem_of(error), passing=isinstance(error, NoProviderError))
    if took.own_us > task.deadline_us:
        return Checked(
            f"one prediction takes {took.own_us:.0f} us here; expected at most models.deadline_us "
            f"({task.deadline_us:g})",
            took.own_us,
            passing=True,
            p99_us=took.p99_us,
        )
    return Checked("", took.own_us, p99_us=took.p99_us)


def _opened(task: Task, bundle: Bundle) -> tuple[Model, str]:
    """As the daemon opens it, and the provider that computes.  Raises ``BundleError``."""
    from models.mixture.spread import SpreadModel, spread_graph
    from models.onnx_model import OnnxModel
    from models.providers.order import providers_of
    from models.serving.batches import Batches
    from models.serving.schedule import decide, measure_us, usable_cores
    from models.serving.step import StepModel

    if task.by_step:
        steps = StepModel(bundle)
        return steps, steps.provider
    providers = providers_of(task.providers, Path(task.engines))
    alone = OnnxModel(bundle, deadline_us=task.deadline_us, providers=providers)
    model: OnnxModel | SpreadModel = alone
    if task.spread and spread_graph(bundle) is not None:
        model = SpreadModel(alone, deadline_us=None, stopwatch=time.perf_counter_ns)
    if decide(task.schedule, measure_us(model.run_once), usable_cores()).on_worker:
        Batches(model, model.guard)  # they must not crash the daemon either
    return model, model.provider


class _Took(NamedTuple):
    """Of one prediction, us: median of the best round by the clock, what of a core it takes itself, and the p99 of
    that."""

    wall_us: float
    own_us: float
    p99_us: float


def _timed(model: Model, bundle: Bundle, task: Task, *, on_gpu: bool) -> _Took:
    """On the golden window, in rounds, until one is within the deadline.  Raises ``BundleError`` where it fails there.

    At the lowest priority a busy machine makes a run as slow as it likes, and the daemon has another priority: what
    counts is the processor's time, of all threads, where that is less.  On a GPU the clock alone tells.
    """
    window = np.frombuffer(bundle.golden.window, "<f4").reshape(bundle.spec.window, len(bundle.spec.columns))
    instrument = bundle.golden.instrument.id
    rounds: list[_Took] = []
    for number in range(_ROUNDS):
        if number:
            time.sleep(_PAUSE_S)
        wall_ns, own_ns = [], []
        for run in range(_TIMED_RUNS):
            # Steps would find nothing new in the same window: each time one row comes in.
            row = np.roll(window, -run, axis=0) if task.by_step else window
            began_ns, began_own_ns = time.perf_counter_ns(), time.process_time_ns()
            prediction = model.predict(instrument, row, run, run)
            own_ns.append(time.process_time_ns() - began_own_ns)
            wall_ns.append(time.perf_counter_ns() - began_ns)
            if prediction is None or prediction.status is PredictionStatus.FAILED:
                why = "" if prediction is None else prediction.text
                raise BundleError(f"bundle {bundle.version} fails on its golden window: {why}")
        wall_us, own_us = (statistics.median(each) / 1000 for each in (wall_ns, own_ns))
        worst_us, own_worst_us = (float(np.quantile(each, 0.99)) / 1000 for each in (wall_ns, own_ns))
        rounds.append(
            _Took(
                wall_us,
                wall_us if on_gpu else min(wall_us, own_us),
                worst_us if on_gpu else min(worst_us, own_worst_us),
            )
        )
        if max(rounds[-1].own_us, rounds[-1].p99_us) <= task.deadline_us:
            break
    best = min(rounds, key=lambda took: took.own_us)
    return best._replace(p99_us=min(took.p99_us for took in rounds))


def _end_with_parent() -> None:
    """Stdin ends when who asked dies."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def main() -> int:
    """One task, a line on stdin; one verdict on stdout."""
    asked = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, name="leash", daemon=True).start()
    checked = examine(msgspec.json.decode(asked, type=Task))
    print(json.dumps(msgspec.to_builtins(checked)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
