"""Versions of the shipped bundle for tests of what becomes of them: the same under another card, or spoiled."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import onnx

from models.bundle import load_bundle
from models.golden import decode_golden, encode_golden
from models.registry.store import Registry

DEMO = Path(__file__).resolve().parents[2] / "models" / "artifacts" / "demo-crypto"


def add_version(registry: Registry, folder: Path, summary: str, *, spoiled: bool = False) -> str:
    """The same numbers under another name in each record; ``spoiled``: up and down are exchanged, so that it is wrong
    where the shipped one is right, and whole in everything that can be checked before it serves."""
    path = Path(shutil.copytree(DEMO, folder / summary / "demo-crypto"))
    manifest = json.loads((path / "manifest.json").read_bytes()) | {"summary": summary}
    if spoiled:
        for name, content in _exchanged(path).items():
            (path / name).write_bytes(content)
            manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    return registry.add(load_bundle(path))[0]


def _exchanged(bundle: Path) -> dict[str, bytes]:
    """Graph and golden tape of the complement: a change of sign before the sigmoid."""
    graph = onnx.load(bundle / "model.onnx")
    sigmoid = next(node for node in graph.graph.node if node.op_type == "Sigmoid")
    place, logit = list(graph.graph.node).index(sigmoid), sigmoid.input[0]
    graph.graph.node.insert(place, onnx.helper.make_node("Neg", [logit], ["exchanged"]))
    sigmoid.input[0] = "exchanged"
    tape = decode_golden((bundle / "golden.msgpack").read_bytes())
    outputs = tuple(1.0 - output for output in tape.outputs)
    tape = msgspec.structs.replace(tape, outputs=outputs)
    return {"model.onnx": graph.SerializeToString(), "golden.msgpack": encode_golden(tape)}
