"""What a graph loses on the way: states of zeros and shapes that are computed at each run, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the trainer is not installed: pip install -e '.[train]'")

import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from models.trainer.lean_graph import lean  # noqa: E402

ROWS, COLUMNS, HIDDEN = 3, 4, 2


def graph(state: float) -> onnx.ModelProto:
    """An LSTM whose state is spread over the batch, and what it says with directions side by side: as exporters
    write it."""
    random = np.random.default_rng(1)
    held = {
        "w": random.normal(size=(2, 4 * HIDDEN, COLUMNS)).astype(np.float32),
        "r": random.normal(size=(2, 4 * HIDDEN, HIDDEN)).astype(np.float32),
        "state": np.full(1, state, np.float32),
        "directions": np.array([2], np.int64),
        "hidden": np.array([HIDDEN], np.int64),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "third": np.array([2], np.int64),
        "fourth": np.array([3], np.int64),
        "fifth": np.array([4], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["rows"], perm=[1, 0, 2]),
        node("Shape", ["rows"], ["sizes"]),
        node("Slice", ["sizes", "second", "third"], ["batch"]),
        node("Concat", ["directions", "batch", "hidden"], ["wide"], axis=0),
        node("Expand", ["state", "wide"], ["states"]),
        node("LSTM", ["rows", "w", "r", "", "", "states", "states"], ["said"], hidden_size=HIDDEN,
             direction="bidirectional"),
        node("Transpose", ["said"], ["turned"], perm=[0, 2, 1, 3]),
        node("Shape", ["turned"], ["all"]),
        node("Slice", ["all", "first", "third"], ["kept"]),
        node("Slice", ["all", "third", "fourth"], ["one"]),
        node("Slice", ["all", "fourth", "fifth"], ["other"]),
        node("Mul", ["one", "other"], ["both"]),
        node("Concat", ["kept", "both"], ["flat"], axis=0),
        node("Reshape", ["turned", "flat"], ["y"]),
    ]  # fmt: skip
    told = [
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, [ROWS, "batch", COLUMNS]),
        helper.make_tensor_value_info("turned", TensorProto.FLOAT, [ROWS, "batch", 2, HIDDEN]),
    ]
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", ROWS, COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, "batch", 2 * HIDDEN])],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
        value_info=told,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def said(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("state", "left"), [(0.0, ["LSTM", "Reshape"]), (0.5, ["Concat", "Expand", "LSTM", "Reshape"])]
)
def test_it_says_the_same_with_fewer_nodes(state: float, left: list[str]) -> None:
    """A state of zeros goes, another stays; the shape has its batch free, whatever the batch."""
    model = graph(state)
    lean(model)
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node} - {"Transpose", "Shape", "Slice"}
    assert sorted(kinds) == left
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    (reshape,) = (node for node in model.graph.node if node.op_type == "Reshape")
    assert held[reshape.input[1]].tolist() == [ROWS, -1, 2 * HIDDEN]
    random = np.random.default_rng(2)
    for batch in (1, 5):
        x = random.normal(size=(batch, ROWS, COLUMNS)).astype(np.float32)
        assert np.array_equal(said(model, x), said(graph(state), x))


def test_a_shape_that_hangs_on_values_stays_as_it_is() -> None:
    model = graph(0.0)
    (at,) = (number for number, node in enumerate(model.graph.node) if node.op_type == "Mul")
    model.graph.node[at].input[1] = "from_outside"
    model.graph.input.append(helper.make_tensor_value_info("from_outside", TensorProto.INT64, [1]))
    lean(model)
    (reshape,) = (node for node in model.graph.node if node.op_type == "Reshape")
    assert reshape.input[1] == "flat"
