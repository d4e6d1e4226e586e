"""Versions of the shipped bundle for tests of what becomes of them: the same under another card, or spoiled."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from models.bundle import load_bundle
from models.golden import decode_golden, encode_golden
from models.registry.store import Registry

RETURN = "return"
DEMO = Path(__file__).resolve().parents[2] / "models" / "artifacts" / "demo-crypto"


def add_version(
    registry: Registry,
    folder: Path,
    summary: str,
    *,
    spoiled: bool = False,
    returns: bool = False,
    error_max: float = 1e-4,
) -> str:
    """The same numbers under another name in each record; ``spoiled``: up and down are exchanged, so that it is wrong
    where the shipped one is right, and whole in everything that can be checked before it serves.

    ``returns``: its graph goes on to the log return that its probability stands for, ``(2 p - 1)`` times the mean move
    of its training rows, which is its one output (``RETURN``) and its task; ``error_max``: within which it says that
    nine in ten of its errors are.
    """
    path = Path(shutil.copytree(DEMO, folder / summary / "demo-crypto"))
    manifest = json.loads((path / "manifest.json").read_bytes()) | {"summary": summary}
    graph = onnx.load(path / "model.onnx")
    tape = decode_golden((path / "golden.msgpack").read_bytes())
    outputs = np.asarray(tape.outputs)
    if spoiled:
        _exchange(graph.graph)
        outputs = 1.0 - outputs
    if returns:
        scale = 1e-4 * manifest["return_scale_bps"]
        _go_on_to_return(graph.graph, scale)
        outputs = (2.0 * outputs - 1.0) * scale
        manifest |= _of_returns(manifest, error_max)
    tape = msgspec.structs.replace(tape, outputs=tuple(outputs.tolist()))
    for name, content in {"model.onnx": graph.SerializeToString(), "golden.msgpack": encode_golden(tape)}.items():
        (path / name).write_bytes(content)
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    return registry.add(load_bundle(path))[0]


def _exchange(graph: onnx.GraphProto) -> None:
    """The complement: a change of sign before the sigmoid."""
    sigmoid = next(node for node in graph.node if node.op_type == "Sigmoid")
    place, logit = list(graph.node).index(sigmoid), sigmoid.input[0]
    graph.node.insert(place, onnx.helper.make_node("Neg", [logit], ["exchanged"]))
    sigmoid.input[0] = "exchanged"


def _go_on_to_return(graph: onnx.GraphProto, scale: float) -> None:
    for name, value in (("twice", 2.0 * scale), ("once", scale)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    graph.node.append(onnx.helper.make_node("Mul", ["p_up", "twice"], ["from_nothing"]))
    graph.node.append(onnx.helper.make_node("Sub", ["from_nothing", "once"], [RETURN]))
    graph.output[0].name = RETURN


def _of_returns(manifest: dict[str, Any], error_max: float) -> dict[str, Any]:
    """What a manifest says of such a graph."""
    rows = manifest["label"]["horizon_rows"]
    text = f"log return {rows} rows later"
    forecast = {"name": RETURN, "form": "number", "text": text, "horizon_rows": rows, "label_kind": "return"}
    return {
        "schema": 2,
        "label": {"kind": "return", "horizon_rows": rows, "text": text},
        "task": {"name": "return", "head": "regression", "forecasts": [forecast | {"label_fingerprint": ""}]},
        "outputs": [{"name": RETURN, "shape": [-1, 1], "dtype": "float32"}],
        "thresholds": None,
        "return_scale_bps": 0.0,
        "prediction_quantiles": {},
        "conformal": {"0.9": error_max},
        "evaluation": {
            "primary": "r2",
            "best_baseline": "zero",
            "verdict": "ahead",
            "opened_at": "2026-01-01T00:00:00Z",
        },
    }
