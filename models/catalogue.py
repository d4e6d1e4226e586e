"""Bundles in a folder: list, show, verify, and the one that fits an instrument.

The registry's champion goes before the folder.  Owns the choice only.  What makes a bundle valid is
``models.bundle``; opening it is ``models.onnx_model``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import BundleError
from engine.instruments import Instrument
from models.bundle import Bundle, load_bundle
from models.manifest import MANIFEST
from models.registry.champions import find_champion
from models.registry.store import Registry
from models.shipped import ENGINES, Name

AUTO = "auto"


def bundle_paths(directory: Path | str) -> list[Path]:
    """Folders that hold a manifest, by name; hidden ones, drafts of a killed process among them, are nobody's.  Raises
    ``BundleError`` when the directory is missing."""
    directory = Path(directory)
    if not directory.is_dir():
        raise BundleError(
            f"no folder of bundles at {directory}",
            expected="a folder with one folder per bundle",
            do="set models.directory",
        )
    return sorted(path.parent for path in directory.glob(f"[!.]*/{MANIFEST}"))


def folders_without_manifest(directory: Path | str) -> list[str]:
    """Names of folders that lie among the bundles and cannot be one; hidden ones are nobody's."""
    folders = (path for path in sorted(Path(directory).iterdir()) if path.is_dir() and path.name[0] not in "._")
    return [path.name for path in folders if not (path / MANIFEST).exists()]


def find_bundle(
    directory: Path | str,
    instrument: Instrument,
    name: str = AUTO,
    *,
    registry: Path | None = None,
    now_ns: int | None = None,
    outputs: Collection[str] = ("",),
) -> Bundle:
    """The bundle called ``name``, or with ``auto`` the one made for such an instrument.

    ``outputs``: names of those that its strategies trade on; empty: the first, which then is a direction.
    ``auto`` takes the champion of ``registry`` where it has one for the instrument; else, of ``directory``, the bundle
    whose features use more of what the feed gives, then the newer one, then the name.
    Raises ``BundleError`` with every reason when none may be used.
    """
    directory = Path(directory)
    if name != AUTO:
        bundle = load_named(directory, name, registry=registry, now_ns=now_ns)
        bundle.check_instrument(instrument, outputs)
        return bundle
    if registry is not None:
        champion = find_champion(registry, instrument, now_ns=now_ns, outputs=outputs)
        if champion is not None:
            return champion
    usable: list[Bundle] = []
    reasons: list[str] = []
    for path in bundle_paths(directory):
        try:
            bundle = load_bundle(path, now_ns=now_ns)
        except BundleError as error:
            reasons.append(f"{path.name}: {error}")
            continue
        against = bundle.reasons_against(instrument, outputs)
        if against:
            reasons.append(f"{path.name}: {', '.join(against)}")
        else:
            usable.append(bundle)
    if not usable:
        reasons += [f"{name}: it has no file {MANIFEST}" for name in folders_without_manifest(directory)]
        raise BundleError(
            f"no bundle in {directory} may be used on {instrument.id} ({' | '.join(reasons) or 'the folder is empty'})",
            do="train one for it, or choose a strategy that needs no model",
        )
    return min(usable, key=lambda b: (-len(b.spec.requires), -b.manifest.created_ns, b.manifest.name))


def load_named(directory: Path | str, name: str, *, registry: Path | None = None, now_ns: int | None = None) -> Bundle:
    """The bundle called ``name``; ``NAME@VERSION`` is exactly that one, of ``registry`` or of ``directory``.

    Raises ``BundleError`` when there is none or it may not be used at all.
    """
    directory = Path(directory)
    plain, _, sha = name.partition("@")
    if sha and registry is not None and Registry(registry).path_of(name).is_dir():
        bundle = load_bundle(Registry(registry).path_of(name), now_ns=now_ns)
        bundle.check_version(name)
        return bundle
    if not plain or Path(plain).name != plain or not (directory / plain).is_dir():
        known = ", ".join(path.name for path in bundle_paths(directory)) or "none"
        if sha and registry is not None:
            held = Registry(registry)
            own = [one for one in held.versions() if one.partition("@")[0] == plain]
            if own:
                raise BundleError(
                    f"no version {name!r} in {registry}",
                    expected=f"one of: {', '.join(own)}",
                    do="all digits are needed here",
                )
        raise BundleError(f"no bundle {name!r} in {directory}", expected=f"one of: {known}")
    bundle = load_bundle(directory / plain, now_ns=now_ns)
    if sha and bundle.version != name:
        raise BundleError(f"bundle {bundle.version} is installed", expected=name, do="restore that bundle")
    return bundle


def is_at_hand(directory: Path | str, version: str, registry: Path) -> bool:
    """Whether the registry or the folder has exactly that version; whole or not."""
    if not version:
        return False
    if Registry(registry).path_of(version).is_dir():
        return True
    return is_of_version(Path(directory) / version.partition("@")[0], version)


def is_of_version(folder: Path, version: str) -> bool:
    """Whether a folder holds the manifest of exactly that version; whole or not."""
    name, _, sha = version.partition("@")
    try:
        return bool(name) and hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:12] == sha
    except OSError:
        return False


def list_bundles(directory: Path | str, *, now_ns: int | None = None) -> list[dict[str, Any]]:
    """One row per folder: name, version, what it is for, its state (``ok`` or why it is refused)."""
    rows: list[dict[str, Any]] = []
    for path in bundle_paths(directory):
        try:
            bundle = load_bundle(path, now_ns=now_ns)
        except BundleError as error:
            rows.append({"name": path.name, "version": "", "state": str(error)})
            continue
        manifest = bundle.manifest
        rows.append(
            {
                "name": manifest.name,
                "version": bundle.version,
                "state": "ok",
                "features": bundle.spec.name,
                "sampling": str(bundle.spec.sampling),
                "asset_classes": list(manifest.scope.asset_classes),
                "inputs": sorted(manifest.scope.inputs),
                "horizon_rows": manifest.label.horizon_rows,
                "created": datetime.fromtimestamp(manifest.created_ns // 1_000_000_000, UTC).isoformat(),
            }
        )
    return rows


def show_bundle(path: Path | str, *, now_ns: int | None = None) -> dict[str, Any]:
    """The whole manifest of a verified bundle as plain values, with its ``version``."""
    bundle = load_bundle(path, now_ns=now_ns)
    content: dict[str, Any] = msgspec.to_builtins(bundle.manifest)
    return {"version": bundle.version, **content}


def verify_bundle(
    path: Path | str,
    *,
    on: Sequence[Name] = ("cpu",),
    engines: Path = ENGINES,
    build: bool = False,
    now_ns: int | None = None,
) -> dict[str, Any]:
    """Load, open and run the golden tape on each provider of ``on``.  Raises ``BundleError`` with what is wrong.

    ``build``: first build the TensorRT engine of this machine's GPU in ``engines``; that one is verified too.
    Returns ``version``, ``provider`` (the first), the number of golden predictions that were compared, and for each
    provider its device, what one prediction takes, and where ``models.schedule: auto`` would run it.
    """
    # Listing bundles needs no runtime.
    from models.providers.choice import try_provider
    from models.providers.graph import source_of
    from models.providers.order import provider_of
    from models.providers.tensorrt import TensorrtProvider
    from models.serving.schedule import decide, usable_cores
    from models.side_graphs import check_side_graphs

    bundle = load_bundle(path, now_ns=now_ns)
    wanted = list(dict.fromkeys(on))
    if build:
        TensorrtProvider(engines).build(source_of(bundle))
        wanted = list(dict.fromkeys([*wanted, "tensorrt"]))
    tried = [try_provider(bundle, provider_of(name, engines)) for name in wanted]
    check_side_graphs(bundle)
    return {
        "version": bundle.version,
        "provider": tried[0].graph.provider,
        "golden_predictions": len(bundle.golden.outputs) // bundle.manifest.output_width,
        "precision": bundle.manifest.precision,
        "providers": [
            {
                "provider": one.graph.provider,
                "device": one.graph.device,
                "prediction_us": round(one.cost_us, 1),
                "schedule": decide("auto", one.cost_us, usable_cores()).text,
            }
            for one in tried
        ],
    }
