"""A small GRU as a bundle: the graph of windows and that of single steps, with the same made-up weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import load_bundle
from models.golden import decode_golden, encode_golden, run_tape

HIDDEN = 8
DEMO = Path("models/artifacts/demo-crypto")


def write_gru_bundle(
    place: Path, *, carried: bool = True, scale: float = 1.0, columns: Collection[str] | None = None
) -> Path:
    """The shipped demo bundle with other graphs.  ``scale`` multiplies the weights of the steps alone: 1 is right.
    ``columns``: those that it looks at; without them all, prices too, which are those of the golden tape."""
    shutil.copytree(DEMO, place)
    demo = load_bundle(place)
    windows: list[np.ndarray] = []

    def keep(window):
        windows.append(window.copy())
        return (0.0,)

    run_tape(demo.spec, demo.golden.instrument, demo.golden.events, keep)
    rows = np.concatenate(windows)
    seen = np.array([columns is None or name in columns for name in demo.spec.columns])
    weights = _weights(rows, 1.0, seen)
    (place / "model.onnx").write_bytes(_graph(rows.shape[1], demo.spec.window, weights, steps=False))
    (place / "step.onnx").write_bytes(_graph(rows.shape[1], 1, _weights(rows, scale, seen), steps=True))
    outputs = tuple(float(one[0]) for window in windows for one in [reference(weights, window)])
    tape = decode_golden((place / "golden.msgpack").read_bytes())
    (place / "golden.msgpack").write_bytes(
        encode_golden(type(tape)(tape.instrument, tape.events, tape.window, outputs))
    )
    manifest = json.loads((place / "manifest.json").read_text())
    name = manifest["outputs"][0]["name"]
    features, state = _tensor("features", [-1, 1, rows.shape[1]]), [1, -1, HIDDEN]
    forecast = {"name": name, "form": "probability", "text": "", "horizon_rows": 1, "label_kind": "direction"}
    manifest |= {
        "schema": 2,
        "task": {"name": "direction", "head": "one", "forecasts": [{**forecast, "label_fingerprint": ""}]},
        "step": {
            "graph": {
                "file": "step.onnx",
                "inputs": [features, _tensor("h", state)],
                "outputs": [_tensor(name, [-1, 1]), _tensor("h_next", state)],
            },
            "carried": carried,
        },
    }
    for file in ("model.onnx", "step.onnx", "golden.msgpack"):
        manifest["files"][file] = hashlib.sha256((place / file).read_bytes()).hexdigest()
    (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def reference(weights, rows, hidden=None):
    """The same in numpy, float64: probability after the last row and the state behind it."""
    hidden = np.zeros(HIDDEN) if hidden is None else hidden
    w, r, b = (weights[name].astype(np.float64)[0] for name in ("w", "r", "b"))
    for row in ((rows - weights["mean"]) / weights["std"]).astype(np.float64):
        given, kept = w @ row + b[: 3 * HIDDEN], r @ hidden + b[3 * HIDDEN :]
        update, forget = (_sigmoid(given[n * HIDDEN :][:HIDDEN] + kept[n * HIDDEN :][:HIDDEN]) for n in (0, 1))
        new = np.tanh(given[2 * HIDDEN :] + forget * kept[2 * HIDDEN :])
        hidden = (1 - update) * new + update * hidden
    return float(_sigmoid(hidden @ weights["head"].astype(np.float64)[:, 0])), hidden


def gru_weights(bundle):
    """Of a bundle that was written here."""
    graph = onnx.load_from_string(bundle.graph).graph
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _weights(rows, scale, seen):
    rng = np.random.default_rng(3)
    columns = rows.shape[1]

    def draw(*shape):
        return (rng.normal(0, 0.3, shape) * scale).astype(np.float32)

    return {
        "mean": rows.mean(axis=0),
        "std": np.maximum(rows.std(axis=0), 1e-3),
        "w": draw(1, 3 * HIDDEN, columns) * seen.astype(np.float32),
        "r": draw(1, 3 * HIDDEN, HIDDEN),
        "b": draw(1, 6 * HIDDEN),
        "head": draw(HIDDEN, 1),
    }


def _graph(columns, window, weights, *, steps):
    ends = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", window, columns])]
    outputs = [helper.make_tensor_value_info("p_up", TensorProto.FLOAT, ["batch", 1])]
    if steps:
        shape = [1, "batch", HIDDEN]
        ends.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, shape))
        outputs.append(helper.make_tensor_value_info("h_next", TensorProto.FLOAT, shape))
    newest = "h_next" if steps else "newest"
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["rows"], perm=[1, 0, 2]),
        helper.make_node(
            "GRU",
            ["rows", "w", "r", "b", *(["", "h"] if steps else [])],
            ["", newest],
            hidden_size=HIDDEN,
            linear_before_reset=1,
        ),
        helper.make_node("Squeeze", [newest, "first"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["p_up"]),
    ]
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    held.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    graph = helper.make_graph(nodes, "gru", ends, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _tensor(name, shape):
    return {"name": name, "shape": shape, "dtype": "float32"}
