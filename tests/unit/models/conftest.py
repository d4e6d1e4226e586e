"""Bundles to break: the shipped ones, copied, and the tools to change one thing and keep the rest valid."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.instruments import AssetClass, Instrument
from models.bundle import load_bundle
from models.registry.store import Registry

ARTIFACTS = Path(__file__).resolve().parents[3] / "models" / "artifacts"


@pytest.fixture
def artifacts() -> Path:
    """The folder of shipped bundles; read only."""
    return ARTIFACTS


@pytest.fixture
def crypto_bundle(tmp_path: Path) -> Path:
    """A private copy of the shipped crypto bundle."""
    return Path(shutil.copytree(ARTIFACTS / "demo-crypto", tmp_path / "bundles" / "demo-crypto"))


@pytest.fixture
def edit_manifest() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """Change a bundle's manifest and leave everything else as it is."""

    def edit(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
        manifest = json.loads((bundle / "manifest.json").read_bytes())
        change(manifest)
        (bundle / "manifest.json").write_text(json.dumps(manifest))

    return edit


@pytest.fixture
def replace_file(edit_manifest: Any) -> Callable[[Path, str, bytes], None]:
    """Replace a file and its hash in the manifest: a wrong bundle that is not a damaged one."""

    def replace(bundle: Path, name: str, content: bytes) -> None:
        (bundle / name).write_bytes(content)
        sha = hashlib.sha256(content).hexdigest()
        edit_manifest(bundle, lambda manifest: manifest["files"].__setitem__(name, sha))

    return replace


@pytest.fixture
def make_instrument() -> Callable[..., Instrument]:
    def make(asset_class: AssetClass = AssetClass.SPOT, *, sizes: bool = True, trades: bool = True) -> Instrument:
        return Instrument(
            id="BTC/USD@test",
            venue="test",
            venue_symbol="BTC-USD",
            base="BTC",
            quote="USD",
            settlement="USD",
            asset_class=asset_class,
            tick_px=Decimal("0.01"),
            lot_qty=Decimal("0.001"),
            min_qty=Decimal("0.001"),
            max_qty=Decimal(1000),
            min_notional=Decimal(1),
            maker_fee_rate=Decimal(0),
            taker_fee_rate=Decimal(0),
            has_quote_sizes=sizes,
            has_trades=trades,
        )

    return make


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
