"""The bundle of a run in another precision: accepted by validation scores, refused with the numbers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import BundleError
from models.bundle import load_bundle
from models.catalogue import verify_bundle
from models.manifest_sections import Converted
from models.onnx_model import OnnxModel
from models.providers.onnx_runtime import open_session
from tests.support.training import tiny_settings, write_quotes, write_settings

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

from models.trainer import acceptance, convert  # noqa: E402
from models.trainer.convert import check, convert_run  # noqa: E402
from models.trainer.run import run_training  # noqa: E402
from models.trainer.run_bundle import bundle_run  # noqa: E402
from models.trainer.settings import load_settings  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on quotes with its bundle, and the folder of the quotes."""
    folder = write_quotes(tmp_path_factory.mktemp("quotes"))
    plain = tiny_settings(network={"name": "mlp", "sizes": [8]}, assets={})
    settings, _ = load_settings(write_settings(folder, plain))
    place = folder / "runs" / "tiny"
    run_training(settings, folder=place, data=folder, commit="c" * 40)
    bundle_run(place, data=folder)
    return place, folder


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_a_converted_bundle_is_a_version_of_its_own_that_says_what_it_cost(run, monkeypatch, precision):
    """It verifies, predicts like the one it is from, and its manifest has the scores of both."""
    place, data = run
    if precision == "int8":  # eight units of a tiny network lose more than a real one's; the gate has a test of its own
        monkeypatch.setattr(acceptance, "F1_FALL_MAX", 0.2)
        monkeypatch.setattr(acceptance, "ECE_RISE_MAX", 0.2)
    original = load_bundle(place / "bundle" / "tiny")
    batches = set()

    def open_watched(source):
        session = open_session(source)

        class Watched:
            def run(self, names, feeds):
                batches.add((source.precision, min(len(feeds["features"]), 2)))
                return session.run(names, feeds)

        return Watched()

    monkeypatch.setattr(convert, "open_session", open_watched)
    made = convert_run(place, precision, data=data)
    # As it is served: what int8 says of a row depends on the rows beside it.
    assert batches == {("fp32", 2), (precision, 1 if precision == "int8" else 2)}
    manifest = made.manifest
    assert made.path == place / f"bundle-{precision}" / "tiny"
    assert (manifest.name, manifest.precision) == ("tiny", precision)
    assert made.version != original.version
    assert manifest.converted.version == original.version
    assert set(manifest.converted.after) == {"macro_f1", "ece", "log_loss"}
    assert manifest.converted.rows > 100
    assert manifest.training == original.manifest.training
    assert verify_bundle(made.path)["precision"] == precision
    window = np.frombuffer(original.golden.window, "<f4").reshape(original.spec.window, -1)
    wanted, seen = (OnnxModel(one).predict("any", window, 1, 2).values[0] for one in (original, made))
    assert seen == pytest.approx(wanted, abs=manifest.tolerance.outputs_abs)


def test_a_conversion_that_costs_too_much_is_refused_and_leaves_nothing(run, monkeypatch):
    """The converter's graph is exchanged for that of a network that says the opposite."""
    place, data = run
    import onnx

    def inverted(graph: bytes, precision: str) -> bytes:
        del precision
        model = onnx.load_from_string(graph)
        (output,) = model.graph.output
        for node in model.graph.node:
            node.output[:] = ["inner" if name == output.name else name for name in node.output]
        model.graph.initializer.append(onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [], [1.0]))
        model.graph.node.append(onnx.helper.make_node("Sub", ["one", "inner"], [output.name]))
        return model.SerializeToString()

    monkeypatch.setattr(convert, "convert_graph", inverted)
    before = sorted(place.glob("bundle-*/*"))
    with pytest.raises(BundleError, match=r"% of rows have the same class .*macro_f1 .* becomes") as caught:
        convert_run(place, "fp16", data=data)
    assert "\n" not in str(caught.value)
    assert sorted(place.glob("bundle-*/*")) == before


@pytest.mark.parametrize(
    ("change", "precision", "said"),
    [
        ({}, "fp16", None),
        ({"agreement": 0.9989}, "fp16", "99.890 % of rows"),
        ({"agreement": 0.95}, "int8", None),
        ({"after": {"macro_f1": 0.498, "ece": 0.025}}, "int8", None),
        ({"after": {"macro_f1": 0.4979, "ece": 0.02}}, "int8", "macro_f1 0.5 becomes 0.4979"),
        ({"after": {"macro_f1": 0.51, "ece": 0.0251}}, "int8", "ece 0.02 becomes 0.0251"),
        ({"after": {"macro_f1": float("nan"), "ece": 0.02}}, "int8", "macro_f1 0.5 becomes nan"),
        ({"before": {"v.qlike": 0.1}, "after": {"v.qlike": 0.1001}, "agreement": None}, "int8", None),
        ({"before": {"v.qlike": 0.1}, "after": {"v.qlike": 0.1003}, "agreement": None}, "int8", "v.qlike 0.1 becomes"),
    ],
)
def test_what_may_be_lost(change, precision, said):
    """At each limit and just beyond it."""
    same = {"macro_f1": 0.5, "ece": 0.02}
    found = msgspec.structs.replace(Converted("a@1", 1000, 1.0, same, same), **change)
    if said is None:
        check(found, precision)
    else:
        with pytest.raises(BundleError, match=said):
            check(found, precision)
