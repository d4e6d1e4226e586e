"""A registry with versions of the shipped crypto bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.manifest import load_bundle
from models.registry.store import Registry

ARTIFACTS = Path(__file__).resolve().parents[4] / "models" / "artifacts"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


@pytest.fixture
def add(registry: Registry, tmp_path: Path) -> Callable[..., str]:
    """Adds a copy of the shipped bundle with a changed manifest; returns its version."""

    def make(change: Callable[[dict[str, Any]], None] = lambda _: None, *, shipped: str = "demo-crypto") -> str:
        number = len(list(tmp_path.glob("made-*")))
        folder = Path(shutil.copytree(ARTIFACTS / shipped, tmp_path / f"made-{number}" / shipped))
        manifest = json.loads((folder / "manifest.json").read_bytes())
        manifest["created_ns"] += number
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return registry.add(load_bundle(folder, now_ns=0))[0]

    return make
