"""Writes a bundle: graph, manifest, golden tape, model card; then loads it as a session would.

Owns the order of writing.  A folder appears under its name only when it is complete and has passed every check.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
import torch

from engine.errors import BundleError
from engine.features.spec import FeatureSpec
from models.golden import Float32Array, encode_golden
from models.manifest import (
    GOLDEN,
    GRAPH,
    MANIFEST,
    SCHEMA,
    Bundle,
    Calibration,
    DataFile,
    Features,
    Label,
    Manifest,
    Metric,
    Scaling,
    Scope,
    Tensor,
    Thresholds,
    Tolerance,
    Training,
    load_bundle,
)
from models.networks.served import Served
from models.onnx_model import OnnxModel
from models.trainer import dataset
from models.trainer.card import render_card
from models.trainer.dataset import Dataset
from models.trainer.export import INPUT, OPSET, OUTPUT, check_parity, export
from models.trainer.golden import LEVEL_PX, make_tape
from models.trainer.normalise import AS_THEY_ARE, Fitted
from models.trainer.settings import TrainSettings

CARD = "README.md"
_PARITY_ROWS = 1000
_STILL_ROWS = 64
_ROOT = Path(__file__).resolve().parents[2]
_TOLERANCE = Tolerance(features_rel=1e-5, outputs_abs=1e-5)


def write_bundle(
    directory: Path,
    *,
    settings: TrainSettings,
    command: str,
    config_hash: str,
    spec: FeatureSpec,
    data: Dataset,
    served: Served,
    served_seed: int,
    normaliser: Fitted,
    thresholds: tuple[float, float],
    metrics: dict[str, Metric],
    baselines: dict[str, dict[str, Metric]],
    strongest: str,
    quantiles: dict[str, float],
    libraries: dict[str, str],
) -> Bundle:
    """Export, prove, write and re-open.  Raises ``BundleError`` when anything differs from the trained module."""
    graph = export(served, spec.window, len(spec.columns))
    windows = data.windows(data.validation.every(_PARITY_ROWS).position)
    check_parity(served, graph, windows)
    # A market that stands still: where a window's moves are divided by themselves, the graph must do what torch does.
    check_parity(served, graph, np.repeat(windows[:_STILL_ROWS, -1:], spec.window, axis=1))
    level_px = LEVEL_PX
    if normaliser.description.kind in AS_THEY_ARE and "close" in spec.columns:
        # A market at another price would saturate the network, and a tape of equal outputs proves nothing.
        level_px = float(data.values[data.train.position[0], spec.columns.index("close")])
    golden = encode_golden(make_tape(spec, _torch_predict(served), level_px))
    created_ns = time.time_ns()
    expires_ns = None if settings.expires_days is None else created_ns + int(settings.expires_days * 86_400e9)
    sell, buy = thresholds
    manifest = Manifest(
        schema=SCHEMA,
        name=settings.name,
        summary=" ".join(settings.summary.split()),
        created_ns=created_ns,
        expires_ns=expires_ns,
        inputs=(Tensor(INPUT, (-1, spec.window, len(spec.columns)), "float32"),),
        outputs=(Tensor(OUTPUT, (-1, 1), "float32"),),
        features=Features(spec.fingerprint(), msgspec.to_builtins(spec)),
        label=Label(
            settings.task,
            settings.label.horizon_rows,
            f"probability that the mid is higher, not lower, {settings.label.horizon_rows} rows later; rows whose mid "
            "is unchanged then have no direction and were left out",
        ),
        return_scale_bps=round(data.return_scale_bps, 6),
        thresholds=Thresholds(buy=round(buy, 6), sell=round(sell, 6)),
        calibration=Calibration("temperature", round(float(served.temperature), 6)),
        scope=_scope(settings, spec, data),
        scaling=tuple(
            Scaling(name, *scaling)
            for name, scaling in zip(spec.columns, normaliser.module.column_scaling(), strict=True)
        ),
        training=_training(settings, data, served, command, config_hash, served_seed, libraries),
        metrics=metrics,
        baselines=baselines,
        prediction_quantiles=quantiles,
        opset=OPSET,
        tolerance=_TOLERANCE,
        files={},
        normaliser=normaliser.description,
    )
    card = render_card(manifest, spec, data, strongest).encode()
    files = {GRAPH: graph, GOLDEN: golden, CARD: card}
    manifest = msgspec.structs.replace(
        manifest, files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    )
    files[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    return _publish(directory, settings.name, files)


def _scope(settings: TrainSettings, spec: FeatureSpec, data: Dataset) -> Scope:
    calendars = {of.session_calendar or "" for of in data.instruments} if "sessions" in spec.requires else set()
    return Scope(
        settings.scope.asset_classes,
        tuple(sorted(spec.requires)),
        settings.scope.venues,
        settings.scope.instruments,
        tuple(sorted(calendars)),
    )


def _training(
    settings: TrainSettings,
    data: Dataset,
    served: Served,
    command: str,
    config_hash: str,
    served_seed: int,
    libraries: dict[str, str],
) -> Training:
    return Training(
        command=command,
        network=settings.network.name,
        parameters=sum(p.numel() for p in served.network.parameters()),
        data=tuple(DataFile(name, sha) for name, sha in data.sources),
        data_fingerprint=dataset.fingerprint(data.sources, settings),
        rows={"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
        periods={
            "train": dataset.span_text(data.train),
            "validation": dataset.span_text(data.validation),
            "test": dataset.span_text(data.test),
        },
        code_hash=code_hash(),
        config_hash=config_hash,
        seeds=settings.fit.seeds,
        served_seed=served_seed,
        libraries=libraries,
    )


def _publish(directory: Path, name: str, files: dict[str, bytes]) -> Bundle:
    """Write beside the final place, open with the runtime and the golden tape, then move into place."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory))
    except OSError as error:
        raise BundleError(f"cannot write to {directory}: {error.strerror}", do="choose another folder") from error
    try:
        for file, content in files.items():
            (draft / file).write_bytes(content)
        OnnxModel(load_bundle(draft))
        draft.chmod(0o755)
        final = directory / name
        old = directory / f".{name}-old-{os.getpid()}"
        if final.exists():
            final.rename(old)
        draft.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load_bundle(final)


def _torch_predict(served: Served):  # type: ignore[no-untyped-def]
    served.eval()

    def predict(window: Float32Array) -> float:
        with torch.no_grad():
            return float(served(torch.from_numpy(np.array(window)[None]))[0, 0])

    return predict


def code_hash() -> str:
    """sha256 of all sources that decide the weights: features, rows, labels, splits, networks, trainer."""
    digest = hashlib.sha256()
    folders = (
        "engine/features",
        "models/labels",
        "models/networks",
        "models/splits",
        "models/trainer",
        "models/windows",
    )
    for folder in folders:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
