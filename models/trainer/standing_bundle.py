"""The bundle that a run has already, and one that was made of it again: the same version, or another one.

Owns what may stand in whose place in a run's folder: a version is what sessions and registries know a model by, so that
none takes another's place unasked.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import BundleError
from models.bundle import Bundle, load_bundle
from models.manifest import Manifest
from models.trainer.publish import CARD, put_in_place
from models.trainer.training_folder import held

_DATED: Final = ("created_ns", "expires_ns")
_CAUSES: Final = ("training", "run", "evaluation", "converted")
"""What a bundle is made from; all else follows."""
_TOLD: Final = ("training", "run", "files")
"""Sections that are told key by key."""


@contextlib.contextmanager
def draft_in(folder: Path, name: str) -> Iterator[Path]:
    """A folder in the run's own to make the bundle ``name`` in; it goes in the end, and what a killed process left of
    such goes before.  Raises ``ConfigError`` where another process is at work there, ``DataError`` or ``BundleError``
    where nothing can be written."""
    with held(folder):
        for left in folder.glob(f".{name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        except OSError as error:
            raise BundleError(f"cannot write to {folder}: {error.strerror}", do="make room, or write there") from None
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def settled(made: Bundle, place: Path, *, replace: bool) -> Bundle:
    """The bundle of that name in ``place``: ``made``, or the one that is there where it was made of the same.

    Raises ``BundleError`` where one is there that was made of something else, or cannot be loaded; with ``replace`` it
    goes.
    """
    final = place / made.manifest.name
    if final.exists() and not replace:
        return _standing(final, made)
    try:
        place.mkdir(exist_ok=True)
        put_in_place(made.path, final)
    except OSError as error:
        raise BundleError(f"{final} cannot be written: {error.strerror}", do="check the disk") from None
    return load_bundle(final)


def _standing(final: Path, made: Bundle) -> Bundle:
    """The one that is there.  Raises ``BundleError``."""
    try:
        there = load_bundle(final)
    except BundleError as error:
        raise BundleError(
            f"there is a bundle of this run already, and {error.seen}",
            expected=error.expected,
            do="bring it back, or have another one made in its place with --replace",
        ) from None
    other = differences(there.manifest, made.manifest)
    if other:
        evaluated = "models add takes the evaluation with it; " if other == ["evaluation"] else ""
        raise BundleError(
            f"there is the bundle {there.version} of this run already, and this one differs in {', '.join(other)}",
            expected="the same: nothing is overwritten",
            do=f"{evaluated}keep it, or have this one take its place with --replace",
        )
    return there


def differences(one: Manifest, other: Manifest) -> list[str]:
    """What the manifests of two bundles of a run differ in but for their dates: what they were made of where that is
    it, else all of it."""
    left, right = (_undated(manifest) for manifest in (one, other))
    found = {key: _told(key, left[key], right[key]) for key in left if left[key] != right[key]}
    causes = [name for key in _CAUSES for name in found.get(key, ())]
    return causes or [name for names in found.values() for name in names]


def _told(key: str, one: Any, other: Any) -> list[str]:
    if key not in _TOLD or one is None or other is None:
        return [key]
    return sorted(f"{key}.{name}" for name in {**one, **other} if one.get(name) != other.get(name))


def _undated(manifest: Manifest) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    files = {name: sha for name, sha in manifest.files.items() if name != CARD}
    return {key: value for key, value in plain.items() if key not in _DATED} | {"files": files}
