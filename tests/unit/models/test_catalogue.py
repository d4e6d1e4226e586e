from __future__ import annotations

import shutil

import pytest

from engine.errors import BundleError
from engine.instruments import AssetClass
from models.bundle import load_bundle
from models.catalogue import find_bundle, list_bundles, show_bundle, verify_bundle

SHIPPED_BYTES_MAX = 2_000_000


@pytest.mark.parametrize(
    ("asset_class", "sizes", "name"),
    [
        (AssetClass.SPOT, True, "demo-crypto"),
        (AssetClass.PERPETUAL, True, "demo-crypto"),
        (AssetClass.FX, False, "demo-fx"),
        (AssetClass.CFD, False, "demo-fx"),
    ],
)
def test_auto_finds_the_shipped_bundle_for_the_instrument(make_instrument, asset_class, sizes, name, artifacts):
    """Asks the shipped folder for four kinds of instruments."""
    assert find_bundle(artifacts, make_instrument(asset_class, sizes=sizes, trades=sizes)).manifest.name == name


def test_auto_gives_every_reason_when_no_bundle_fits(make_instrument, artifacts):
    """Asks for an equity, which neither shipped bundle is declared for."""
    with pytest.raises(BundleError, match=r"demo-crypto: asset class equity.*demo-fx: asset class equity"):
        find_bundle(artifacts, make_instrument(AssetClass.EQUITY))


def test_auto_passes_over_a_damaged_bundle_and_says_why_when_it_was_the_only_one(crypto_bundle, make_instrument):
    """Damages the graph of the only bundle in the folder."""
    (crypto_bundle / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="has sha256"):
        find_bundle(crypto_bundle.parent, make_instrument())


def test_auto_names_a_folder_without_a_manifest_when_nothing_else_fits(crypto_bundle, make_instrument):
    """Takes the manifest of the only bundle away: not as if there had never been one."""
    (crypto_bundle / "manifest.json").unlink()
    with pytest.raises(BundleError, match=f"{crypto_bundle.name}: it has no file manifest.json"):
        find_bundle(crypto_bundle.parent, make_instrument())


def test_auto_prefers_the_newer_of_two_that_fit(crypto_bundle, edit_manifest, make_instrument):
    """Copies the bundle under another name with a later date."""
    newer = crypto_bundle.parent / "later"
    shutil.copytree(crypto_bundle, newer)
    edit_manifest(newer, lambda m: m.update(name="later", created_ns=m["created_ns"] + 1))
    assert find_bundle(crypto_bundle.parent, make_instrument()).manifest.name == "later"


def test_a_named_bundle_is_still_refused_for_what_it_was_not_made_for(make_instrument, artifacts):
    """Asks for the crypto bundle by name on FX."""
    with pytest.raises(BundleError, match="may not be used on"):
        find_bundle(artifacts, make_instrument(AssetClass.FX, sizes=False, trades=False), "demo-crypto")


@pytest.mark.parametrize("name", ["demo-cripto", "../artifacts/demo-crypto", ""])
def test_an_unknown_name_lists_what_there_is(make_instrument, name, artifacts):
    """Asks for a misspelt name and for a path."""
    with pytest.raises(BundleError, match="demo-crypto, demo-fx"):
        find_bundle(artifacts, make_instrument(), name)


def test_a_missing_folder_is_named(tmp_path, make_instrument):
    """Points at a folder that does not exist."""
    with pytest.raises(BundleError, match="no folder of bundles"):
        find_bundle(tmp_path / "nothing", make_instrument())


def test_list_shows_a_broken_bundle_with_its_reason(crypto_bundle):
    """Damages one bundle: a list must not stop at it."""
    (crypto_bundle / "golden.msgpack").write_bytes(b"")
    rows = list_bundles(crypto_bundle.parent)
    assert [row["name"] for row in rows] == ["demo-crypto"]
    assert "golden.msgpack has sha256" in rows[0]["state"]


@pytest.mark.parametrize("name", ["demo-crypto", "demo-fx"])
def test_a_shipped_bundle_verifies_is_small_and_reports_honest_figures(name, artifacts):
    """Runs the golden tape; the model card's figures are there with intervals, and the forecasts are not constant."""
    path = artifacts / name
    assert verify_bundle(path)["golden_predictions"] >= 20
    assert sum(file.stat().st_size for file in path.iterdir()) < SHIPPED_BYTES_MAX
    shown = show_bundle(path)
    for metric in ("log_loss", "accuracy", "mcc", "roc_auc", "log_loss_minus_best_baseline"):
        figures = shown["metrics"][metric]
        assert figures["low"] <= figures["value"] <= figures["high"]
    assert set(shown["baselines"]) == {"prior", "persistence", "logistic_regression"}
    assert shown["prediction_quantiles"]["p95"] - shown["prediction_quantiles"]["p05"] > 0.01


@pytest.mark.parametrize("name", ["demo-crypto", "demo-fx"])
def test_a_shipped_golden_tape_holds_generated_events_only(name, artifacts):
    """Recorded market data is not ours to ship: every event is of the generated instrument."""
    bundle = load_bundle(artifacts / name)
    assert {event.instrument for event in bundle.golden.events} == {"TEST/USD@golden"}
