from __future__ import annotations

import hashlib
import pickle

import msgspec
import pytest

from engine.errors import BundleError
from engine.instruments import AssetClass
from models.bundle import load_bundle


def test_a_shipped_bundle_loads_and_its_version_names_its_manifest(crypto_bundle):
    """Loads the copy and recomputes the hash in the version from the file."""
    bundle = load_bundle(crypto_bundle)
    sha = hashlib.sha256((crypto_bundle / "manifest.json").read_bytes()).hexdigest()
    assert bundle.version == f"demo-crypto@{sha[:12]}"
    assert bundle.spec.window == 30
    assert len(bundle.spec.columns) == 40
    assert bundle.manifest.thresholds.sell < bundle.manifest.thresholds.buy
    assert bundle.manifest.return_scale_bps > 0


@pytest.mark.fault("E2")
@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "golden.msgpack", "README.md"])
def test_a_missing_file_is_refused_by_name(crypto_bundle, name):
    """Deletes each file of the bundle in turn."""
    (crypto_bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(crypto_bundle)


def test_no_bundle_at_all_says_so(tmp_path):
    """Points at an empty place."""
    with pytest.raises(BundleError, match="no bundle at"):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["model.onnx", "golden.msgpack", "README.md"])
def test_one_changed_bit_is_refused(crypto_bundle, name):
    """Flips a bit in the middle of each file."""
    content = bytearray((crypto_bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (crypto_bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} has sha256"):
        load_bundle(crypto_bundle)


@pytest.mark.fault("E3")
def test_features_with_another_fingerprint_are_refused(crypto_bundle, edit_manifest):
    """Changes the declared fingerprint, as a raised column version would change the running one."""
    edit_manifest(crypto_bundle, lambda m: m["features"].__setitem__("fingerprint", "0" * 64))
    with pytest.raises(BundleError, match="trained on features 000000000000"):
        load_bundle(crypto_bundle)


@pytest.mark.fault("E3")
def test_another_order_of_columns_is_refused(crypto_bundle, edit_manifest):
    """Swaps two columns of the spec: the shape stays right, the meaning does not."""

    def swap(manifest):
        columns = manifest["features"]["spec"]["columns"]
        columns[0], columns[1] = columns[1], columns[0]

    edit_manifest(crypto_bundle, swap)
    with pytest.raises(BundleError, match="trained on features"):
        load_bundle(crypto_bundle)


def test_a_column_this_engine_does_not_have_is_named(crypto_bundle, edit_manifest):
    """Renames a column to one that is not registered."""
    edit_manifest(crypto_bundle, lambda m: m["features"]["spec"]["columns"].__setitem__(0, "sma_21"))
    with pytest.raises(BundleError, match="sma_21"):
        load_bundle(crypto_bundle)


@pytest.mark.fault("E11")
def test_an_expired_bundle_is_refused_at_its_time_and_not_before(crypto_bundle, edit_manifest):
    """Sets an expiry and loads one nanosecond before it and at it."""
    edit_manifest(crypto_bundle, lambda m: m.__setitem__("expires_ns", 1_000))
    assert load_bundle(crypto_bundle, now_ns=999)
    with pytest.raises(BundleError, match="expired"):
        load_bundle(crypto_bundle, now_ns=1_000)


@pytest.mark.fault("E14")
def test_a_pickled_file_is_refused_even_when_it_is_listed(crypto_bundle, edit_manifest):
    """Adds a pickle that would run code when loaded, with its correct hash in the manifest."""

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    content = pickle.dumps(Trap())
    (crypto_bundle / "weights.pkl").write_bytes(content)
    edit_manifest(crypto_bundle, lambda m: m["files"].__setitem__("weights.pkl", hashlib.sha256(content).hexdigest()))
    with pytest.raises(BundleError, match=r"weights\.pkl"):
        load_bundle(crypto_bundle)


@pytest.mark.fault("E14")
def test_a_pickle_in_place_of_the_golden_tape_is_refused(crypto_bundle, replace_file):
    """Gives the tape pickled content and the right hash."""
    replace_file(crypto_bundle, "golden.msgpack", pickle.dumps({"events": []}))
    with pytest.raises(BundleError, match="no golden tape"):
        load_bundle(crypto_bundle)


def test_a_file_the_manifest_does_not_list_is_refused(crypto_bundle):
    """Drops a stray file into the folder."""
    (crypto_bundle / "model.onnx.data").write_bytes(b"weights from elsewhere")
    with pytest.raises(BundleError, match=r"model\.onnx\.data"):
        load_bundle(crypto_bundle)


def test_a_file_outside_the_folder_is_refused(crypto_bundle, edit_manifest):
    """Lists a path that climbs out of the bundle."""
    edit_manifest(crypto_bundle, lambda m: m["files"].__setitem__("../outside.json", "0" * 64))
    with pytest.raises(BundleError, match="outside"):
        load_bundle(crypto_bundle)


def test_a_link_is_no_file_of_a_bundle(crypto_bundle, tmp_path):
    """Replaces the graph by a link to the same bytes elsewhere: they could change after the check."""
    target = tmp_path / "elsewhere.onnx"
    (crypto_bundle / "model.onnx").rename(target)
    (crypto_bundle / "model.onnx").symlink_to(target)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        load_bundle(crypto_bundle)


def test_declared_inputs_must_be_those_the_features_need(crypto_bundle, edit_manifest):
    """Declares less than the features need: such a bundle would be accepted for a feed that cannot serve it."""
    edit_manifest(crypto_bundle, lambda m: m["scope"].__setitem__("inputs", ["quotes"]))
    with pytest.raises(BundleError, match="declares the inputs"):
        load_bundle(crypto_bundle)


def test_an_instrument_is_refused_with_every_reason(crypto_bundle, make_instrument):
    """Asks for an FX instrument whose feed has neither sizes nor trades."""
    bundle = load_bundle(crypto_bundle)
    bundle.check_instrument(make_instrument())
    with pytest.raises(BundleError, match=r"asset class fx .* no quote sizes; .* no trades"):
        bundle.check_instrument(make_instrument(AssetClass.FX, sizes=False, trades=False))


@pytest.mark.parametrize(
    ("calendars", "own", "said"),
    [
        (("XNYS",), "XNYS", []),
        (("XNYS",), None, ["its trading calendar none is not one of XNYS"]),
        (("", "FX"), "XNYS", ["its trading calendar XNYS is not one of none, FX"]),
        (("", "FX"), None, []),
    ],
)
def test_hours_that_the_model_has_not_seen_are_refused(crypto_bundle, make_instrument, calendars, own, said):
    """Features that read trading hours: the instrument's calendar must be one that was trained on."""
    bundle = load_bundle(crypto_bundle)
    inputs = (*bundle.manifest.scope.inputs, "sessions")
    scope = msgspec.structs.replace(bundle.manifest.scope, inputs=inputs, session_calendars=calendars)
    bundle.manifest = msgspec.structs.replace(bundle.manifest, scope=scope)
    assert bundle.reasons_against(msgspec.structs.replace(make_instrument(), session_calendar=own)) == said


def test_a_feed_without_levels_is_refused_where_features_read_them(crypto_bundle, make_instrument):
    """Depth among the inputs."""
    bundle = load_bundle(crypto_bundle)
    scope = msgspec.structs.replace(bundle.manifest.scope, inputs=(*bundle.manifest.scope.inputs, "depth"))
    bundle.manifest = msgspec.structs.replace(bundle.manifest, scope=scope)
    assert bundle.reasons_against(make_instrument()) == ["its feed has no book levels"]
    assert bundle.reasons_against(msgspec.structs.replace(make_instrument(), has_depth=True)) == []


def test_the_instrument_whose_price_the_columns_read_is_refused(crypto_bundle, make_instrument):
    """Its own price as another's: the choice passes over such a bundle, and a session never asks for it."""
    bundle = load_bundle(crypto_bundle)
    bundle.spec = msgspec.structs.replace(bundle.spec, columns=(*bundle.spec.columns, "basis_bps(BTC/USD@test)"))
    assert bundle.reasons_against(make_instrument()) == [
        "its columns read the price of that very instrument as another's"
    ]
    assert bundle.reasons_against(msgspec.structs.replace(make_instrument(), id="BTC/USD@other")) == []


def test_venue_and_instrument_limits_hold(crypto_bundle, edit_manifest, make_instrument):
    """Narrows the scope to other venues and instruments and reads both reasons."""
    edit_manifest(crypto_bundle, lambda m: m["scope"].update(venues=["coinbase"], instruments=["BTC/USD@coinbase"]))
    reasons = load_bundle(crypto_bundle).reasons_against(make_instrument())
    assert len(reasons) == 2
    assert "venue test" in reasons[0]
    assert "BTC/USD@coinbase" in reasons[1]
