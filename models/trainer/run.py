"""One training run from settings to a run folder, and on after a kill; what ``run.py train`` and tuning call.

Owns the folder and the order of the steps.  The loop is ``models.trainer.fit``, the files are
``models.evaluation.run_folder``'s:

    RUN/config.yaml, environment.json, data.json, metrics.jsonl, rows/, predictions/    what the evaluation reads
    RUN/assets.json            numbers of the instruments
    RUN/checkpoint.pt          where the loop is; gone when all seeds are done
    RUN/weights/seed-N.pt      best weights of a seed and how its outputs are read
    RUN/teacher/               of a distillation: the run that teaches
    RUN/result.json            scores of the best epochs, written last

A run of several forecasts has a folder ``RUN/RUN-forecast`` for each, which the evaluation takes by itself.  The test
part is stored with its labels and is not predicted: that takes an opening (``models.trainer.predict_test``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import nn

from engine.errors import ConfigError, DataError
from models import networks
from models.evaluation.description import EpochLine
from models.evaluation.rows import Predictions
from models.evaluation.run_folder import CONFIG, RunFolder
from models.networks.served import Served
from models.trainer import checkpoint, dataset, normalise
from models.trainer.checks import check_monitored, check_settings, tell_not_evaluated
from models.trainer.dataset import Dataset, Part
from models.trainer.distillation import TEACHER, taught, teacher_of
from models.trainer.estimate import estimate, with_batch
from models.trainer.feeding import training_batches
from models.trainer.fit import Fitted, fit_seed, forecasts
from models.trainer.forward import build_network, make_deterministic
from models.trainer.readings import Reading
from models.trainer.settings import TrainSettings
from models.trainer.tracking import check_mlflow, tracked
from models.trainer.trading import entry_figures
from models.trainer.training_folder import (
    CHECKPOINT,
    RESULT,
    WEIGHTS,
    append_line,
    check_same_data,
    create,
    data_folder,
    finished,
    held,
    keep_lines,
    places,
    places_of,
    result_of,
    resumed,
    share_lines,
    write_json,
)


@dataclass(frozen=True)
class TrainingResult:
    """``validation``: scores of the best epoch, mean over seeds.  ``runs``: the folders that can be evaluated, one of
    each forecast; ``epochs``: of all seeds together."""

    folder: Path
    validation: dict[str, float]
    epochs: int
    seconds: float
    runs: tuple[Path, ...] = ()


def run_training(
    settings: TrainSettings,
    *,
    folder: Path,
    data: Path | None = None,
    on_epoch: Callable[[EpochLine], None] | None = None,
    resume: bool = False,
    commit: str = "",
    progress: Callable[[str, float], None] = lambda _text, _share: None,
) -> TrainingResult:
    """Train all seeds and write the run to ``folder``, which must not be there; with ``resume`` go on with it.

    ``data``: the folder of recorded files (default ``KESTREL_DATA``, else ``../shared/data``).  ``on_epoch`` is called
    with the scores of each epoch once it is on disk; what it raises ends the run and is passed on, and the run can be
    resumed.  A resumed run may have other learning rates, decay, epochs and patience than before, nothing else; with
    the same it comes to the very result that it would have come to.

    Raises ``ConfigError``, ``DataError``.
    """
    started = time.monotonic()
    networks.require_torch()
    if resume:
        settings = resumed(settings, folder)
        done = finished(settings, folder)
        if done is not None:
            return TrainingResult(folder, done.validation, done.epochs, done.seconds, places_of(folder))
    elif folder.exists():
        raise ConfigError(
            f"{folder} exists", expected="a new folder: nothing is overwritten", do="resume it, or name another"
        )
    spec = dataset.feature_spec(settings.features)
    check_settings(settings, spec, begun=resume)
    if not resume:
        check_mlflow(settings)
    rows = dataset.build(settings, spec, data_folder(settings, data), progress)
    check_monitored(settings, rows)
    tell_not_evaluated(settings, rows)
    normaliser = fit_normaliser_of(settings, rows)
    if resume and weights_path(folder, settings.fit.seeds[0]).exists():
        restore_normaliser(folder, settings.fit.seeds[0], normaliser.module)
    return _train(settings, folder, rows, normaliser, on_epoch, progress, commit, resume=resume, started=started)


def _train(
    settings: TrainSettings,
    folder: Path,
    rows: Dataset,
    normaliser: normalise.Fitted,
    on_epoch: Callable[[EpochLine], None] | None,
    progress: Callable[[str, float], None],
    commit: str,
    *,
    resume: bool,
    started: float,
) -> TrainingResult:
    """The run, of rows that are there."""
    if not resume:
        settings = with_batch(settings, rows, normaliser.module)
        # What is wrong with the device or the batches is told before a folder is made.
        make_deterministic(settings)
        training_batches(rows, settings, rows.train, 0)
        parameters = sum(p.numel() for p in build_network(settings, rows).parameters())
        create(folder, settings, rows, commit, parameters)
    runs = {target.name: RunFolder(place) for target, place in places(folder, rows)}
    for one in runs.values():
        check_same_data(one, rows)
    with held(folder):
        if (teacher := teacher_of(settings)) is not None:
            rows = _taught(teacher, folder / TEACHER, rows, normaliser, progress, commit)
        found = _fit_seeds(folder, settings, rows, normaliser, on_epoch, progress)
        progress("predictions", 0.0)
        write_predictions(rows, runs, found, progress)
        share_lines(folder, runs)
        epochs = sum(one.epochs for one in found)
        names = [name for name in found[0].scores if all(name in one.scores for one in found)]
        validation = {name: float(np.mean([one.scores[name] for one in found])) for name in names}
        validation |= _entries(settings, rows, found)
        seconds = round(time.monotonic() - started, 1)
        write_json(folder / RESULT, result_of(settings, validation, epochs, seconds))
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return TrainingResult(folder, validation, epochs, seconds, tuple(one.path for one in runs.values()))


def _taught(
    teacher: TrainSettings,
    folder: Path,
    rows: Dataset,
    normaliser: normalise.Fitted,
    progress: Callable[[str, float], None],
    commit: str,
) -> Dataset:
    """The rows with what the teacher says of the training part; it is trained where that is not done.

    Its epochs are told to nobody: scores that choose, prune or stop are the student's.
    """
    if not (folder / RESULT).is_file():
        begun = folder.exists()
        _train(
            resumed(teacher, folder) if begun else teacher,
            folder,
            rows,
            normaliser,
            None,
            lambda text, share: progress(f"teacher, {text}", share),
            commit,
            resume=begun,
            started=time.monotonic(),
        )
    runs = [RunFolder(place) for _, place in places(folder, rows)]
    for run in runs:
        check_same_data(run, rows)
    return replace(rows, taught=taught(rows, [run.predictions("train") for run in runs]))


def run_folds(settings: TrainSettings, *, folder: Path, **options: Any) -> list[TrainingResult]:
    """One run for each origin of a walk-forward, in ``folder/origin-N``; those that are finished are left as they are.

    ``options`` as for ``run_training``; ``resume`` goes on with what is there and begins what is not.
    """
    forward = settings.split.walk_forward
    if forward is None:
        raise ConfigError("a run of one cut", expected="split.walk_forward")
    made = []
    for origin in range(1, forward.origins + 1):
        place = folder / f"origin-{origin}"
        split = msgspec.structs.replace(settings.split, origin=origin)
        again = bool(options.get("resume")) and place.exists()
        made.append(
            run_training(msgspec.structs.replace(settings, split=split), folder=place, **{**options, "resume": again})
        )
    return made


def estimate_run(
    settings: TrainSettings,
    *,
    data: Path | None = None,
    progress: Callable[[str, float], None] = lambda _text, _share: None,
) -> dict[str, Any]:
    """What a run would take (``models.trainer.estimate``), and how many rows its parts have; writes no run.

    Of a walk-forward the rows and a step are those of the last origin, seconds those of all ``origins``.
    """
    networks.require_torch()
    origins = 1
    if settings.split.walk_forward is not None and not settings.split.origin:
        # The last origin has the longest past: no other takes more.
        origins = settings.split.walk_forward.origins
        split = msgspec.structs.replace(settings.split, origin=origins)
        settings = msgspec.structs.replace(settings, split=split)
    spec = dataset.feature_spec(settings.features)
    check_settings(settings, spec)
    rows = dataset.build(settings, spec, data_folder(settings, data), progress)
    check_monitored(settings, rows)
    tell_not_evaluated(settings, rows)
    module = fit_normaliser_of(settings, rows).module
    found = estimate(with_batch(settings, rows, module), rows, module)
    if (teacher := teacher_of(settings)) is not None:
        first = estimate(with_batch(teacher, rows, module), rows, module)
        found = msgspec.structs.replace(
            first,
            parameters=found.parameters,
            seconds=first.seconds + found.seconds,
            alone_seconds=first.alone_seconds + found.alone_seconds,
        )
    counts = {name: len(rows.part(name)) for name in ("train", "validation", "test")}
    return {
        "task": settings.task,
        "name": settings.name,
        "network": settings.network.name,
        "rows": counts,
        "origins": origins,
        **msgspec.to_builtins(found),
        "seconds": round(origins * found.seconds, 1),
        "alone_seconds": round(origins * found.alone_seconds, 1),
    }


# --- the loop of seeds ------------------------------------------------------------------------------------------------


def _fit_seeds(
    folder: Path,
    settings: TrainSettings,
    rows: Dataset,
    normaliser: normalise.Fitted,
    on_epoch: Callable[[EpochLine], None] | None,
    progress: Callable[[str, float], None],
) -> list[Fitted]:
    """Each seed from where it is: done, begun, or not begun.  Scores count once their checkpoint is written."""
    made_with = checkpoint.made_with(folder / CONFIG)
    saved = checkpoint.load(folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else None
    if saved is not None:
        checkpoint.check_made_with(folder / CHECKPOINT, saved, made_with)
    lines = 0 if saved is None else int(saved["lines"])
    done = [seed for seed in settings.fit.seeds if weights_path(folder, seed).exists()]
    if saved is not None and int(saved["seed"]) in done:
        saved = None  # killed between the last checkpoint of a seed and the next one's first
    keep_lines(folder, lines)
    found = []
    with tracked(settings, folder, rows.fingerprint) as note:
        for seed in settings.fit.seeds:
            if seed in done:
                found.append(load_fitted(folder, settings, rows, normaliser, seed))
                continue

            def keep(state: dict[str, Any], line: EpochLine | None) -> None:
                nonlocal lines
                if line is not None:
                    append_line(folder, line)
                    lines += 1
                checkpoint.save(folder / CHECKPOINT, {**state, "lines": lines, "made_with": made_with})
                if line is not None:
                    note(line)
                    if on_epoch is not None:
                        on_epoch(line)

            one = fit_seed(rows, settings, normaliser.module, seed, saved=saved, on_epoch=keep, report=progress)
            saved = None
            save_fitted(folder, one)
            found.append(one)
    return found


def save_fitted(folder: Path, one: Fitted) -> None:
    """The trained network of a seed, for ``load_fitted``.  Raises ``DataError`` when the disk will not take it."""
    state = {
        "seed": one.seed,
        "served": one.served.state_dict(),
        "readings": msgspec.to_builtins(one.readings),
        "scores": one.scores,
        "epochs": one.epochs,
    }
    checkpoint.save(weights_path(folder, one.seed), state)


def weights_path(folder: Path, seed: int) -> Path:
    return folder / WEIGHTS / f"seed-{seed}.pt"


def load_fitted(
    folder: Path, settings: TrainSettings, rows: Dataset, normaliser: normalise.Fitted, seed: int
) -> Fitted:
    """The trained network of a seed.  Raises ``DataError`` for weights that are damaged or of another network."""
    state = checkpoint.load(weights_path(folder, seed))
    served = Served(deepcopy(normaliser.module), build_network(settings, rows)).cpu()
    try:
        served.load_state_dict(state["served"])
        readings = msgspec.convert(state["readings"], list[Reading])
    except (KeyError, RuntimeError, msgspec.ValidationError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{weights_path(folder, seed)} is of another network: {first}", do="train again") from None
    return Fitted(seed, served.eval(), readings, state["scores"], state["epochs"])


def restore_normaliser(folder: Path, seed: int, module: nn.Module) -> None:
    """The statistics in front of the trained network of a seed, into ``module``.  Raises ``DataError`` for weights that
    are damaged or of another normaliser."""
    path = weights_path(folder, seed)
    state = checkpoint.load(path)
    try:
        own = {name: value for name, value in state["served"].items() if name.startswith("normaliser.")}
        module.load_state_dict({name.removeprefix("normaliser."): value for name, value in own.items()})
    except (KeyError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path} is of another normaliser: {first}", do="train again") from None


def fit_normaliser_of(settings: TrainSettings, rows: Dataset) -> normalise.Fitted:
    """The normaliser of the settings, fitted on training rows."""
    columns = rows.table.spec.columns
    by_close = settings.normaliser.kind == "scale_free"
    kinds = normalise.column_kinds(rows, columns) if by_close else []
    return normalise.fit_normaliser(settings.normaliser, rows, kinds, columns.index("close") if by_close else -1)


def _entries(settings: TrainSettings, rows: Dataset, found: list[Fitted]) -> dict[str, float]:
    """Of the task direction, what its entries would have won and cost; mean over seeds."""
    if settings.task != "direction":
        return {}
    each = [entry_figures(settings.entries, rows, rows.validation, _p_up(one, rows)) for one in found]
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _p_up(one: Fitted, rows: Dataset) -> Any:
    return forecasts(one, rows, rows.validation)[0][:, 1]


def write_predictions(
    rows: Dataset,
    runs: dict[str, RunFolder],
    found: list[Fitted],
    progress: Callable[[str, float], None] = lambda _text, _share: None,
) -> None:
    """What the seeds say of the parts that are open, into the run of each forecast."""
    for number, name in enumerate(("train", "validation")):
        part = rows.part(name)
        each = [forecasts(one, rows, part) for one in found]
        for at, target in enumerate(rows.plan.targets):
            runs[target.name].write_predictions(name, predictions_of(rows, part, [one[at] for one in each], found))
        progress("predictions", (number + 1) / 2)


def predictions_of(rows: Dataset, part: Part, each: list[Any], found: list[Fitted]) -> Predictions:
    """What the seeds say of a part, ``each (N, K)``."""
    return Predictions(
        rows.samples.instrument[part.index],
        rows.table.ts_ns[part.position],
        np.stack(each),
        tuple(one.seed for one in found),
    )
