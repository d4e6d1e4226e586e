"""A bundle opened, run and timed in a process of its own before the daemon opens it.

Owns that process and what it says.  A graph that crashes the runtime, or never ends, takes this process with it and not
the daemon; feature kernels that were never compiled on this machine are compiled here.  It runs at the lowest priority.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from engine.errors import BundleError
from engine.events import PredictionStatus
from engine.features import load_columns
from models.bundle import load_bundle
from models.refusals import problem_of
from models.shipped import ENGINES, Name

TIMEOUT_S: Final = 180.0
"""Kernels of other features compile for half a minute on a slow core."""
GIVEN_UP: Final = "given up"
_LOOK_S: Final = 0.1
_TIMED_RUNS: Final = 200
_NICE: Final = 10


class Task(msgspec.Struct, frozen=True):
    """``deadline_us``: the median prediction must not take longer; ``columns``: folder of the user's own features;
    ``providers``: that may compute it, in order, and the folder of built ``engines``."""

    path: str
    version: str
    deadline_us: float
    columns: str = ""
    providers: tuple[Name, ...] = ("cpu",)
    engines: str = str(ENGINES)


class Checked(msgspec.Struct, frozen=True):
    """``problem``: why it may not serve, empty where it may.  ``median_us``: of one prediction there."""

    problem: str = ""
    median_us: float = 0.0


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
            process = subprocess.Popen(
                self._command,
                cwd=self._code_root,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the daemon, which ends this one
            )
        except OSError as error:
            return Checked(f"it could not be checked: {error.strerror}")
        deadline_s = time.monotonic() + self._timeout_s
        asked: bytes | None = msgspec.json.encode(task)
        while True:
            try:
                out, err = process.communicate(asked, timeout=_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                asked = None
                late = time.monotonic() > deadline_s
                if late or given_up():
                    process.kill()
                    process.communicate()
                    return Checked(f"its check did not end within {self._timeout_s:g} s" if late else GIVEN_UP)
        try:
            return msgspec.json.decode(out.splitlines()[-1], type=Checked)
        except (IndexError, msgspec.MsgspecError):
            words_said = err.decode(errors="replace").strip().splitlines()
            said = f": {words_said[-1][:200]}" if words_said else ""
            return Checked(f"the process that checked it ended with {process.returncode}{said}")


# --- the process --------------------------------------------------------------------------------------------------


def examine(task: Task) -> Checked:
    """Load, open with the golden tape, and time.  Never raises."""
    from models.onnx_model import OnnxModel
    from models.providers.order import providers_of

    try:
        if task.columns:
            load_columns(Path(task.columns))
        bundle = load_bundle(task.path)
        if bundle.version != task.version:
            raise BundleError(f"{task.path} holds {bundle.version}", expected=task.version)
        model = OnnxModel(
            bundle, deadline_us=task.deadline_us, providers=providers_of(task.providers, Path(task.engines))
        )
        median_us = _median_us(model, bundle)
    except Exception as error:
        return Checked(problem_of(error))
    if median_us > task.deadline_us:
        return Checked(
            f"one prediction takes {median_us:.0f} us here; expected at most models.deadline_us ({task.deadline_us:g})",
            median_us,
        )
    return Checked("", median_us)


def _median_us(model: Any, bundle: Any) -> float:
    """On the golden window.  Raises ``BundleError`` where it fails there."""
    window = np.frombuffer(bundle.golden.window, "<f4").reshape(bundle.spec.window, len(bundle.spec.columns))
    instrument = bundle.golden.instrument.id
    took_ns = []
    for _ in range(_TIMED_RUNS):
        started_ns = time.perf_counter_ns()
        prediction = model.predict(instrument, window, 0, 0)
        took_ns.append(time.perf_counter_ns() - started_ns)
        if prediction.status is PredictionStatus.FAILED:
            raise BundleError(f"bundle {bundle.version} fails on its golden window: {prediction.text}")
    return statistics.median(took_ns) / 1000


def main() -> int:
    """One task on stdin, one verdict on stdout."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    checked = examine(msgspec.json.decode(sys.stdin.buffer.read(), type=Task))
    print(json.dumps(msgspec.to_builtins(checked)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
