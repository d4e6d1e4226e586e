from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest

from engine.errors import BundleError
from engine.events import PredictionStatus
from models.bundle import load_bundle
from models.golden import decode_golden, encode_golden, run_tape
from models.onnx_model import OnnxModel

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bundle(crypto_bundle):
    return load_bundle(crypto_bundle)


@pytest.fixture
def window(bundle):
    """A real window: the last of the golden tape."""
    return run_tape(bundle.spec, bundle.golden.instrument, bundle.golden.events, lambda _: (0.0,))[0]


def test_a_prediction_carries_value_version_times_and_status(bundle, window):
    """Predicts the last window of the golden tape and compares with what the trainer stored."""
    model = OnnxModel(bundle)
    prediction = model.predict("BTC/USD@test", window, 11, 12)
    assert prediction.status is PredictionStatus.OK
    assert prediction.values[0] == pytest.approx(bundle.golden.outputs[-1], abs=1e-5)
    assert (prediction.ts_event_ns, prediction.ts_recv_ns) == (11, 12)
    assert (prediction.instrument, prediction.model) == ("BTC/USD@test", bundle.version)
    assert (model.count, model.late, model.failed) == (1, 0, 0)


def test_the_same_window_gives_the_same_bits_whatever_came_between(bundle, window):
    """Repeats a window after a different one: nothing of a call may stay in the bound buffers."""
    model = OnnxModel(bundle)
    first = model.predict("A", window, 0, 0).values
    other = model.predict("A", window * np.float32(1.01), 0, 0).values
    assert model.predict("A", window, 0, 0).values == first
    assert other != first


def test_the_price_level_does_not_move_a_prediction(bundle, window):
    """Scales every price column from 2,500 to 0.5 and to 100,000 and quantities by 1,000: the market is the same."""
    model = OnnxModel(bundle)
    kinds = [scaling.kind for scaling in bundle.manifest.scaling]
    price = np.array([kind.startswith("price") for kind in kinds])
    qty = np.array([kind.startswith("qty") for kind in kinds])
    base = model.predict("A", window, 0, 0).values[0]
    close = float(window[-1, bundle.spec.columns.index("close")])
    for level in (0.5, 100_000.0):
        scaled = window.astype(np.float64)
        scaled[:, price] *= level / close
        scaled[:, qty] *= 1000.0
        assert model.predict("A", scaled.astype(np.float32), 0, 0).values[0] == pytest.approx(base, abs=2e-3)


@pytest.mark.fault("E4")
def test_a_prediction_over_the_deadline_is_late_and_keeps_its_value(bundle, window):
    """A stopwatch that advances 100 us a look, against deadlines of 99 and 100 us."""
    ticks = count(step=100_000)
    late = OnnxModel(bundle, deadline_us=99, stopwatch=lambda: next(ticks)).predict("A", window, 0, 0)
    assert late.status is PredictionStatus.LATE
    assert len(late.values) == 1
    model = OnnxModel(bundle, deadline_us=100, stopwatch=lambda: next(ticks))
    assert model.predict("A", window, 0, 0).status is PredictionStatus.OK
    assert model.late == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (29, 39), (17, 5)])
def test_a_feature_that_is_not_finite_fails_the_prediction(bundle, window, bad, place):
    """Puts one bad value at the corners and inside: clipping in the graph would hide it."""
    model = OnnxModel(bundle)
    broken = window.copy()
    broken[place] = bad
    prediction = model.predict("A", broken, 0, 0)
    assert prediction.status is PredictionStatus.FAILED
    assert prediction.values == ()
    assert "not finite" in prediction.text
    assert model.failed == 1
    assert model.predict("A", window, 0, 0).status is PredictionStatus.OK


def test_any_window_of_sane_size_gives_a_probability(bundle):
    """Zeros and constants up to 1e27 (the whole window sums to 1e30): the normaliser has no division that blows up."""
    model = OnnxModel(bundle)
    for value in (0.0, 1e-38, -1.0, 1e27, -1e27):
        prediction = model.predict("A", np.full((30, 40), value, np.float32), 0, 0)
        assert prediction.status is PredictionStatus.OK, value
        assert 0.0 <= prediction.values[0] <= 1.0


@pytest.mark.filterwarnings("ignore:overflow encountered in dot")  # pytest resets the module's own filter
@pytest.mark.parametrize("bad", [4e30, -4e30, 3.4e38])
def test_a_feature_too_large_for_the_normaliser_fails_the_prediction(bundle, window, bad):
    """One finite value over the limit: its sums would leave float32 inside the graph, where clipping hides it."""
    model = OnnxModel(bundle)
    broken = window.copy()
    broken[17, 5] = bad
    prediction = model.predict("A", broken, 0, 0)
    assert prediction.status is PredictionStatus.FAILED
    assert "beyond 1e30" in prediction.text


def test_a_window_of_the_wrong_shape_fails_and_is_not_raised(bundle):
    """Hands in 29 rows: the port promises that nothing is raised into the core."""
    model = OnnxModel(bundle)
    prediction = model.predict("A", np.zeros((29, 40), np.float32), 0, 0)
    assert prediction.status is PredictionStatus.FAILED
    assert "ValueError" in prediction.text


@pytest.mark.fault("E6")
def test_a_golden_tape_with_another_output_is_refused(crypto_bundle, replace_file):
    """Moves one stored output by ten times the tolerance, with a correct hash."""
    tape = decode_golden((crypto_bundle / "golden.msgpack").read_bytes())
    outputs = (*tape.outputs[:-1], tape.outputs[-1] + 1e-4)
    replace_file(
        crypto_bundle, "golden.msgpack", encode_golden(type(tape)(tape.instrument, tape.events, tape.window, outputs))
    )
    with pytest.raises(BundleError, match=r"prediction is 0\.0001 off"):
        OnnxModel(load_bundle(crypto_bundle))


@pytest.mark.fault("E6")
def test_a_golden_tape_with_another_feature_is_refused_by_column(crypto_bundle, replace_file):
    """Changes one number of the stored window, as a changed kernel would."""
    bundle = load_bundle(crypto_bundle)
    tape = bundle.golden
    column = bundle.spec.columns.index("rsi_14")
    window = np.frombuffer(tape.window, "<f4").reshape(30, 40).copy()
    window[3, column] *= np.float32(1.001)
    replace_file(
        crypto_bundle,
        "golden.msgpack",
        encode_golden(type(tape)(tape.instrument, tape.events, window.tobytes(), tape.outputs)),
    )
    with pytest.raises(BundleError, match="feature rsi_14"):
        OnnxModel(load_bundle(crypto_bundle))


def test_a_golden_tape_without_predictions_is_refused(crypto_bundle, replace_file):
    """An empty tape would pass every comparison: it proves nothing."""
    tape = decode_golden((crypto_bundle / "golden.msgpack").read_bytes())
    replace_file(crypto_bundle, "golden.msgpack", encode_golden(type(tape)(tape.instrument, (), tape.window, ())))
    with pytest.raises(BundleError, match="gives 0 numbers"):
        OnnxModel(load_bundle(crypto_bundle))


@pytest.mark.fault("E2")
def test_bytes_that_are_no_graph_are_refused_in_one_line(crypto_bundle, replace_file):
    """Replaces the graph by noise with the right hash."""
    replace_file(crypto_bundle, "model.onnx", b"\x00\x01 no graph")
    with pytest.raises(BundleError, match="cannot load its graph") as caught:
        OnnxModel(load_bundle(crypto_bundle))
    assert "\n" not in str(caught.value)


def test_a_graph_that_loads_and_cannot_be_run_is_refused_in_one_line(crypto_bundle, replace_file):
    """A reshape by a factor that does not divide one row, which only a run can find."""
    graph = onnx.load_from_string((crypto_bundle / "model.onnx").read_bytes())
    (output,) = graph.graph.output
    for node in graph.graph.node:
        node.output[:] = ["inner" if name == output.name else name for name in node.output]
    for name, shape in (("sevens", [-1, 7]), ("ones", [-1, 1])):
        graph.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [2], shape))
    graph.graph.node.append(onnx.helper.make_node("Reshape", ["inner", "sevens"], ["rows"]))
    graph.graph.node.append(onnx.helper.make_node("Reshape", ["rows", "ones"], [output.name]))
    replace_file(crypto_bundle, "model.onnx", graph.SerializeToString())
    with pytest.raises(BundleError, match="cannot run its graph") as caught:
        OnnxModel(load_bundle(crypto_bundle))
    assert "\n" not in str(caught.value)


def test_tensor_names_other_than_the_graphs_are_refused(crypto_bundle, edit_manifest):
    """Renames the output in the manifest only."""
    edit_manifest(crypto_bundle, lambda m: m["outputs"][0].__setitem__("name", "logit"))
    with pytest.raises(BundleError, match="its graph has outputs"):
        OnnxModel(load_bundle(crypto_bundle))


def test_serving_a_bundle_loads_no_trainer_library():
    """A fresh interpreter finds, opens and runs a bundle, then looks into sys.modules."""
    code = (
        "import sys, numpy as np\n"
        "from models.catalogue import list_bundles, verify_bundle\n"
        "from models import networks\n"
        "print(networks.names(), verify_bundle('models/artifacts/demo-crypto'))\n"
        "print(len(list_bundles('models/artifacts')))\n"
        "print([n for n in ('torch', 'pandas', 'sklearn', 'onnx', 'onnxscript') if n in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
