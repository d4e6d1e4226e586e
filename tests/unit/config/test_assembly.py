"""Which bundle and which features serve an instrument: the shipped bundles on real definitions."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from config.assembly import ConfiguredAssembly
from config.load import load
from engine.errors import BundleError, ConfigError
from engine.features import FeatureSpec, Sampling
from engine.features.sets import SETS
from engine.ports import Assignment
from models.bundle import load_bundle
from models.onnx_model import OnnxModel
from models.registry.standing import scope_of
from models.registry.store import Registry
from tests.support.core import BTC, spot
from tests.support.daemon import NO_CHAMPIONS

ROOT = Path(__file__).resolve().parents[3]


def assembly(**overrides: Any) -> ConfiguredAssembly:
    settings = load(env=NO_CHAMPIONS, overrides={key.replace("__", "."): value for key, value in overrides.items()})
    return ConfiguredAssembly(settings, time.perf_counter_ns)


def test_the_model_brings_its_own_features_and_facts() -> None:
    """The demo bundle on a crypto pair: its spec, its thresholds, a session that predicts with them."""
    made = assembly()
    assigned = made.assign(spot(), True)
    assert assigned.model.startswith("demo-crypto@")
    facts = dict(assigned.facts)
    assert facts["buy"] > facts["sell"]
    assert facts["horizon_rows"] >= 1
    features = made.features(spot(), assigned)
    model = made.model(spot(), assigned)
    assert features is not None
    assert model is not None
    assert model.version == assigned.model
    prediction = model.predict(BTC, features.window(), 1, 1)
    assert prediction.model == assigned.model
    assert made.model(spot(), assigned) is model
    assert made.tolerance() > 0


def test_a_twin_shares_weights_and_not_counters() -> None:
    """Another model object of the same version; the original's is untouched."""
    made = assembly()
    assigned = made.assign(spot(), True)
    model = made.model(spot(), assigned)
    twin = made.twin().model(spot(), assigned)
    assert twin is not model
    assert twin is not None
    assert twin.version == assigned.model
    assert len(made.models) == 1


def test_a_bundle_that_is_no_more_what_was_assigned_is_refused() -> None:
    """The version recorded in a session is another one than that on disk."""
    other = Assignment("demo-crypto@000000000000", assembly().assign(spot(), True).spec, ())
    with pytest.raises(BundleError, match=r"is installed; expected demo-crypto@000000000000; restore that bundle"):
        assembly().model(spot(), other)


def crown(root: Path, folder: Path, summary: str) -> str:
    """A copy of the crypto bundle with another summary, as champion; its version."""
    place = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", folder / "demo-crypto"))
    manifest = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps({**manifest, "summary": summary}))
    registry = Registry(root)
    version, _ = registry.add(load_bundle(place))
    seen = registry.standing(scope_of(registry.manifest(version)))
    registry.change(seen, "promote", version, who="ann", why="", forced=(), now_ns=1)
    return version


def test_the_champion_serves_and_a_session_that_is_run_again_has_the_one_it_had(tmp_path: Path) -> None:
    """Two champions, one after the other: a start takes the newer one, a replay what its journal says, which may be a
    bundle of the folder that served before there was a champion.  A version that neither has is chosen as at a start,
    so that the replay shows what differs."""
    root = tmp_path / "registry"
    shipped = assembly().assign(spot(), True).model
    first, second = (crown(root, tmp_path / name, name) for name in ("first", "second"))
    assert assembly(models__registry=str(root)).assign(spot(), True).model == second
    settings = load(env=NO_CHAMPIONS, overrides={"models.registry": str(root)})
    served_by = ((first, first), (second, second), (shipped, shipped))
    for recorded, served in (*served_by, ("demo-crypto@000000000000", second), ("", second)):
        again = ConfiguredAssembly(
            settings, time.perf_counter_ns, recorded=lambda version=recorded: Assignment(version)
        )
        assigned = again.assign(spot(), True)
        assert assigned.model == served
        model = again.model(spot(), assigned)
        assert model is not None
        assert model.version == served


def test_without_a_model_the_configured_features_serve() -> None:
    """The set that fits, the set for quotes alone, columns of one's own, and time bars with their history."""
    assert names(assembly().assign(spot(), False)).name.startswith("core40")
    quotes_only = spot(has_trades=False, has_quote_sizes=False)
    assert names(assembly().assign(quotes_only, False)).name.startswith("quote40")
    own = assembly(features__columns=["ret_1", "sma_20"], features__window=7)
    spec = names(own.assign(spot(), False))
    assert (spec.columns, spec.window, own.model(spot(), Assignment())) == (("ret_1", "sma_20"), 7, None)
    short = assembly(features__sampling={"kind": "time_bar", "every": "100ms"})
    assert names(short.assign(spot(), False)).sampling.lateness_ns == 100_000_000
    none = assembly(features__sampling={"kind": "time_bar", "every": "1m", "lateness_ms": 0})
    assert names(none.assign(spot(), False)).sampling.lateness_ns == 0
    bars = assembly(features__sampling={"kind": "time_bar", "every": "1m"})
    assert bars.history(BTC) == (0, 0)
    assigned = bars.assign(spot(), False)
    bars.features(spot(), assigned)
    assert bars.history(BTC) == (60 * 10**9, names(assigned).rows_to_warm)
    assert names(assigned).sampling.lateness_ns == 250_000_000
    assert bars.features(spot(), Assignment()) is None


def test_any_set_and_sampling_may_be_asked_for_by_name() -> None:
    """A set by its name, sets among columns, bars of trades, a bound of holes; what the instrument counts as volume."""
    spec = names(assembly(features__set="technical40", features__window=5).assign(spot(), False))
    assert (spec.name, spec.columns, spec.window, spec.volume) == ("technical40", SETS["technical40"], 5, "trades")
    quotes_only = spot(has_trades=False, has_quote_sizes=False)
    assert names(assembly(features__set="technical40").assign(quotes_only, False)).volume == "ticks"
    assert names(assembly(features__set="quote40").assign(spot(), False)).volume == "ticks"
    mixed = assembly(features__columns=["rv_5", "hybrid11", "rsi_14"])
    assert names(mixed.assign(spot(), False)).columns == ("rv_5", *SETS["hybrid11"])
    for asked, made in (
        ({"kind": "volume_bar", "size": 2.5}, Sampling.volume_bar(2.5)),
        ({"kind": "dollar_bar", "size": 1e6}, Sampling.dollar_bar(1e6)),
        ({"kind": "imbalance_bar", "every": 50, "span": 10}, Sampling.imbalance_bar(50, 10)),
        ({"kind": "tick_bar", "every": 7, "price": "trade"}, Sampling.tick_bar(7, "trade")),
        ({"kind": "time_bar", "every": "5m", "price": "trade"}, Sampling.time_bar(300 * 10**9, 250_000_000, "trade")),
    ):
        spec = names(assembly(features__set="technical40", features__sampling=asked).assign(spot(), False))
        assert (spec.sampling, spec.gap.hole_ns_max) == (made, 0)
    holes = assembly(features__sampling={"kind": "time_bar", "every": "1h", "hole": "96h"})
    assert names(holes.assign(spot(), False)).gap.hole_ns_max == 96 * 3600 * 10**9


def test_features_that_make_no_spec_are_one_error_of_the_configuration() -> None:
    """Rows of trade prices where the volume would be a count of quotes."""
    asked = assembly(features__set="quote40", features__sampling={"kind": "volume_bar", "size": 1})
    with pytest.raises(ConfigError, match=r"features: .*counts quotes as volume in rows of trade prices"):
        asked.assign(spot(), False)


def names(assigned: Assignment) -> FeatureSpec:
    return FeatureSpec.from_json(assigned.spec)


def test_two_models_on_one_instrument_are_a_mistake() -> None:
    """Two strategies that ask for different bundles on the same pair; on different pairs it is fine."""
    kinds = [
        {"name": "a", "kind": "threshold", "model": "demo-crypto"},
        {"name": "b", "kind": "threshold", "model": "demo-fx", "instruments": [BTC]},
    ]
    with pytest.raises(ConfigError, match="ask for the models demo-crypto, demo-fx; expected one model an instrument"):
        assembly(strategies=kinds).assign(spot(), True)
    kinds[1]["instruments"] = ["ETH/USD@coinbase"]
    assert assembly(strategies=kinds).assign(spot(), True).model.startswith("demo-crypto@")


def test_no_bundle_for_an_instrument_says_why(tmp_path: Path) -> None:
    """An empty folder of bundles."""
    with pytest.raises(BundleError):
        assembly(models__directory=tmp_path).assign(spot(), True)


def test_an_instrument_that_takes_the_champion_is_followed_and_one_that_names_a_version_is_not() -> None:
    """``auto`` follows; a bundle's name and NAME@VERSION stay."""
    version = load_bundle(ROOT / "models" / "artifacts" / "demo-crypto").version
    for name, followed in (("auto", [spot().id]), ("demo-crypto", []), (version, [])):
        made = assembly(strategies=[{"name": "mine", "kind": "threshold", "model": name}])
        assert made.following() == []
        assigned = made.assign(spot(), True)
        assert [one.instrument.id for one in made.following()] == followed
        assert all(one.version == assigned.model for one in made.following())


def test_a_model_that_was_opened_beforehand_is_at_hand_and_others_are_let_go() -> None:
    made = assembly()
    assigned = made.assign(spot(), True)
    other = load_bundle(ROOT / "models" / "artifacts" / "demo-fx")
    offered = made.open(other)
    assert offered.model == other.version
    assert offered.spec == other.spec.to_json().decode()
    model = made.model(spot(), offered)
    assert model is not None
    assert made.open(other) == offered
    assert made.model(spot(), offered) is model
    twin = made.twin()
    assert twin.model(spot(), offered) is not None
    made.keep({other.version})
    assert made.is_open(other.version)
    assert not made.is_open(assigned.model)
    assert [one.version for one in twin.models] == [other.version]


def test_what_is_opened_beforehand_is_open_for_the_shadow_too_and_half_open_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A provider that compiles for each set of buffers would have the loop wait: ``model`` makes nothing any more."""
    made = assembly()
    twin = made.twin()
    offered = made.open(load_bundle(ROOT / "models" / "artifacts" / "demo-fx"))
    late = made.twin()
    assert made.open(load_bundle(ROOT / "models" / "artifacts" / "demo-fx")) == offered
    with monkeypatch.context() as patch:
        patch.delattr(OnnxModel, "_bind")
        assert twin.model(spot(), offered) is twin.models[0]
        assert late.model(spot(), offered) is late.models[0]

    def fails(model: OnnxModel) -> OnnxModel:
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(OnnxModel, "twin", fails)
    other = load_bundle(ROOT / "models" / "artifacts" / "demo-crypto")
    with pytest.raises(BundleError, match="out of memory"):
        made.open(other)
    assert not made.is_open(other.version)


@pytest.mark.fault("E2")
def test_a_bundle_with_a_number_that_is_none_is_refused_in_one_line_and_leaves_nothing_open(tmp_path: Path) -> None:
    """At a start, and beside a session that runs: a level of a conformal set that is a word."""
    place = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "demo-crypto"))
    manifest = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps({**manifest, "conformal": {"ninety": 0.1}}))
    bundle = load_bundle(place)
    started = assembly(models__directory=str(tmp_path))
    said = f"bundle {bundle.version} cannot be used: ValueError: could not convert string to float: 'ninety'"
    with pytest.raises(BundleError, match=said):
        started.assign(spot(), True)
    running = assembly()
    for _ in range(2):
        with pytest.raises(BundleError, match=said):
            running.open(bundle)
        assert not running.is_open(bundle.version)
        assert running.models == []
