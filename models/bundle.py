"""A model bundle, and the only way to load one.

A bundle is a folder: ``model.onnx`` (raw features in), ``manifest.json`` (``models.manifest``), ``golden.msgpack``
(``models.golden``) and a model card.  Owns every check that needs no inference; whether the graph really computes what
it should is checked by ``models.onnx_model`` when it opens it.

Nothing pickled is ever loaded: the formats read here can hold data only.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from pathlib import Path

import msgspec

from engine.errors import BundleError, KestrelError
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.assets import ASSETS, AssetIds
from models.golden import GoldenTape, decode_golden
from models.manifest import ANY, ASSET, FEATURES, GOLDEN, GRAPH, MANIFEST, Manifest, decode_manifest
from models.manifest_sections import DIRECTION

_SUFFIXES = frozenset({".onnx", ".json", ".msgpack", ".md"})


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
        if ANY not in scope.asset_classes and instrument.asset_class not in scope.asset_classes:
            reasons.append(f"asset class {instrument.asset_class} is not one of {', '.join(scope.asset_classes)}")
        if ANY not in scope.venues and instrument.venue not in scope.venues:
            reasons.append(f"venue {instrument.venue} is not one of {', '.join(scope.venues)}")
        if ANY not in scope.instruments and instrument.id not in scope.instruments:
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
        at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(manifest.expires_ns // 1_000_000_000))
        raise BundleError(f"bundle {path} has expired ({at} UTC)", do=f"train it again: {manifest.training.command}")
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
