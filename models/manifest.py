"""What a model bundle is on disk, and the only way to load one.

A bundle is a folder: ``model.onnx`` (raw features in), ``manifest.json`` (this module's ``Manifest``),
``golden.msgpack`` (``models.golden``) and a model card.  Owns the format and every check that needs no inference;
whether the graph really computes what it should is checked by ``models.onnx_model`` when it opens it.

Nothing pickled is ever loaded: the formats read here can hold data only.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.errors import BundleError, KestrelError
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.golden import GoldenTape, decode_golden

SCHEMA = 1
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
GOLDEN = "golden.msgpack"
_SUFFIXES = frozenset({".onnx", ".json", ".msgpack", ".md"})
_ANY = "*"


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all parts of a manifest: a key nobody knows is an error, never ignored."""


class Tensor(_Section, frozen=True):
    """``shape`` has -1 where the batch goes."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32"]


class Features(_Section, frozen=True):
    """``spec`` is the ``FeatureSpec`` as JSON; ``fingerprint`` that of the features the model was trained on."""

    fingerprint: str
    spec: dict[str, Any]


class Label(_Section, frozen=True):
    """What was learned: ``horizon_rows`` is in rows of the feature spec."""

    kind: Literal["direction"]
    horizon_rows: int
    text: str


class Thresholds(_Section, frozen=True):
    """Suggested entries on the first output: buy at or above, sell at or below; quantiles of the validation rows."""

    buy: float
    sell: float


class Calibration(_Section, frozen=True):
    """Already inside the graph; recorded for the reader."""

    method: Literal["temperature"]
    temperature: float


class Scope(_Section, frozen=True):
    """What the model may be used on.  ``*`` means any; ``inputs`` are those its features need.

    ``session_calendars``: those of the training instruments, where features read trading hours; empty for a market that
    never closes.
    """

    asset_classes: tuple[str, ...]
    inputs: tuple[str, ...]
    venues: tuple[str, ...] = (_ANY,)
    instruments: tuple[str, ...] = (_ANY,)
    session_calendars: tuple[str, ...] = ()


class Scaling(_Section, frozen=True):
    """How the graph scales one column.

    Under ``scale_free`` the ``kind`` is one of ``models.networks.served``; mean and std are of the z-score after it.
    Else ``kind`` is the normaliser's, ``mean`` what it subtracts (minimum, mean, median) and ``std`` what it divides
    by (range, deviation, distance of the quartiles); a ``std`` of 0: constant in training, always 0 to the network.
    """

    column: str
    kind: str
    mean: float
    std: float


class FittedOn(_Section, frozen=True):
    """The rows of the training part that statistics are of.  ``rows_left_out``: a column of theirs was not finite.

    ``first`` and ``last``: receive time, ISO 8601 UTC.
    """

    rows: int
    rows_left_out: int
    first: str
    last: str


class Normalisation(_Section, frozen=True):
    """What stands in front of the network.  ``limits``: where its values are cut; ``fitted_on``: None, nothing was."""

    kind: Literal["scale_free", "min_max", "z_score", "robust", "per_window", "none"]
    limits: tuple[float, float] | None
    fitted_on: FittedOn | None


class Metric(_Section, frozen=True):
    """A figure with its 95 % interval (block bootstrap over time); no interval where none was computed."""

    value: float
    low: float | None = None
    high: float | None = None


class DataFile(_Section, frozen=True):
    name: str
    sha256: str


class Training(_Section, frozen=True):
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


class Tolerance(_Section, frozen=True):
    """How far the golden tape may be off: features relative, outputs absolute."""

    features_rel: float
    outputs_abs: float


class Manifest(_Section, frozen=True):
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
    """Mean absolute move of the mid over the horizon, training rows: ``(2 p - 1)`` times this is the expected move."""
    thresholds: Thresholds
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


class Bundle:
    """A verified bundle in memory.  What was hashed is what will be served: files are read once."""

    def __init__(
        self, path: Path, manifest: Manifest, spec: FeatureSpec, *, graph: bytes, golden: GoldenTape, sha: str
    ):
        self.path = path
        self.manifest = manifest
        self.spec = spec
        self.graph = graph
        self.golden = golden
        self.version = f"{manifest.name}@{sha[:12]}"

    def reasons_against(self, instrument: Instrument) -> list[str]:
        """Why this bundle may not be used on the instrument; empty when it may."""
        scope = self.manifest.scope
        reasons = []
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

    def check_instrument(self, instrument: Instrument) -> None:
        """Raises ``BundleError`` when the bundle is not declared for the instrument."""
        reasons = self.reasons_against(instrument)
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
    manifest = _decode_manifest(path, raw)
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
    return Bundle(path, manifest, spec, graph=contents[GRAPH], golden=golden, sha=hashlib.sha256(raw).hexdigest())


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


def _decode_manifest(path: Path, raw: bytes) -> Manifest:
    try:
        schema = msgspec.json.decode(raw, type=_SchemaOnly).schema
        if schema != SCHEMA:
            raise BundleError(
                f"{path / MANIFEST} has schema {schema}", expected=f"schema {SCHEMA}", do="train the bundle again"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(
            f"{path / MANIFEST} is not valid: {error}", expected=f"a manifest of schema {SCHEMA}", do="train it again"
        ) from error
    return manifest


class _SchemaOnly(msgspec.Struct):
    schema: int


def _verified_files(path: Path, manifest: Manifest) -> dict[str, bytes]:
    listed = set(manifest.files)
    missing = {GRAPH, GOLDEN} - listed
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
    if len(manifest.inputs) != 1 or manifest.inputs[0].shape != wanted:
        shapes = [tensor.shape for tensor in manifest.inputs]
        raise BundleError(f"bundle {path} declares input shapes {shapes}", expected=f"[{wanted}] float32")
    if len(manifest.outputs) != 1 or manifest.outputs[0].shape != (-1, 1):
        shapes = [tensor.shape for tensor in manifest.outputs]
        raise BundleError(f"bundle {path} declares output shapes {shapes}", expected="[(-1, 1)] float32")
    columns = tuple(scaling.column for scaling in manifest.scaling)
    if columns != tuple(spec.columns):
        raise BundleError(f"bundle {path} scales other columns than its feature spec has", do="train the bundle again")
