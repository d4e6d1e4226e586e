"""Writes the files of a bundle: hashes, manifest, and the folder under its name.

Owns the order of writing.  A folder appears under its name only when it is complete and has passed every check.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import msgspec

from engine.errors import BundleError
from models.bundle import Bundle, load_bundle
from models.manifest import MANIFEST, Manifest
from models.onnx_model import OnnxModel
from models.side_graphs import check_side_graphs

CARD = "README.md"
_ROOT = Path(__file__).resolve().parents[2]
_DECIDING = (
    "engine/features",
    "models/labels",
    "models/networks",
    "models/splits",
    "models/trainer",
    "models/windows",
)


def publish(directory: Path, manifest: Manifest, contents: dict[str, bytes]) -> Bundle:
    """Write beside the final place, open with the runtime and the golden tape, then move into place.

    ``contents``: every file but the manifest, which gets their hashes here.  Raises ``BundleError``.
    """
    name = manifest.name
    files = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    manifest = msgspec.structs.replace(manifest, files=files)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=directory))
    except OSError as error:
        raise BundleError(f"cannot write to {directory}: {error.strerror}", do="choose another folder") from error
    try:
        for file, content in contents.items():
            (draft / file).write_bytes(content)
        (draft / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        made = load_bundle(draft)
        OnnxModel(made)
        check_side_graphs(made)
        draft.chmod(0o755)
        put_in_place(draft, directory / name)
    except OSError as error:
        raise BundleError(f"bundle {name} cannot be written: {error.strerror}", do="check the disk") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load_bundle(directory / name)


def put_in_place(draft: Path, final: Path) -> None:
    """A folder that is whole under its name, instead of what is there.  Raises ``OSError``."""
    old = final.with_name(f".{final.name}-old-{os.getpid()}")
    if final.exists():
        final.rename(old)
    draft.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def code_hash() -> str:
    """sha256 of all sources that decide the weights: features, rows, labels, splits, networks, trainer."""
    digest = hashlib.sha256()
    for folder in _DECIDING:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
