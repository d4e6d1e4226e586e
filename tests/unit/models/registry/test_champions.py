"""Which champion an instrument gets, and what a session does without one."""

from __future__ import annotations

import time

import pytest

from engine.errors import BundleError
from engine.instruments import AssetClass
from models.catalogue import find_bundle, load_named
from models.observer.shadows import Workshop
from models.onnx_model import OnnxModel
from models.registry.champions import champions, find_champion
from models.registry.standing import scope_of


@pytest.fixture
def crown(registry):
    """Makes a version champion of its scope without looking at it."""

    def make(version: str) -> str:
        seen = registry.standing(scope_of(registry.manifest(version)))
        registry.change(seen, "promote", version, who="ann", why="", forced=(), now_ns=time.time_ns())
        return version

    return make


def test_auto_takes_the_champion_and_else_what_it_took_before(registry, add, crown, artifacts, make_instrument) -> None:
    """An older bundle than the one that ships, promoted, goes before it; an instrument that it is not for does not
    change; without a registry nothing does."""
    instrument = make_instrument()
    assert find_bundle(artifacts, instrument, registry=registry.root).path == artifacts / "demo-crypto"
    champion = crown(add(lambda m: m.update(created_ns=1)))
    assert champions(registry.root) == [champion]
    assert find_bundle(artifacts, instrument, registry=registry.root).version == champion
    assert find_bundle(artifacts, instrument).path == artifacts / "demo-crypto"
    fx = make_instrument(AssetClass.FX, sizes=False, trades=False)
    assert find_bundle(artifacts, fx, registry=registry.root).path == artifacts / "demo-fx"


def test_a_candidate_and_a_shadow_are_nobodys_champion(registry, add, make_instrument) -> None:
    version = add()
    seen = registry.standing(scope_of(registry.manifest(version)))
    registry.change(seen, "shadow", version, who="ann", why="", forced=(), now_ns=1)
    assert find_champion(registry.root, make_instrument()) is None


def test_the_narrower_champion_wins(registry, add, crown, make_instrument) -> None:
    crown(add())
    own = crown(add(lambda m: m["scope"].update(instruments=["BTC/USD@test"])))
    found = find_champion(registry.root, make_instrument())
    assert found is not None
    assert found.version == own


def test_a_champion_whose_inputs_the_feed_does_not_give_is_passed_over(registry, add, crown, make_instrument) -> None:
    crown(add())
    assert find_champion(registry.root, make_instrument(sizes=False, trades=False)) is None


@pytest.mark.fault("E2")
@pytest.mark.fault("E11")
@pytest.mark.parametrize("expired", [True, False])
def test_a_champion_that_may_not_be_used_is_an_error_and_not_passed_over(
    registry, add, crown, artifacts, make_instrument, expired
) -> None:
    """Expired or damaged: another model than the one that was chosen must not trade in its place."""
    version = crown(add(lambda m: m.update(expires_ns=1_000)) if expired else add())
    if not expired:
        (registry.path_of(version) / "golden.msgpack").unlink()
    said = f"the champion {version} .* may not be used: .*(expired|no file golden)"
    with pytest.raises(BundleError, match=said):
        find_bundle(artifacts, make_instrument(), registry=registry.root)


@pytest.mark.fault("E2")
def test_a_version_whose_manifest_was_changed_consistently_serves_nobody(
    registry, add, crown, artifacts, make_instrument, edit_manifest
) -> None:
    """Each file is as the manifest lists it; the manifest is not the one that was promoted."""
    version = crown(add())
    path = registry.path_of(version)
    (path / "manifest.json").chmod(0o644)
    edit_manifest(path, lambda manifest: manifest.update(created_ns=7))
    holds = f"{path} holds demo-crypto@.*; expected {version}"
    with pytest.raises(BundleError, match=f"the champion {version} .* may not be used: {holds}"):
        find_bundle(artifacts, make_instrument(), registry=registry.root)
    with pytest.raises(BundleError, match=holds):
        load_named(artifacts, version, registry=registry.root)
    with pytest.raises(BundleError, match=holds):
        Workshop(registry.root, None, OnnxModel).load(version)


def test_a_damaged_registry_stops_only_those_who_ask_it(registry, add, crown, artifacts, make_instrument) -> None:
    """A session that names its bundle goes on; auto hears what is wrong."""
    crown(add())
    (path,) = (registry.root / "standings").glob("*.json")
    path.write_bytes(b"{")
    assert champions(registry.root) == []
    assert find_bundle(artifacts, make_instrument(), "demo-crypto", registry=registry.root)
    with pytest.raises(BundleError, match="cannot be read"):
        find_bundle(artifacts, make_instrument(), registry=registry.root)


def test_an_exact_version_is_found_in_the_registry_and_in_the_folder(registry, add, artifacts) -> None:
    """As a session that is played again asks for it, whatever is champion by then."""
    version = add()
    assert load_named(artifacts, version, registry=registry.root).path == registry.path_of(version)
    shipped = load_named(artifacts, "demo-crypto").version
    assert load_named(artifacts, shipped, registry=registry.root).version == shipped
    with pytest.raises(BundleError, match=f"{shipped} is installed; expected demo-crypto@000000000000"):
        load_named(artifacts, "demo-crypto@000000000000", registry=registry.root)
