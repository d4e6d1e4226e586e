"""Trials on a Ray cluster: the same function, and the study's storage asked where the study is.

Needs the extra ``tune-ray`` here and on every node, with the same version of this project and the data at the same
place.  Only the node of the study opens its storage: trials report to an actor that is pinned to it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.errors import KestrelError
from models.refusals import needing
from models.tuning.executor import Killed, Reporting, RunTrial
from models.tuning.settings import Ray
from models.tuning.trial import Outcome, Task, run_trial

ROOT = Path(__file__).resolve().parents[2]
LOCAL = "local"
_CONNECT_S = 5.0


class RayCluster:
    """As many trials at a time as the settings have ``workers``."""

    def __init__(self, settings: Ray, reporting: Reporting, run: RunTrial = run_trial) -> None:
        """Within ``connected``."""
        import ray
        import ray.util.scheduling_strategies

        self.slots = settings.workers
        self._ray = ray
        here = self._ray.get_runtime_context().get_node_id()
        pinned = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
        self._board = (
            self._ray.remote(_Board)
            .options(num_cpus=0, scheduling_strategy=pinned, max_concurrency=1)
            .remote(reporting)
        )
        self._remote = self._ray.remote(_run).options(num_cpus=1, num_gpus=settings.gpus, max_retries=0)
        self._told = run
        self._running: dict[Any, Task] = {}

    def submit(self, task: Task) -> None:
        self._running[self._remote.remote(self._told, task, self._board)] = task

    def next(self) -> tuple[Task, Outcome | Killed]:
        (done,), _ = self._ray.wait(list(self._running), num_returns=1)
        task = self._running.pop(done)
        try:
            return task, self._ray.get(done)
        except (self._ray.exceptions.RayError, OSError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return task, Killed(f"its worker ended ({first[:200]})")

    def close(self) -> None:
        for running in self._running:
            self._ray.cancel(running, force=True)
        self._running.clear()


class _Board:
    """On the study's node: what trials report to."""

    def __init__(self, reporting: Reporting) -> None:
        self._report = reporting()

    def report(self, number: int, epoch: int, value: float) -> bool:
        return self._report(number, epoch, value)


def _run(run: Callable[..., Outcome], task: Task, board: Any) -> Outcome:
    """On a node of the cluster."""
    import ray

    return run(task, lambda epoch, value: ray.get(board.report.remote(task.number, epoch, value)))


@contextlib.contextmanager
def connected(settings: Ray) -> Iterator[None]:
    """Ray, for as long as a study needs it.

    Raises ``KestrelError`` without ray, and when the cluster cannot be reached.
    """
    with needing("executor ray", "train,tune-ray"):
        import ray
    options: dict[str, Any] = {"address": settings.address, "log_to_driver": False}
    if settings.address == LOCAL:
        options |= {"num_cpus": settings.workers, "include_dashboard": False, "configure_logging": False}
    else:
        check_address(settings.address)
    told = {name: os.environ[name] for name in ("KESTREL_DATA",) if name in os.environ}
    try:
        ray.init(runtime_env={"env_vars": {**told, "PYTHONPATH": str(ROOT)}}, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _unreachable(settings.address, first[:200]) from None
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Raises ``KestrelError`` when nobody listens at ``[ray://]HOST:PORT``: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # a word such as auto
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, why: str) -> KestrelError:
    return KestrelError(f"no Ray cluster at {address}: {why}", do="start it, or correct ray.address")
