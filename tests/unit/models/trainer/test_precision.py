"""Graphs in half precision and with 8-bit weights: the network alone, close to what it was."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.support.networks import COLUMNS, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

import onnx  # noqa: E402

from engine.errors import BundleError  # noqa: E402
from models.manifest import FEATURES  # noqa: E402
from models.networks.exported import Exported, Member, Output, Reading  # noqa: E402
from models.networks.normalisers import Unscaled  # noqa: E402
from models.networks.served import Normaliser  # noqa: E402
from models.providers.graph import Source  # noqa: E402
from models.providers.onnx_runtime import open_session  # noqa: E402
from models.trainer.export import Graph, export_forecast  # noqa: E402
from models.trainer.graphs import ends  # noqa: E402
from models.trainer.precision import convert_graph, nodes_before_network  # noqa: E402

ROWS = 8
CHANGES = {"lstm": {"attention": "none", "layers": 1, "skip": False}, "mlp": {}, "cnn": {}, "attention": {"layers": 1}}
KINDS = ["price", "price", "qty", "plain", "plain", "plain"]


@cache
def graph_of(name: str, *, scaled: bool = True) -> Graph:
    network = small(name, window=ROWS, **CHANGES[name])
    normaliser = Normaliser(KINDS, 0) if scaled else Unscaled(COLUMNS)
    exported = Exported(normaliser, [Member(network, (Reading(),))], [Output("p", "probability", 0, 1)])
    return export_forecast(exported, ROWS, COLUMNS)


def said(graph: bytes, like: Graph, windows: np.ndarray) -> np.ndarray:
    session = open_session(Source("test@0", graph, *ends(like), "fp32"))
    return session.run(None, {FEATURES: windows})[0]


def windows_at(level_px: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    windows = rng.standard_normal((200, ROWS, COLUMNS)).astype(np.float32)
    windows[:, :, :2] = level_px * (1 + 1e-4 * rng.standard_normal((200, ROWS, 2)))
    windows[:, :, 2] = np.abs(windows[:, :, 2]) + 1
    return windows


@pytest.mark.parametrize("name", list(CHANGES))
def test_half_precision_computes_nearly_the_same_at_any_price(name: str) -> None:
    """Prices of 60,000 that move by a hundredth of a percent: in half precision they would all be one number."""
    graph = graph_of(name)
    windows = windows_at(60_000.0)
    half = convert_graph(graph.content, "fp16")
    wanted, seen = said(graph.content, graph, windows), said(half, graph, windows)
    assert np.abs(wanted - seen).max() < 4e-3
    assert np.corrcoef(wanted[:, 0], seen[:, 0])[0, 1] > 0.999
    types = {one.data_type for one in onnx.load_from_string(half).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in types
    assert len(half) < len(graph.content) * 0.95


@pytest.mark.parametrize("name", ["lstm", "mlp", "attention"])
def test_eight_bit_weights_compute_about_the_same(name: str) -> None:
    """Layers that dynamic int8 knows, weights in 8 bits, normaliser untouched."""
    graph = graph_of(name)
    windows = windows_at(60_000.0)
    int8 = convert_graph(graph.content, "int8")
    wanted, seen = said(graph.content, graph, windows), said(int8, graph, windows)
    assert np.abs(wanted - seen).max() < 0.1
    assert np.corrcoef(wanted[:, 0], seen[:, 0])[0, 1] > 0.99
    types = {one.data_type for one in onnx.load_from_string(int8).graph.initializer}
    assert onnx.TensorProto.INT8 in types


@pytest.mark.parametrize("name", list(CHANGES))
def test_bfloat16_rounds_what_goes_into_a_layer_and_runs_on_the_cpu(name: str) -> None:
    """Two bytes a weight; as the layers are float32, every provider computes it."""
    graph = graph_of(name)
    windows = windows_at(60_000.0)
    rounded = convert_graph(graph.content, "bf16")
    wanted, seen = said(graph.content, graph, windows), said(rounded, graph, windows)
    assert 0 < np.abs(wanted - seen).max() < 2e-2
    assert np.corrcoef(wanted[:, 0], seen[:, 0])[0, 1] > 0.98
    numbers = onnx.load_from_string(rounded).graph.initializer
    halved = sum(len(one.raw_data) for one in numbers if one.data_type == onnx.TensorProto.BFLOAT16)
    weights = [one for one in onnx.load_from_string(graph.content).graph.initializer if len(one.dims) > 1]
    assert halved >= sum(len(one.raw_data) for one in weights) / 2 * 0.8


def test_bfloat16_rounds_weights_and_inputs_and_sums_in_float32() -> None:
    """One dense layer by hand: both factors lose all behind their eighth digit, the sum and the bias keep theirs."""
    tensor, value = onnx.helper.make_tensor, onnx.helper.make_tensor_value_info
    layer = onnx.helper.make_node("Gemm", [FEATURES, "w", "b"], ["p"], "layer")
    numbers = [tensor("w", 1, [2, 1], [1.0 + 2**-9, 3.0]), tensor("b", 1, [1], [2.0**-20])]
    ends_of = [value(FEATURES, 1, ["batch", 2])], [value("p", 1, ["batch", 1])]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([layer], "one", *ends_of, numbers),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=9,
    )
    made = convert_graph(model.SerializeToString(), "bf16")
    like = Graph(made, (FEATURES,), ("p",))
    (seen,) = said(made, like, np.array([[1.0 + 2**-9, 2.0**-19]], np.float32))
    assert seen[0] == np.float32(1.0 + 3 * 2.0**-19 + 2.0**-20)


def test_a_network_of_convolutions_alone_has_nothing_for_dynamic_int8() -> None:
    """Its convolutions would be slower and worse; it is told, and half precision named."""
    model = onnx.load_from_string(graph_of("cnn").content)
    for node in model.graph.node:
        if node.op_type == "Gemm":  # the head: as a node that no converter touches
            node.op_type = "Einsum"
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("equation", "bi,oi->bo"))
            del node.input[2:]
    with pytest.raises(BundleError, match=r"no layer that dynamic int8 knows.*fp16"):
        convert_graph(model.SerializeToString(), "int8")


def test_the_normaliser_ends_where_windows_are_cut() -> None:
    """Of the default one all up to its last cut, of none nothing."""
    scaled = onnx.load_from_string(graph_of("mlp").content).graph
    inside = nodes_before_network(scaled)
    kinds = {node.name: node.op_type for node in scaled.node}
    assert "Clip" in {kinds[name] for name in inside}
    assert "Gemm" not in {kinds[name] for name in inside}
    assert nodes_before_network(onnx.load_from_string(graph_of("mlp", scaled=False).content).graph) == set()
