"""Mixtures of the settings: found, opened for each instrument, and what a session is refused for."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from config.following import tell_schedules
from config.preflight import check_models
from engine.errors import ConfigError, KestrelError
from models.bundle import load_bundle
from models.mixture.model import MixtureModel
from models.serving.worker import Worker
from tests.support.core import BTC, spot
from tests.support.mixtures import another, changed, made, settings_of


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


@pytest.mark.parametrize(("deadline_us", "level"), [(1, "error"), (1_000_000, "info")])
def test_where_a_mixture_runs_and_how_long_it_takes_is_told_at_the_start(
    bundles: Path, deadline_us: int, level: str
) -> None:
    """All of it is in the loop, whatever it takes: nothing had said so, nor that it is too slow to be ever in time."""
    assembly = made(settings_of(bundles, deadline_us))
    assembly.use(Worker())
    assigned = assembly.assign(spot(), True)
    model = assembly.model(spot(), assigned)
    said: list[tuple[str, dict[str, Any]]] = []
    log = SimpleNamespace(
        info=lambda _, **about: said.append(("info", about)), error=lambda _, **about: said.append(("error", about))
    )
    tell_schedules(assembly, deadline_us, log)
    ((told, about),) = said
    assert (told, about["model"]) == (level, assigned.model)
    assert about["where"].startswith("inline: a mixture; its members take ")
    assembly.twin().model(spot(), assigned)
    assembly.model(msgspec.structs.replace(spot(), id="ETH/USD@coinbase"), assigned)
    assert len(said) == 1
    assert isinstance(model, MixtureModel)
    assert model.count == 0


def test_a_name_is_what_the_registry_has_promoted_and_a_version_stays(bundles: Path) -> None:
    """A session that is run again has what it had."""
    settings = settings_of(bundles)
    old = load_bundle(bundles / "first").version
    recorded = made(settings).assign(spot(), True)
    new = another(bundles, "first", "newer")
    changed(bundles, "promote", new)
    assert f"member.{new}" in dict(made(settings).assign(spot(), True).facts)
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


def test_weights_that_nobody_would_follow_are_refused_before_the_session(bundles: Path) -> None:
    """They would stay what is declared, in silence."""
    settings = settings_of(bundles, weighing="recent")
    check_models(settings, [spot()], made(settings))
    watch = settings.models.watch.model_copy(update={"enabled": False})
    unwatched = settings.model_copy(update={"models": settings.models.model_copy(update={"watch": watch})})
    with pytest.raises(ConfigError, match=r"mixture both has weighing: recent, and models\.watch\.enabled is false"):
        check_models(unwatched, [spot()], made(unwatched))


def test_a_name_that_is_a_bundles_as_well_is_refused(bundles: Path) -> None:
    """Nobody could tell which one trades."""
    shutil.copytree(bundles / "first", bundles / "both")
    with pytest.raises(ConfigError, match="name the mixture otherwise"):
        check_models(settings_of(bundles), [spot()], made(settings_of(bundles)))
