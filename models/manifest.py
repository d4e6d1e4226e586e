"""What a model bundle is on disk, and the only way to load one.

A bundle is a folder: ``model.onnx`` (raw features in), ``manifest.json`` (this module's ``Manifest``),
``golden.msgpack`` (``models.golden``) and a model card.  Owns the format and every check that needs no inference;
whether the graph really computes what it should is checked by ``models.onnx_model`` when it opens it.

Nothing pickled is ever loaded: the formats read here can hold data only.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.errors import BundleError, KestrelError
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.assets import ASSETS, AssetIds
from models.golden import GoldenTape, decode_golden
from models.manifest_sections import (
    DIRECTION,
    Converted,
    Evaluated,
    Explanation,
    Precision,
    Reference,
    Run,
    Section,
    SideGraph,
    Step,
    Task,
    Tensor,
)

SCHEMA = 2
"""What is written.  Schema 1 (one probability of rising, one graph) goes on being read."""
SCHEMAS = (1, SCHEMA)
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
GOLDEN = "golden.msgpack"
FEATURES = "features"
ASSET = "asset"
"""Inputs of a graph."""
_SUFFIXES = frozenset({".onnx", ".json", ".msgpack", ".md"})
_ANY = "*"


class Features(Section, frozen=True):
    """``spec`` is the ``FeatureSpec`` as JSON; ``fingerprint`` that of the features the model was trained on."""

    fingerprint: str
    spec: dict[str, Any]


class Label(Section, frozen=True):
    """What was learned: ``horizon_rows`` is in rows of the feature spec.  ``kind``: ``direction``, or a label's."""

    kind: str
    horizon_rows: int
    text: str


class Thresholds(Section, frozen=True):
    """Suggested entries on the first output: buy at or above, sell at or below; quantiles of the validation rows.

    ``share`` of those rows is beyond them; there the mid moved ``move_bps`` to the side of the entry, and a round trip
    costs ``cost_bps``.  None in bundles that do not tell it.
    """

    buy: float
    sell: float
    share: float | None = None
    move_bps: float | None = None
    cost_bps: float | None = None


class Calibration(Section, frozen=True):
    """Already inside the graph; recorded for the reader."""

    method: Literal["temperature", "none"]
    temperature: float


class Scope(Section, frozen=True):
    """What the model may be used on.  ``*`` means any; ``inputs`` are those its features need.

    ``session_calendars``: those of the training instruments, where features read trading hours; empty for a market that
    never closes.
    """

    asset_classes: tuple[str, ...]
    inputs: tuple[str, ...]
    venues: tuple[str, ...] = (_ANY,)
    instruments: tuple[str, ...] = (_ANY,)
    session_calendars: tuple[str, ...] = ()


class Scaling(Section, frozen=True):
    """How the graph scales one column.

    Under ``scale_free`` the ``kind`` is one of ``models.networks.served``; mean and std are of the z-score after it.
    Else ``kind`` is the normaliser's, ``mean`` what it subtracts (minimum, mean, median) and ``std`` what it divides
    by (range, deviation, distance of the quartiles); a ``std`` of 0: constant in training, always 0 to the network.
    """

    column: str
    kind: str
    mean: float
    std: float


class FittedOn(Section, frozen=True):
    """The rows of the training part that statistics are of.  ``rows_left_out``: a column of theirs was not finite.

    ``first`` and ``last``: receive time, ISO 8601 UTC.
    """

    rows: int
    rows_left_out: int
    first: str
    last: str


class Normalisation(Section, frozen=True):
    """What stands in front of the network.  ``limits``: where its values are cut; ``fitted_on``: None, nothing was."""

    kind: Literal["scale_free", "min_max", "z_score", "robust", "per_window", "none"]
    limits: tuple[float, float] | None
    fitted_on: FittedOn | None


class Metric(Section, frozen=True):
    """A figure with its 95 % interval (block bootstrap over time); no interval where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class DataFile(Section, frozen=True):
    name: str
    sha256: str


class Training(Section, frozen=True):
    """Where the weights come from.  ``rows`` counts labelled rows of train, validation and test."""

    command: str
    network: str
    parameters: int
    data: tuple[DataFile, ...]
    data_fingerprint: str
    rows: dict[str, int]
    periods: dict[str, tuple[str, str]]
    code_hash: str
    config_hash: str
    seeds: tuple[int, ...]
    served_seed: int
    libraries: dict[str, str]


class Tolerance(Section, frozen=True):
    """How far the golden tape may be off: features relative, outputs absolute."""

    features_rel: float
    outputs_abs: float


class Manifest(Section, frozen=True):
    """All that is known about a bundle.  ``metrics`` are of the test rows and of the served weights unless named."""

    schema: int
    name: str
    summary: str
    created_ns: int
    expires_ns: int | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    features: Features
    label: Label
    return_scale_bps: float
    """Mean absolute move of the mid over the horizon, training rows: ``(2 p - 1)`` times this is the expected move.
    0 where the label is no direction."""
    thresholds: Thresholds | None
    calibration: Calibration
    scope: Scope
    scaling: tuple[Scaling, ...]
    training: Training
    metrics: dict[str, Metric]
    baselines: dict[str, dict[str, Metric]]
    prediction_quantiles: dict[str, float]
    opset: int
    tolerance: Tolerance
    files: dict[str, str]
    """sha256 of every other file of the folder."""
    conformal: dict[str, float] | None = None
    normaliser: Normalisation | None = None
    """None in bundles of before it could be chosen: ``scale_free``."""
    task: Task | None = None
    """This and what follows came with schema 2; all of it is None in schema 1."""
    run: Run | None = None
    """None where no run folder was written."""
    evaluation: Evaluated | None = None
    """None where the run was not evaluated; ``metrics`` and ``baselines`` are empty then."""
    explanation: Explanation | None = None
    step: Step | None = None
    precision: Precision = "fp32"
    converted: Converted | None = None
    """From which bundle, and what that cost; None where the graph is as it was trained."""
    reference: Reference | None = None
    """None in bundles of before it was kept: drift is then measured against the first rows of a session."""

    @property
    def side_graphs(self) -> tuple[SideGraph, ...]:
        parts = (self.explanation, self.step)
        return tuple(part.graph for part in parts if part is not None and part.graph is not None)

    @property
    def output_width(self) -> int:
        """Numbers in one prediction, all outputs together."""
        return sum(math.prod(tensor.shape[1:]) for tensor in self.outputs)

    def reason_against(self, output: str) -> str:
        """Why a strategy may not trade on the output of that name (empty: the first); empty where it may."""
        if not output:
            if self.label.kind == DIRECTION:
                return ""
            return f"its task is {self.label.kind}, and strategies that name no output trade on {DIRECTION} alone"
        forecasts = () if self.task is None else self.task.forecasts
        traded = {one.name: one.traded_as for one in forecasts} or {self.outputs[0].name: "direction"}
        if output not in traded:
            return f"it has no output {output!r}, only {', '.join(traded)}"
        return "" if traded[output] else f"its output {output} is neither a probability of rising nor a return"

    @property
    def scored(self) -> bool:
        """It was judged on a test part, beside baselines."""
        return bool(self.metrics) and bool(self.baselines)


class Bundle:
    """A verified bundle in memory.  What was hashed is what will be served: files are read once."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        spec: FeatureSpec,
        *,
        graph: bytes,
        golden: GoldenTape,
        sha: str,
        side_graphs: dict[str, bytes] | None = None,
        assets: AssetIds | None = None,
    ):
        self.path = path
        self.manifest = manifest
        self.spec = spec
        self.graph = graph
        self.golden = golden
        self.side_graphs = side_graphs or {}
        """By file name: graphs that are not needed to serve."""
        self.assets = assets
        """Numbers of instruments, where the graph takes them."""
        self.sha = sha
        self.version = f"{manifest.name}@{sha[:12]}"

    def check_version(self, version: str) -> None:
        """Raises ``BundleError`` where this is not ``version``, in whose folder of the registry it was found: a
        manifest that was changed together with what it lists is whole, and nobody promoted it."""
        if self.version != version:
            raise BundleError(
                f"{self.path} holds {self.version}",
                expected=f"{version}, as its folder is named",
                do="bring that version back from a backup, or promote another one",
            )

    def reasons_against(self, instrument: Instrument, outputs: Collection[str] = ("",)) -> list[str]:
        """Why this bundle may not be used on the instrument; empty when it may.

        ``outputs``: names of those that its strategies trade on; empty: the first.
        """
        scope = self.manifest.scope
        reasons = [reason for output in sorted(outputs) if (reason := self.manifest.reason_against(output))]
        if _ANY not in scope.asset_classes and instrument.asset_class not in scope.asset_classes:
            reasons.append(f"asset class {instrument.asset_class} is not one of {', '.join(scope.asset_classes)}")
        if _ANY not in scope.venues and instrument.venue not in scope.venues:
            reasons.append(f"venue {instrument.venue} is not one of {', '.join(scope.venues)}")
        if _ANY not in scope.instruments and instrument.id not in scope.instruments:
            reasons.append(f"instrument is not one of {', '.join(scope.instruments)}")
        if "sizes" in scope.inputs and not instrument.has_quote_sizes:
            reasons.append("its feed has no quote sizes")
        if "trades" in scope.inputs and not instrument.has_trades:
            reasons.append("its feed has no trades")
        if "depth" in scope.inputs and not instrument.has_depth:
            reasons.append("its feed has no book levels")
        if instrument.id in self.spec.peers:
            reasons.append("its columns read the price of that very instrument as another's")
        hours = instrument.session_calendar or ""
        if "sessions" in scope.inputs and hours not in scope.session_calendars:
            known = ", ".join(name or "none" for name in scope.session_calendars)
            reasons.append(f"its trading calendar {hours or 'none'} is not one of {known}")
        return reasons

    def check_instrument(self, instrument: Instrument, outputs: Collection[str] = ("",)) -> None:
        """Raises ``BundleError`` when the bundle is not declared for the instrument."""
        reasons = self.reasons_against(instrument, outputs)
        if reasons:
            raise BundleError(
                f"bundle {self.version} may not be used on {instrument.id}: {'; '.join(reasons)}",
                do="choose another bundle (models list) or train one for it",
            )

    def __repr__(self) -> str:
        return f"Bundle({self.version}, {self.path})"


def load_bundle(path: Path | str, *, now_ns: int | None = None) -> Bundle:
    """Read and verify a bundle.  ``now_ns`` (default: the wall clock) is held against its expiry.

    Raises ``BundleError`` when a file is missing, unlisted, changed or not of a plain data format, the manifest has
    unknown or missing keys, the features are not those this engine computes, shapes differ, or the bundle expired.
    """
    path = Path(path)
    raw = _read(path, MANIFEST)
    manifest = decode_manifest(path, raw)
    contents = _verified_files(path, manifest)
    spec = _verified_spec(path, manifest)
    _check_tensors(path, manifest, spec)
    now_ns = time.time_ns() if now_ns is None else now_ns
    if manifest.expires_ns is not None and now_ns >= manifest.expires_ns:
        days = (now_ns - manifest.expires_ns) / 86_400e9
        raise BundleError(
            f"bundle {path} expired {days:.1f} days ago", do=f"train it again: {manifest.training.command}"
        )
    try:
        golden = decode_golden(contents[GOLDEN])
    except msgspec.MsgspecError as error:
        raise BundleError(f"{path / GOLDEN} is no golden tape: {error}", do="train the bundle again") from error
    return Bundle(
        path,
        manifest,
        spec,
        graph=contents[GRAPH],
        golden=golden,
        sha=hashlib.sha256(raw).hexdigest(),
        side_graphs={graph.file: contents[graph.file] for graph in manifest.side_graphs},
        assets=AssetIds.from_json(contents[ASSETS]) if len(manifest.inputs) > 1 else None,
    )


def _read(path: Path, name: str) -> bytes:
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}", expected="a folder with manifest.json", do="see: models list")
    file = path / name
    if file.is_symlink() or not file.is_file():
        raise BundleError(
            f"bundle {path} has no file {name}", expected="a complete bundle", do="copy or train it again"
        )
    try:
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {file}: {error.strerror}") from error


def decode_manifest(path: Path, raw: bytes) -> Manifest:
    try:
        schema = msgspec.json.decode(raw, type=_SchemaOnly).schema
        if schema not in SCHEMAS:
            raise BundleError(
                f"{path / MANIFEST} has schema {schema}",
                expected=f"schema {' or '.join(map(str, SCHEMAS))}",
                do="train the bundle again",
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(
            f"{path / MANIFEST} is not valid: {error}",
            expected=f"a manifest of schema {' or '.join(map(str, SCHEMAS))}",
            do="train it again",
        ) from error
    if problem := _schema_problem(manifest):
        raise BundleError(f"{path / MANIFEST} of schema {schema} {problem}", do="train the bundle again")
    return manifest


def _schema_problem(manifest: Manifest) -> str:
    """What a manifest has that its schema does not allow; empty where there is nothing."""
    newer = (
        manifest.task, manifest.run, manifest.evaluation, manifest.explanation, manifest.step, manifest.reference,
    )  # fmt: skip
    if manifest.schema == 1:
        if any(part is not None for part in newer):
            return "has parts of schema 2"
        return "" if manifest.label.kind == DIRECTION else f"has the label {manifest.label.kind}"
    if manifest.task is None:
        return "does not say its task"
    if [one.name for one in manifest.task.forecasts] != [one.name for one in manifest.outputs]:
        return "says its outputs are others than its graph has"
    return "has no thresholds" if manifest.label.kind == DIRECTION and manifest.thresholds is None else ""


class _SchemaOnly(msgspec.Struct):
    schema: int


def _verified_files(path: Path, manifest: Manifest) -> dict[str, bytes]:
    listed = set(manifest.files)
    missing = {GRAPH, GOLDEN, *(graph.file for graph in manifest.side_graphs)} - listed
    if len(manifest.inputs) > 1:
        missing |= {ASSETS} - listed
    if missing:
        raise BundleError(f"{path / MANIFEST} lists no {', '.join(sorted(missing))}", do="train the bundle again")
    for name in sorted(listed):
        if Path(name).name != name or Path(name).suffix not in _SUFFIXES:
            raise BundleError(
                f"bundle {path} lists the file {name!r}",
                expected=f"plain data files ({', '.join(sorted(_SUFFIXES))}) in the folder itself",
                do="remove it: nothing pickled or executable is ever loaded",
            )
    present = {file.name for file in path.iterdir()}
    if extra := sorted(present - listed - {MANIFEST}):
        raise BundleError(f"bundle {path} holds {extra[0]!r}", expected="only files its manifest lists", do="remove it")
    contents = {}
    for name in sorted(listed):
        content = _read(path, name)
        seen = hashlib.sha256(content).hexdigest()
        if seen != manifest.files[name]:
            raise BundleError(
                f"{path / name} has sha256 {seen[:12]}",
                expected=manifest.files[name][:12],
                do="the file was changed or damaged: copy or train the bundle again",
            )
        contents[name] = content
    return contents


def _verified_spec(path: Path, manifest: Manifest) -> FeatureSpec:
    try:
        spec = msgspec.convert(manifest.features.spec, FeatureSpec)
        fingerprint = spec.fingerprint()
    except (KestrelError, msgspec.MsgspecError) as error:
        raise BundleError(
            f"bundle {path} needs features this engine does not have: {error}", do="register its columns or train again"
        ) from error
    if fingerprint != manifest.features.fingerprint:
        raise BundleError(
            f"bundle {path} was trained on features {manifest.features.fingerprint[:12]}",
            expected=f"{fingerprint[:12]}, which this engine computes",
            do=f"train it again: {manifest.training.command}",
        )
    if set(manifest.scope.inputs) != set(spec.requires):
        raise BundleError(
            f"bundle {path} declares the inputs {sorted(manifest.scope.inputs)}",
            expected=f"those its features need: {sorted(spec.requires)}",
            do="train the bundle again",
        )
    return spec


def _check_tensors(path: Path, manifest: Manifest, spec: FeatureSpec) -> None:
    wanted = (-1, spec.window, len(spec.columns))
    inputs = [(FEATURES, wanted, "float32"), (ASSET, (-1,), "int64")]
    seen = [(tensor.name, tensor.shape, tensor.dtype) for tensor in manifest.inputs]
    if seen not in ([inputs[:1]] if manifest.schema == 1 else [inputs[:1], inputs]):
        shapes = [(name, list(shape), dtype) for name, shape, dtype in seen]
        raise BundleError(f"bundle {path} declares input shapes {shapes}", expected=f"{FEATURES} {wanted} float32")
    outputs = [tensor.shape for tensor in manifest.outputs]
    names = {tensor.name for tensor in manifest.outputs}
    several = manifest.task is not None and len(manifest.task.forecasts) > 1
    one = manifest.label.kind == DIRECTION
    good = all(len(shape) > 1 and shape[0] == -1 and min(shape[1:]) > 0 for shape in outputs)
    wrong = one and (outputs[:1] if several else outputs) != [(-1, 1)]
    if not good or not outputs or len(names) != len(outputs) or wrong:
        expected = "[(-1, 1)] float32" if one else "at least one output, each with the batch first"
        raise BundleError(f"bundle {path} declares output shapes {outputs}", expected=expected)
    columns = tuple(scaling.column for scaling in manifest.scaling)
    if columns != tuple(spec.columns):
        raise BundleError(f"bundle {path} scales other columns than its feature spec has", do="train the bundle again")
    reference = manifest.reference
    if reference is not None and not reference.fits(spec.columns):
        raise BundleError(
            f"bundle {path} tells the spread of other columns than its feature spec has", do="train the bundle again"
        )
