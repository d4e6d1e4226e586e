"""The bundle of a run that ``run.py train`` has finished: its weights, its rows, and what its settings say.

Owns what a run's settings mean to a bundle; the bundle itself is ``models.trainer.bundle``.  It opens no test: graphs
are compared on validation rows, and thresholds are quantiles of those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from engine.features.spec import FeatureSpec
from models.bundle import Bundle
from models.evaluation import conformal
from models.evaluation.run_folder import CONFIG, no_run
from models.manifest import Thresholds
from models.manifest_sections import DIRECTION, Forecast, Form, Reference
from models.networks.exported import Member, Output, Reading
from models.reference import newest_in_unit, spread_of
from models.trainer.bundle import Description, bundle_of, label_fingerprint, scope_of
from models.trainer.carrying import with_carrying
from models.trainer.dataset import Dataset, Part
from models.trainer.export import OUTPUT
from models.trainer.fit import Fitted, forecasts
from models.trainer.graphs import Real
from models.trainer.judged import BUNDLE
from models.trainer.lineage import read_lineage
from models.trainer.normalise import Fitted as Normalised
from models.trainer.opened import OpenedRun, open_run
from models.trainer.scores import cost, monitored
from models.trainer.settings import TrainSettings
from models.trainer.standing_bundle import draft_in, settled
from models.trainer.tabular import label_name
from models.trainer.tasks import Target
from models.trainer.trading import entry_figures
from models.trainer.training_folder import RESULT, check_whole

Float64 = npt.NDArray[np.float64]

_REAL_ROWS = 1000
_REFERENCE_ROWS = 8_192
_LEVELS = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def bundle_run(
    folder: Path, *, data: Path | None = None, seeds: Literal["best", "all"] = "best", replace: bool = False
) -> Bundle:
    """The bundle of the run at ``folder``, in its folder ``bundle``: the one that is there where it was made of the
    same.

    ``seeds``: the network of the best seed on validation rows, or all of them, averaged.  ``data`` as for
    ``run_training``.  ``replace``: another version takes the place of one that is there.  Raises ``DataError`` for a
    run that is not done, or whose data, features or code are not those it learned from, ``BundleError`` for an export
    that differs, or beside another version.
    """
    if not (folder / CONFIG).is_file():
        raise no_run(folder, CONFIG)
    check_whole(folder)
    if not (folder / RESULT).is_file():
        raise DataError(
            f"the run {folder} is not done",
            expected=f"a run with {RESULT}",
            do=f"python run.py train --resume {folder}",
        )
    opened = open_run(folder, data)
    settings, normaliser = opened.settings, opened.normaliser()
    found = [opened.network(seed, normaliser) for seed in settings.fit.seeds]
    if seeds == "best":
        monitor = monitored(opened.rows.plan, settings.fit.monitor)
        found = [min(found, key=lambda one: (cost(monitor, one.scores), one.seed))]
    with draft_in(folder, BUNDLE) as draft:
        return settled(bundle_opened(opened, found, normaliser, into=draft), folder / BUNDLE, replace=replace)


def bundle_opened(
    opened: OpenedRun, found: list[Fitted], normaliser: Normalised, *, into: Path | None = None
) -> Bundle:
    """The bundle of the networks ``found`` of an open run, in ``into`` (default: its folder ``bundle``).

    One that went on from a version (``models.trainer.lineage``) keeps that one's name and scope, and names it.
    Raises ``BundleError`` for an export that differs.
    """
    settings, spec, rows = opened.settings, opened.spec, opened.rows
    some = real_rows(rows)
    with_assets = settings.assets is not None
    description = msgspec.structs.replace(
        description_of(settings, spec, rows, found), reference=_reference(rows, normaliser)
    )
    if (lineage := read_lineage(opened.folder)) is not None:
        description = msgspec.structs.replace(
            description,
            parent=lineage.version,
            scope=lineage.scope,
            command=f"python run.py models refresh {lineage.version} --run {Path(lineage.run).name}",
            summary=f"{description.summary} Refreshed from {lineage.version}: {lineage.text}.",
        )
    made = bundle_of(
        opened.runs,
        description,
        spec=spec,
        normaliser=normaliser,
        members=[Member(one.served.network, readings_of(one)) for one in found],  # type: ignore[arg-type]
        seeds=[one.seed for one in found],
        real=Real(rows.windows(rows.samples.position[some]), rows.numbers[some] if with_assets else None),
        assets=rows.assets if with_assets else None,
        into=into,
    )
    return with_carrying(made, rows)


def real_rows(rows: Dataset) -> npt.NDArray[np.int64]:
    """Numbers of the samples that a graph is held to torch on: 1,000 evenly spread over the validation part, and over
    the training part what that is short of."""
    held = _spread(rows.validation, _REAL_ROWS)
    return np.concatenate([held, _spread(rows.train, _REAL_ROWS - len(held))])


def _spread(part: Part, count: int) -> npt.NDArray[np.int64]:
    """``count`` samples of a part, or all, evenly spread from the first to the last."""
    at = np.linspace(0, len(part) - 1, min(count, len(part))).round().astype(np.int64)
    return part.index[at]


def description_of(settings: TrainSettings, spec: FeatureSpec, rows: Dataset, found: list[Fitted]) -> Description:
    """What a run's settings and its validation rows say of the networks ``found``."""
    targets = rows.plan.targets
    direction = targets[0].task == DIRECTION
    said = _validation(settings, rows, found)
    entries = settings.entries
    thresholds = None
    if direction:
        sell, buy = np.quantile(said, [entries.sell_quantile, entries.buy_quantile])
        part = rows.validation.every(settings.fit.eval_rows_max)
        won = {name: round(value, 6) for name, value in entry_figures(entries, rows, part, said).items()}
        thresholds = Thresholds(
            buy=round(float(buy), 6),
            sell=round(float(sell), 6),
            share=won["entry_share"],
            move_bps=won["entry_move_bps"],
            cost_bps=won["entry_cost_bps"],
        )
    levels = {} if said is None else {name: float(f"{np.quantile(said, q):.6g}") for name, q in _LEVELS.items()}
    return Description(
        name=settings.name,
        summary=settings.summary,
        task=settings.task,
        head=rows.plan.head,
        outputs=tuple(_output(target) for target in targets),
        forecasts=tuple(_forecast(target, rows) for target in targets),
        scope=scope_of(settings, spec, rows),
        command=f"python run.py train --config RUN/{CONFIG}",
        return_scale_bps=rows.return_scale_bps if direction else 0.0,
        thresholds=thresholds,
        prediction_quantiles=levels,
        conformal=_conformal(settings, rows, found),
        expires_days=settings.expires_days,
    )


def _validation(settings: TrainSettings, rows: Dataset, found: list[Fitted]) -> Float64 | None:
    """(N,) what the served networks say first of validation rows; None where that is several classes."""
    if _form(rows.plan.targets[0]) == "classes":
        return None
    part = rows.validation.every(settings.fit.eval_rows_max)
    return np.mean([forecasts(one, rows, part)[0][:, -1] for one in found], axis=0)


def _reference(rows: Dataset, normaliser: Normalised) -> Reference | None:
    """How the inputs of training rows are spread, in the unit that drift is measured in; None without a clean row."""
    windows = rows.windows(rows.train.every(_REFERENCE_ROWS).position)
    clean = windows[np.isfinite(windows).all(axis=(1, 2))]
    if not len(clean):
        return None
    columns = rows.table.spec.columns
    kinds = [kind for kind, _, _ in normaliser.module.column_scaling()]
    edges, shares = spread_of(newest_in_unit(clean, kinds, columns.index("close") if "close" in columns else 0))

    def told(table: Float64) -> dict[str, tuple[float, ...]]:
        return {name: tuple(float(f"{x:.9g}") for x in row) for name, row in zip(columns, table, strict=True)}

    return Reference(len(clean), told(edges), told(shares))


def _conformal(settings: TrainSettings, rows: Dataset, found: list[Fitted]) -> dict[str, float]:
    """Quantiles of the scores of validation rows under the served forecast, by level; of further forecasts as
    ``LEVEL.NAME``.  A class scores one minus its probability, a number its distance, a variance that of logarithms."""
    part = rows.validation.every(settings.fit.eval_rows_max)
    each = [forecasts(one, rows, part) for one in found]
    quantiles: dict[str, float] = {}
    for at, target in enumerate(rows.plan.targets):
        said = np.mean([one[at] for one in each], axis=0)
        truth = rows.targets[part.index, at]
        if target.kind == "classes":
            scores = conformal.class_scores(truth.astype(np.int64), said)
        elif target.kind == "variance":
            scores = np.abs(np.log(truth) - np.log(np.maximum(said[:, 0], 1e-300)))
        else:
            scores = np.abs(truth - said[:, 0])
        behind = f".{_output(target).name}" if at else ""
        found_here = conformal.score_quantiles(scores).items()
        quantiles |= {f"{level:g}{behind}": float(f"{quantile:.6g}") for level, quantile in found_here}
    return quantiles


def _output(target: Target) -> Output:
    name = {DIRECTION: OUTPUT, "signal": "p_buy"}.get(target.task, target.name)
    return Output(name, _form(target), target.outputs.start, target.outputs.stop)


def _form(target: Target) -> Form:
    if target.kind == "classes":
        return "probability" if len(target.classes) == 2 else "classes"
    return "variance" if target.kind == "variance" else "number"


def _forecast(target: Target, rows: Dataset) -> Forecast:
    output, label = _output(target), rows.plan.labels[target.label]
    classes = target.classes[-1:] if output.form == "probability" else target.classes
    named = f"probability of {classes[0]}: " if output.form == "probability" else ""
    return Forecast(
        output.name,
        output.form,
        f"{named}{label_name(label, target, str(rows.table.spec.sampling))}",
        target.horizon_rows,
        DIRECTION if target.task == DIRECTION else label.kind,
        label_fingerprint(label),
        tuple(classes),
    )


def readings_of(one: Fitted) -> tuple[Reading, ...]:
    """How the raw outputs of a network are read, as the export takes it."""
    return tuple(Reading(*msgspec.structs.astuple(reading)) for reading in one.readings)
