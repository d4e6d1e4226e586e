"""The demo bundle with a graph that takes as long as a lane asks for, and says the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import KestrelError
from models.bundle import load_bundle
from models.onnx_model import OnnxModel
from models.serving.schedule import measure_us

_WIDTH = 384


def write_slow_bundle(demo: Path, place: Path, wanted_us: float) -> float:
    """Write a bundle to ``place`` that takes about ``wanted_us`` on this machine; returns what it takes, us.

    A chain of matrix products hangs beside the network and adds nothing to its output.  Raises ``KestrelError`` where
    the library that writes graphs is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise KestrelError("a slow model needs onnx", do="pip install -e '.[cpu,train]'") from None
    graph = onnx.load_from_string((demo / "model.onnx").read_bytes())
    layers, takes_us = 0, 0.0
    for tried in (20, 0):  # the second number follows from what the first one takes
        layers = tried or max(1, round(layers * wanted_us / takes_us))
        takes_us = _write(onnx, graph, demo, place, layers)
    return takes_us


def _write(onnx: Any, graph: Any, demo: Path, place: Path, layers: int) -> float:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(demo, place)
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    _hang_on(onnx, model.graph, layers)
    content = model.SerializeToString()
    (place / "model.onnx").write_bytes(content)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = hashlib.sha256(content).hexdigest()
    (place / "manifest.json").write_text(json.dumps(manifest))
    return measure_us(OnnxModel(load_bundle(place)).run_once)


def _hang_on(onnx: Any, graph: Any, layers: int) -> None:
    """``output + 0 * mean(features through the chain)``: nothing that an optimiser may leave out."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    rng = np.random.default_rng(1)
    (output,) = graph.output
    for node in graph.node:
        node.output[:] = ["said" if name == output.name else name for name in node.output]
    rows, columns = (axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim[1:])
    held = {"slow_shape": np.array([-1, rows * columns], np.int64), "slow_nought": np.zeros(1, np.float32)}
    nodes = [helper.make_node("Reshape", [graph.input[0].name, "slow_shape"], ["slow_0"])]
    width = rows * columns
    for number in range(layers):
        held[f"slow_w{number}"] = (rng.normal(0, 1e-3, (width, _WIDTH))).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [f"slow_{number}", f"slow_w{number}"], [f"slow_r{number}"]))
        nodes.append(helper.make_node("Tanh", [f"slow_r{number}"], [f"slow_{number + 1}"]))
        width = _WIDTH
    held["slow_axis"] = np.array([1], np.int64)
    nodes += [
        helper.make_node("ReduceMean", [f"slow_{layers}", "slow_axis"], ["slow_mean"], keepdims=1),
        helper.make_node("Mul", ["slow_mean", "slow_nought"], ["slow_nothing"]),
        helper.make_node("Add", ["said", "slow_nothing"], [output.name]),
    ]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in held.items())
