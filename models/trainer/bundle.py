"""Makes a bundle of trained networks: graphs, manifest, golden tape, model card; then loads it as a session would.

Owns what goes into it.  The graphs are made and compared in ``models.trainer.graphs``, the folder is written by
``models.trainer.publish``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch

from engine.features.spec import FeatureSpec
from models.assets import ASSETS, AssetIds
from models.bundle import Bundle
from models.evaluation.run_folder import RunFolder
from models.golden import Float32Array, GoldenTape, Predict, encode_golden
from models.labels.settings import LabelSpec
from models.manifest import (
    GOLDEN,
    SCHEMA,
    Calibration,
    DataFile,
    Features,
    Label,
    Manifest,
    Scaling,
    Scope,
    Thresholds,
    Tolerance,
    Training,
)
from models.manifest_sections import Forecast, Reference, Run, Task
from models.networks.exported import Explained, Exported, Member, Output
from models.trainer.card import render_run_card
from models.trainer.dataset import Dataset
from models.trainer.export import OPSET
from models.trainer.golden import LEVEL_PX, make_tape
from models.trainer.graphs import Real, make_graphs
from models.trainer.judged import BUNDLE, judgement
from models.trainer.normalise import AS_THEY_ARE, Fitted
from models.trainer.publish import CARD, code_hash, publish
from models.trainer.settings import TrainSettings

_LIBRARIES: Final = ("torch", "onnx", "onnxruntime", "numpy")
_TOLERANCE = Tolerance(features_rel=1e-5, outputs_abs=1e-5)


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder of a run does not say of its bundle.

    ``forecasts``: one for each output, in the order of ``outputs``; the first is what strategies see first.
    ``label_kind`` ``direction`` is what they trade on: ``return_scale_bps`` and ``thresholds`` are of it only.
    ``conformal``: quantile by level, from validation rows.  ``command``: what makes it again.
    ``reference``: how the inputs of training rows are spread; None: drift is measured against a session's first rows.
    ``parent``: the version whose weights were gone on with; empty: trained from nothing.
    ``uncertainty_passes``: copies of each window in the graph of the spread, where that is by dropout.
    """

    name: str
    summary: str
    task: str
    head: str
    outputs: tuple[Output, ...]
    forecasts: tuple[Forecast, ...]
    scope: Scope
    command: str
    return_scale_bps: float = 0.0
    thresholds: Thresholds | None = None
    prediction_quantiles: dict[str, float] = {}
    conformal: dict[str, float] | None = None
    reference: Reference | None = None
    expires_days: float | None = None
    parent: str = ""
    uncertainty_passes: int = 16


def bundle_of(
    runs: Sequence[RunFolder],
    description: Description,
    *,
    spec: FeatureSpec,
    normaliser: Fitted,
    members: Sequence[Member],
    seeds: Sequence[int],
    real: Real,
    assets: AssetIds | None = None,
    into: Path | None = None,
) -> Bundle:
    """The bundle of a finished run, under its name in ``into`` (default: the folder ``bundle`` of the run).

    ``runs``: one folder; of a task of several forecasts those in it, one each.  ``members``: the trained networks, one
    for each of ``seeds``; several are averaged.  ``real``: windows of raw features, at best a thousand of the
    validation part, which the graphs are compared with torch on, and their asset numbers where the networks have an
    embedding; ``assets`` then names the numbers.

    Raises ``BundleError`` when a graph differs from the network it was made from, with how much, and when the runtime
    or the golden tape refuses the bundle.  An evaluation that the run has is in manifest and card; else both say so.
    """
    exported = Exported(normaliser.module, members, description.outputs, takes_assets=assets is not None)
    graphs = make_graphs(exported, real, passes=description.uncertainty_passes)
    contents = dict(graphs.contents)
    tape = make_tape(spec, _forecast(exported), _level_px(normaliser, spec, real.windows))
    tape = msgspec.structs.replace(tape, spreads=_spreads(graphs.explained, spec, tape))
    contents[GOLDEN] = encode_golden(tape)
    if assets is not None:
        contents[ASSETS] = assets.to_json()
    created_ns = time.time_ns()
    judged = judgement(runs, len(members))
    first = description.forecasts[0]
    folder = runs[0].path if len(runs) == 1 else runs[0].path.parent
    manifest = Manifest(
        schema=SCHEMA,
        name=description.name,
        summary=" ".join(description.summary.split()),
        created_ns=created_ns,
        expires_ns=_expiry(created_ns, description.expires_days),
        inputs=graphs.inputs,
        outputs=graphs.outputs,
        features=Features(spec.fingerprint(), msgspec.to_builtins(spec)),
        label=Label(first.label_kind, first.horizon_rows, first.text),
        return_scale_bps=round(description.return_scale_bps, 6),
        thresholds=description.thresholds,
        calibration=_calibration(description.outputs, members),
        scope=description.scope,
        scaling=_scaling(spec, normaliser),
        training=_training(runs[0], description.command, exported, seeds),
        metrics=judged.metrics,
        baselines=judged.baselines,
        prediction_quantiles=description.prediction_quantiles,
        opset=OPSET,
        tolerance=_TOLERANCE,
        files={},
        conformal=description.conformal,
        normaliser=normaliser.description,
        task=Task(description.task, description.head, description.forecasts),
        run=Run(folder.name, runs[0].environment.commit, tuple(seeds), description.parent),
        evaluation=judged.evaluation,
        explanation=graphs.explanation,
        step=graphs.step,
        reference=description.reference,
    )
    contents[CARD] = render_run_card(manifest, spec).encode()
    return publish(into if into is not None else folder / BUNDLE, manifest, contents)


def label_fingerprint(label: LabelSpec) -> str:
    """sha256 of a label's settings."""
    return hashlib.sha256(msgspec.json.encode(label, order="deterministic")).hexdigest()


def scope_of(settings: TrainSettings, spec: FeatureSpec, data: Dataset) -> Scope:
    """What the settings allow, and what the features need."""
    calendars = {of.session_calendar or "" for of in data.instruments} if "sessions" in spec.requires else set()
    return Scope(
        settings.scope.asset_classes,
        tuple(sorted(spec.requires)),
        settings.scope.venues,
        settings.scope.instruments,
        tuple(sorted(calendars)),
    )


def _training(run: RunFolder, command: str, exported: Exported, seeds: Sequence[int]) -> Training:
    data = run.data
    moments = {
        name: tuple(
            datetime.fromtimestamp(ns // 1_000_000_000, UTC).isoformat() for ns in (part.first_ns, part.last_ns)
        )
        for name, part in data.parts.items()
    }
    return Training(
        command=command,
        network=data.network,
        parameters=sum(p.numel() for p in exported.networks[0].parameters()),
        data=tuple(DataFile(name, sha) for name, sha in sorted(data.sources.items())),
        data_fingerprint=data.fingerprint,
        rows={name: part.rows for name, part in data.parts.items()},
        periods={name: (first, last) for name, (first, last) in moments.items()},
        code_hash=code_hash(),
        config_hash=run.config_sha256,
        seeds=data.seeds,
        served_seed=seeds[0],
        libraries={name: version(name) for name in _LIBRARIES},
    )


def _calibration(outputs: Sequence[Output], members: Sequence[Member]) -> Calibration:
    """The mean temperature of the first output that has one."""
    for number, output in enumerate(outputs):
        if output.form in ("probability", "classes"):
            each = [member.readings[number].temperature for member in members]
            return Calibration("temperature", round(float(np.mean(each)), 6))
    return Calibration("none", 1.0)


def _scaling(spec: FeatureSpec, normaliser: Fitted) -> tuple[Scaling, ...]:
    columns = zip(spec.columns, normaliser.module.column_scaling(), strict=True)
    return tuple(Scaling(name, *scaling) for name, scaling in columns)


def _expiry(created_ns: int, days: float | None) -> int | None:
    return None if days is None else created_ns + int(days * 86_400e9)


def _level_px(normaliser: Fitted, spec: FeatureSpec, windows: Float32Array) -> float:
    """Where the golden market trades: at another price than the training's a network whose normaliser takes prices as
    they are would saturate, and a tape of equal outputs proves nothing."""
    if normaliser.description.kind in AS_THEY_ARE and "close" in spec.columns:
        return float(windows[0, -1, spec.columns.index("close")])
    return LEVEL_PX


@torch.no_grad()
def _spreads(explained: Explained | None, spec: FeatureSpec, tape: GoldenTape) -> tuple[float, ...]:
    """The deviation of each number that is forecast of the tape's window; nothing where none is told."""
    if explained is None or not explained.has_spread:
        return ()
    window = np.frombuffer(tape.window, "<f4").reshape(1, spec.window, len(spec.columns))
    said = explained(torch.from_numpy(window.copy()))[: len(explained.exported.names())]
    return tuple(number for one in said for number in one.ravel().tolist())


def _forecast(module: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]]) -> Predict:
    """One window to all numbers of its forecast, of an asset that nobody has seen."""

    def predict(window: Float32Array) -> Sequence[float]:
        with torch.no_grad():
            said = module(torch.from_numpy(np.array(window)[None]))
        return [number for one in (said if isinstance(said, tuple) else (said,)) for number in one.ravel().tolist()]

    return predict
