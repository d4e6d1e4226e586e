"""Scores of each epoch to TensorBoard and MLflow, for whoever watches a run there; ``metrics.jsonl`` is the record.

Owns these two.  Neither is loaded where the settings do not name it, and neither can end a run that has begun.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from engine.durable import write_atomically
from engine.errors import ConfigError
from models.evaluation.description import EpochLine
from models.trainer.settings import TrainSettings

TENSORBOARD: Final = "tensorboard"
MLFLOW_RUN: Final = "mlflow-run"
"""In the run folder: the id of its run there, which a resumed run goes on with."""
_QUIET: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Unless the environment says otherwise: nothing is sent to MLflow's makers, and a server that is away holds an epoch
up for seconds, not for minutes."""
_Note = Callable[[EpochLine], None]


@contextlib.contextmanager
def tracked(settings: TrainSettings, folder: Path, fingerprint: str = "") -> Iterator[_Note]:
    """What is called with the scores of each epoch.  TensorBoard's files lie in ``RUN/tensorboard``; ``fingerprint`` of
    the data is told to MLflow."""
    with contextlib.ExitStack() as closing:
        notes: list[_Note] = []
        if settings.tracking.tensorboard:
            notes.append(closing.enter_context(_TensorBoard(folder)).note)
        if settings.tracking.mlflow:
            notes.append(closing.enter_context(_MlflowRun(settings, folder, fingerprint)).note)

        def note(line: EpochLine) -> None:
            for one in notes:
                one(line)

        yield note


def check_mlflow(settings: TrainSettings) -> None:
    """Raises ``ConfigError`` where MLflow is asked for and does not answer at the address."""
    if not settings.tracking.mlflow:
        return
    try:
        _experiment(_client(settings), settings.tracking.experiment)
    except Exception as error:  # MLflow passes on whatever its stores raise
        raise ConfigError(
            f"tracking.mlflow {settings.tracking.mlflow}: {_first_line(error)}",
            expected="a server (http://127.0.0.1:5000) or a database (sqlite:///mlflow.db)",
            do="start it, correct the address, or leave the key out",
        ) from None


def scalars(line: EpochLine) -> dict[str, float]:
    """By name, ``validation/log_loss`` say; counts of a confusion are left to ``metrics.jsonl``."""
    return {
        f"{part}/{name}": value
        for part, scores in (("train", line.train), ("validation", line.validation))
        for name, value in scores.items()
        if "confusion." not in name
    } | {"learning_rate": line.learning_rate}


class _Guarded:
    """What goes wrong is told once, and the training goes on without it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.lost = False

    def attempt(self, do: Callable[[], object]) -> None:
        if self.lost:
            return
        try:
            do()
        except Exception as error:  # both pass on whatever their stores raise
            self.lost = True
            print(f"{self.where}: {_first_line(error)}; the run goes on without it", file=sys.stderr)


class _TensorBoard(_Guarded):
    """One folder of files a seed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"TensorBoard in {folder / TENSORBOARD}")
        self.folder = folder / TENSORBOARD
        self.writers: dict[int, Any] = {}

    def __enter__(self) -> _TensorBoard:
        return self

    def __exit__(self, *_about: object) -> None:
        for writer in self.writers.values():
            self.attempt(writer.close)

    def note(self, line: EpochLine) -> None:
        self.attempt(lambda: self._write(line))

    def _write(self, line: EpochLine) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if line.seed not in self.writers:
            self.writers[line.seed] = SummaryWriter(str(self.folder / f"seed-{line.seed}"))
        writer = self.writers[line.seed]
        for name, value in scalars(line).items():
            writer.add_scalar(name, value, line.epoch)
        writer.flush()


class _MlflowRun(_Guarded):
    """One run of an experiment."""

    def __init__(self, settings: TrainSettings, folder: Path, fingerprint: str) -> None:
        super().__init__(f"MLflow at {settings.tracking.mlflow}")
        self.settings, self.folder, self.fingerprint = settings, folder, fingerprint
        self.client: Any = None
        self.run_id = ""

    def __enter__(self) -> _MlflowRun:
        self.attempt(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        self.attempt(lambda: self.client.set_terminated(self.run_id, status))

    def note(self, line: EpochLine) -> None:
        self.attempt(lambda: self._log(line))

    def _log(self, line: EpochLine) -> None:
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        told = [Metric(f"seed-{line.seed}/{name}", value, now_ms, line.epoch) for name, value in scalars(line).items()]
        self.client.log_batch(self.run_id, metrics=told)

    def _begin(self) -> None:
        from mlflow.entities import Param

        self.client = _client(self.settings)
        known = self.folder / MLFLOW_RUN
        if known.is_file():
            self.run_id = known.read_text(encoding="ascii").strip()
            self.client.update_run(self.run_id, status="RUNNING")
            return
        experiment = _experiment(self.client, self.settings.tracking.experiment)
        self.run_id = self.client.create_run(experiment, run_name=self.folder.name).info.run_id
        write_atomically(known, self.run_id.encode())
        said = {
            "name": self.settings.name,
            "task": self.settings.task,
            "network": self.settings.network.name,
            "seeds": " ".join(str(seed) for seed in self.settings.fit.seeds),
            "data_fingerprint": self.fingerprint,
        }
        self.client.log_batch(self.run_id, params=[Param(name, value) for name, value in said.items()])


def _client(settings: TrainSettings) -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.tracking.mlflow)


def _experiment(client: Any, name: str) -> str:
    """Its id; it is made where it is not there."""
    found = client.get_experiment_by_name(name)
    made: str = client.create_experiment(name) if found is None else found.experiment_id
    return made


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
