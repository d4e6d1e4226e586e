"""The settings of a finished run trained on every split of a combinatorial purged cross-validation.

Owns the order, what is kept between splits (each is done once, also after a kill) and what the paths are made of.  All
of it lies before the run's test, which stays shut; no line of the ledger is written.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.durable import write_atomically
from engine.errors import ConfigError, DataError
from models.evaluation.baselines.classifiers import stand_for
from models.evaluation.description import Task
from models.evaluation.paths import Costs, Forecast, Paths, PathScores, joined, naive_losses, score_path
from models.evaluation.paths_page import write_page
from models.evaluation.returns import by_day
from models.evaluation.rows import Rows
from models.evaluation.run_folder import RunFolder
from models.evaluation.scoring import LOSS
from models.evaluation.suspicion import suspicions
from models.splits.combinatorial import combinatorial_before, paths
from models.splits.parts import Split
from models.trainer import dataset
from models.trainer.dataset import Dataset
from models.trainer.distillation import teacher_of
from models.trainer.fit import fit_seed, forecasts
from models.trainer.opened import OpenedRun, open_run
from models.trainer.predict_test import trained_folder
from models.trainer.run import fit_normaliser_of
from models.trainer.scores import signal_threshold
from models.trainer.training_folder import held, places, write_json

Int64 = npt.NDArray[np.int64]
FOLDER: Final = "paths"


@dataclass(frozen=True)
class Course:
    """``folds`` of which ``held_out`` are held out at a time; ``cost_bps``: of a position, in and out, None where no
    strategy is asked for."""

    folds: int
    held_out: int
    cost_bps: float | None = None
    commit: str = ""
    explained: str = ""

    @property
    def name(self) -> str:
        return f"paths-{self.folds}-{self.held_out}"


def run_paths(
    path: Path, course: Course, *, data: Path | None = None, progress: Callable[[str], None] = lambda _text: None
) -> Paths:
    """Train what is not trained, score the paths of the forecast at ``path``, write ``paths-N-K.json`` into it.

    ``path`` is a run that can be evaluated, ``data`` as for ``run_training``.  A split is trained with the first seed
    of the run; its epoch, temperature and threshold are chosen by the last rows of its own training part.

    Raises ``ConfigError`` and ``DataError`` for a run that cannot be opened, whose data are too few for so many folds,
    or whose task tells no strategy where costs are told.
    """
    folder = trained_folder(path)
    run = RunFolder(path)
    opened = open_run(folder, data)
    number = next(n for n, (_, place) in enumerate(places(folder, opened.rows)) if place.resolve() == path.resolve())
    costs = _costs(opened, run.data.task, course)
    if teacher_of(opened.settings) is not None:
        raise ConfigError(f"{folder} learned from a teacher", expected="paths of a run without distillation")
    splits = _splits(opened, course)
    place = folder / FOLDER / f"{course.folds}-{course.held_out}"
    with held(folder):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{place} cannot be written: {error.strerror}", do="check the disk") from None
        for at, (_, parts, fold) in enumerate(splits):
            if not _path(place, at).is_file():
                progress(f"split {at + 1} of {len(splits)}")
                _write(_path(place, at), _trained(opened, parts, fold))
        each = [_forecast(_path(place, at), opened.rows, number) for at in range(len(splits))]
    trials = run.trials()
    walked = [joined(each, own) for own in paths(course.folds, course.held_out).tolist()]
    tried = None if trials is None else trials.returns
    scored = [score_path(run.data.task, one, costs, tried) for one in walked]
    found = _told(run, course, costs, len(splits), walked[0], scored)
    write_json(path / f"{course.name}.json", found)
    write_page(path / f"{course.name}.html", found)
    return found


def _costs(opened: OpenedRun, task: Task, course: Course) -> Costs | None:
    """What a position costs; of a signal also what it brings and takes, as its label has it."""
    if course.cost_bps is None:
        return None
    if task.signal:
        label = opened.settings.horizon
        return Costs(course.cost_bps, gain_bps=float(10_000 * label.target), loss_bps=float(10_000 * label.stop))
    if task.kind != "return":
        raise ConfigError(
            f"--cost-bps of the task {task.name}: its rows tell no prices, and nothing can be counted",
            expected="a signal or a return",
            do="leave it out",
        )
    return Costs(course.cost_bps)


def _splits(opened: OpenedRun, course: Course) -> list[tuple[tuple[int, ...], Split, Int64]]:
    rows = opened.rows
    spans = rows.samples.spans
    chosen, learned = len(rows.validation), len(rows.train)
    before_ns = int(spans[rows.test.index].begin_ns.min())
    return combinatorial_before(spans, before_ns, course.folds, course.held_out, chosen / (chosen + learned))


def _trained(opened: OpenedRun, parts: Split, fold: Int64) -> dict[str, npt.NDArray[np.generic]]:
    """One split: what its network says of the rows that it has not seen, by forecast."""
    settings = opened.settings
    of_sample = np.full(len(opened.rows.samples), -1, np.int64)
    of_sample[parts.test.index] = fold
    rows = dataset.divided(opened.rows, settings, parts)
    fitted = fit_seed(rows, settings, fit_normaliser_of(settings, rows).module, settings.fit.seeds[0])
    index = rows.test.index
    arrays: dict[str, npt.NDArray[np.generic]] = {"index": index, "fold": of_sample[index]}
    chosen, said = (forecasts(fitted, rows, part) for part in (rows.validation, rows.test))
    for number, target in enumerate(rows.plan.targets):
        threshold = signal_threshold(target, rows.targets[rows.validation.index, number], chosen[number])
        stands = stand_for(said[number], threshold) if target.kind == "classes" else np.zeros(len(index), np.int64)
        train, label = rows.targets[rows.train.index, number], rows.targets[index, number]
        naive = naive_losses(target.kind, len(target.classes), train, label)
        for name, values in (("label", label), ("said", said[number]), ("stands", stands), ("naive", naive)):
            arrays[f"{name}_{number}"] = values
    return arrays


def _forecast(path: Path, rows: Dataset, number: int) -> Forecast:
    """What a split said.  Raises ``DataError`` for a file that cannot be read."""
    names = ("index", "fold", *(f"{name}_{number}" for name in ("label", "said", "stands", "naive")))
    try:
        with np.load(path, allow_pickle=False) as stored:
            index, fold, label, said, stands, naive = (stored[name] for name in names)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        told = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read: {told}", do="take it away: it is made again") from None
    table = rows.samples
    nothing = np.empty((len(index), 0), np.float32)
    held_out = Rows(table.instrument[index], table.table.ts_ns[table.position[index]], label, nothing)
    return Forecast(held_out, fold, said, stands, naive)


def _told(
    run: RunFolder, course: Course, costs: Costs | None, splits: int, first: Forecast, scored: list[PathScores]
) -> Paths:
    data, task = run.data, run.data.task
    ts_ns = first.rows.ts_ns
    found = Paths(
        run=run.path.resolve().name,
        task=task.name,
        network=data.network,
        primary=task.primary,
        loss=LOSS[task.kind],
        folds=course.folds,
        held_out=course.held_out,
        splits=splits,
        seed=data.seeds[0],
        rows=len(ts_ns),
        first_ns=int(ts_ns.min()),
        last_ns=int(ts_ns.max()),
        days_ns=tuple(by_day(first.rows, np.zeros(len(ts_ns)))[0].tolist()) if costs is not None else (),
        costs=costs,
        paths=scored,
        suspicions=[],
        explained=course.explained.strip(),
        commit=course.commit,
        config_sha256=run.config_sha256,
        data_fingerprint=data.fingerprint,
    )
    known = all("direction_accuracy" in one.scores for one in scored)
    direction = {"the network": found.spread("direction_accuracy")[0]} if known else {}
    doubts = suspicions(direction, found.spread("sharpe")[0] if "sharpe" in found.figures else None)
    return msgspec.structs.replace(found, suspicions=[str(doubt) for doubt in doubts])


def _write(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    try:
        write_atomically(path, content.getvalue())
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}", do="make room: the same command goes on"
        ) from None


def _path(place: Path, split: int) -> Path:
    return place / f"split-{split + 1:03d}.npz"
