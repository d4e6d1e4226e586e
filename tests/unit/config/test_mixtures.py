"""Mixtures of the settings: found, opened for each instrument, and what a session is refused for."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from config.assembly import ConfiguredAssembly
from config.load import load
from config.preflight import check_models
from config.schema import Settings
from engine.errors import ConfigError, KestrelError
from models.bundle import load_bundle
from models.mixture.model import MixtureModel
from models.registry.standing import scope_of
from models.registry.store import Registry
from tests.support.core import BTC, spot

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """Two bundles of the shipped weights under names of their own."""
    for name in ("first", "second"):
        place = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "bundles" / name))
        manifest = json.loads((place / "manifest.json").read_bytes())
        (place / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    return tmp_path / "bundles"


def settings_of(bundles: Path, **mixture: Any) -> Settings:
    return load(
        env={},
        overrides={
            "models.directory": bundles,
            "models.registry": bundles.parent / "registry",
            "mixtures": [{"name": "both", "members": ["first", "second"], **mixture}],
            "strategies.0.model": "both",
        },
    )


def made(settings: Settings) -> ConfiguredAssembly:
    return ConfiguredAssembly(settings, time.perf_counter_ns)


def test_a_mixture_serves_with_the_members_and_their_places_on_record(bundles: Path) -> None:
    """Assigned, checked before the session, and the very object that was checked predicts."""
    assembly = made(settings_of(bundles, weights={"first": 3, "second": 1}))
    check_models(assembly._settings, [spot()], assembly)
    assigned = assembly.assign(spot(), True)
    assert assigned.model.startswith("both@")
    versions = [load_bundle(bundles / name).version for name in ("first", "second")]
    assert [dict(assigned.facts)[f"member.{one}"] for one in versions] == [2.0, 3.0]
    model, features = assembly.model(spot(), assigned), assembly.features(spot(), assigned)
    assert isinstance(model, MixtureModel)
    assert features is not None
    golden = load_bundle(bundles / "first").golden.window
    said = model.predict(BTC, np.frombuffer(golden, "<f4").reshape(features.window().shape), 1, 1)
    assert (said.model, len(said.values), said.values[-2:]) == (assigned.model, 6, (0.75, 0.25))
    assert assembly.model(spot(), assigned) is model
    assert {one.version for one in assembly.models} == set(versions)
    assert assembly.tolerance() > 0


def test_a_name_that_is_another_version_in_the_registry_is_refused_and_a_version_serves(bundles: Path) -> None:
    """Promoted since: the mixture would go on with the old one, and nobody would see it.  A replay has what it had."""
    place = Path(shutil.copytree(bundles / "first", bundles.parent / "newer" / "first"))
    manifest = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps({**manifest, "summary": "newer"}))
    registry = Registry(bundles.parent / "registry")
    old, new = (registry.add(load_bundle(each))[0] for each in (bundles / "first", place))
    settings = settings_of(bundles)
    recorded = made(settings).assign(spot(), True)
    seen = registry.standing(scope_of(registry.manifest(new)))
    registry.change(seen, "promote", new, who="ann", why="", forced=(), now_ns=1)
    with pytest.raises(ConfigError, match=f"the member first, which is {old} in .* and {new} as champion"):
        made(settings).assign(spot(), True)
    assert made(settings).model(spot(), recorded).version == recorded.model
    for version in (old, new):
        named = settings_of(bundles, members=[version, "second"])
        assert f"member.{version}" in dict(made(named).assign(spot(), True).facts)


def test_instruments_have_weights_of_their_own_and_a_twin_too(bundles: Path) -> None:
    """What is told about one instrument must not move another; a shadow moves neither."""
    assembly = made(settings_of(bundles))
    other = msgspec.structs.replace(spot(), id="ETH/USD@coinbase")
    one, two = (assembly.model(each, assembly.assign(each, True)) for each in (spot(), other))
    twin = assembly.twin().model(spot(), assembly.assign(spot(), True))
    assert isinstance(one, MixtureModel)
    assert isinstance(two, MixtureModel)
    assert isinstance(twin, MixtureModel)
    one.weigh((1.0, 0.0))
    assert (one.weights, two.weights, twin.weights) == ((1.0, 0.0), (0.5, 0.5), (0.5, 0.5))


def test_a_version_that_other_settings_make_is_refused(bundles: Path) -> None:
    """A replay that computes again needs the weights that the session began with."""
    assigned = made(settings_of(bundles)).assign(spot(), True)
    with pytest.raises(ConfigError, match=rf"is configured; expected {assigned.model}; restore its settings"):
        made(settings_of(bundles, on_failure="fail")).model(spot(), assigned)


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ({"members": ["first", "third"]}, "no bundle 'third'"),
        ({"members": ["first"]}, "at least 2"),
        ({"weights": {"first": 1}, "weights_file": "w.json"}, "either weights or weights_file"),
        ({"name": "auto"}, "neither auto nor none"),
        ({"weights": {"first": 1}}, "mixture both has no weight for second@"),
        ({"weights_file": "none.json"}, "the weights none.json cannot be read"),
    ],
)
def test_what_makes_no_mixture_is_refused_before_the_session(bundles: Path, mixture: dict[str, Any], said: str) -> None:
    """One each; the line says which."""

    def start() -> None:
        settings = settings_of(bundles, **mixture)
        check_models(settings, [spot()], made(settings))

    with pytest.raises(KestrelError) as caught:
        start()
    assert said in str(caught.value)


def test_a_name_that_is_a_bundles_as_well_is_refused(bundles: Path) -> None:
    """Nobody could tell which one trades."""
    shutil.copytree(bundles / "first", bundles / "both")
    with pytest.raises(ConfigError, match="name the mixture otherwise"):
        check_models(settings_of(bundles), [spot()], made(settings_of(bundles)))
