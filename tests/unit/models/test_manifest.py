from __future__ import annotations

import pytest

from engine.errors import BundleError
from models.bundle import load_bundle


def test_a_truncated_manifest_is_refused(crypto_bundle):
    """Cuts the JSON in half."""
    path = crypto_bundle / "manifest.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BundleError, match="is not valid"):
        load_bundle(crypto_bundle)


def test_an_unknown_key_is_refused(crypto_bundle, edit_manifest):
    """Adds a key deep inside: a setting that nobody reads must not look as if it worked."""
    edit_manifest(crypto_bundle, lambda m: m["label"].__setitem__("horizon_bars", 5))
    with pytest.raises(BundleError, match="horizon_bars"):
        load_bundle(crypto_bundle)


def test_another_schema_is_refused_before_its_keys_are_judged(crypto_bundle, edit_manifest):
    """Claims schema 3 and adds keys that only schema 3 would have."""
    edit_manifest(crypto_bundle, lambda m: m.update(schema=3, new_key=1))
    with pytest.raises(BundleError, match="schema 3; expected schema 1 or 2"):
        load_bundle(crypto_bundle)


TASK = {
    "name": "direction",
    "head": "binary",
    "forecasts": [
        {
            "name": "p_up",
            "form": "probability",
            "text": "up",
            "horizon_rows": 50,
            "label_kind": "direction",
            "label_fingerprint": "",
        }
    ],
}
ASSET = {"name": "asset", "shape": [-1], "dtype": "int64"}
SIDE = {"graph": {"file": "explain.onnx", "inputs": [], "outputs": []}, "method": "deviation over 3 seeds"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(schema=1, task=TASK), "of schema 1 has parts of schema 2"),
        (lambda m: m["label"].update(kind="return"), "of schema 1 has the label return"),
        (lambda m: m.update(schema=2), "of schema 2 does not say its task"),
        (lambda m: m.update(schema=2, task={**TASK, "forecasts": []}), "outputs are others than its graph has"),
        (lambda m: m.update(schema=2, task=TASK, thresholds=None), "of schema 2 has no thresholds"),
        (lambda m: m.update(schema=2, task={**TASK, "canary": 1}), "canary"),
        (lambda m: m["inputs"].append(ASSET), r"lists no assets\.json"),
        (lambda m: m.update(schema=2, task=TASK, inputs=[*m["inputs"], ASSET]), r"lists no assets\.json"),
        (lambda m: m.update(schema=2, task=TASK, explanation=SIDE), r"lists no explain\.onnx"),
    ],
)
def test_a_manifest_that_contradicts_its_schema_is_refused(crypto_bundle, edit_manifest, change, said):
    """What came with schema 2 is not in schema 1, and is whole where it is."""
    edit_manifest(crypto_bundle, change)
    with pytest.raises(BundleError, match=said) as caught:
        load_bundle(crypto_bundle)
    assert "\n" not in str(caught.value)


def test_the_same_bundle_in_schema_2_loads_and_may_be_used(crypto_bundle, edit_manifest, make_instrument):
    edit_manifest(crypto_bundle, lambda m: m.update(schema=2, task=TASK))
    bundle = load_bundle(crypto_bundle)
    assert bundle.reasons_against(make_instrument()) == []
    assert bundle.assets is None
    assert bundle.manifest.output_width == 1


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("inputs", [{"name": "features", "shape": [-1, 29, 40], "dtype": "float32"}], "input shapes"),
        ("inputs", [{"name": "features", "shape": [-1, 30, 40], "dtype": "float64"}], "float64"),
        ("inputs", [], "input shapes"),
        ("outputs", [{"name": "p_up", "shape": [-1, 3], "dtype": "float32"}], "output shapes"),
    ],
)
def test_shapes_and_types_other_than_the_features_give_are_refused(crypto_bundle, edit_manifest, key, value, said):
    """Declares tensors that do not fit window, columns or type."""
    edit_manifest(crypto_bundle, lambda m: m.__setitem__(key, value))
    with pytest.raises(BundleError, match=said):
        load_bundle(crypto_bundle)
