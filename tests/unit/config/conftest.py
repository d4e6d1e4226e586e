"""Bundles for sessions of the settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """Two bundles of the shipped weights under names of their own."""
    for name in ("first", "second"):
        place = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "bundles" / name))
        manifest = json.loads((place / "manifest.json").read_bytes())
        (place / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    return tmp_path / "bundles"
