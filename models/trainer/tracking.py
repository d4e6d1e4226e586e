"""Scores of each epoch to TensorBoard and MLflow, for whoever watches a run there; ``metrics.jsonl`` is the record.

Owns these two.  Neither is loaded where the settings do not name it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from models.evaluation.description import EpochLine
from models.trainer.settings import TrainSettings

TENSORBOARD = "tensorboard"
_Note = Callable[[EpochLine], None]


@contextlib.contextmanager
def tracked(settings: TrainSettings, folder: Path) -> Iterator[_Note]:
    """What is called with the scores of each epoch.  TensorBoard's files lie in ``RUN/tensorboard``."""
    with contextlib.ExitStack() as closing:
        notes: list[_Note] = []
        if settings.tracking.tensorboard:
            notes.append(_tensorboard(folder, closing))
        if settings.tracking.mlflow:
            notes.append(_mlflow(settings, folder, closing))

        def note(line: EpochLine) -> None:
            for one in notes:
                one(line)

        yield note


def scalars(line: EpochLine) -> dict[str, float]:
    """By name, ``validation/log_loss`` say; counts of a confusion are left to ``metrics.jsonl``."""
    return {
        f"{part}/{name}": value
        for part, scores in (("train", line.train), ("validation", line.validation))
        for name, value in scores.items()
        if "confusion." not in name
    } | {"learning_rate": line.learning_rate}


def _tensorboard(folder: Path, closing: contextlib.ExitStack) -> _Note:
    from torch.utils.tensorboard import SummaryWriter

    def writer_of(seed: int) -> SummaryWriter:
        if seed not in writers:
            writers[seed] = closing.enter_context(SummaryWriter(str(folder / TENSORBOARD / f"seed-{seed}")))
        return writers[seed]

    writers: dict[int, SummaryWriter] = {}

    def note(line: EpochLine) -> None:
        writer = writer_of(line.seed)
        for name, value in scalars(line).items():
            writer.add_scalar(name, value, line.epoch)
        writer.flush()

    return note


def _mlflow(settings: TrainSettings, folder: Path, closing: contextlib.ExitStack) -> _Note:
    import mlflow

    mlflow.set_tracking_uri(settings.tracking.mlflow)
    mlflow.set_experiment(settings.tracking.experiment)
    closing.enter_context(mlflow.start_run(run_name=folder.name))
    mlflow.log_params({"task": settings.task, "network": settings.network.name, "name": settings.name})

    def note(line: EpochLine) -> None:
        named = {f"seed-{line.seed}/{name}": value for name, value in scalars(line).items()}
        mlflow.log_metrics(named, step=line.epoch)

    return note
