"""A graph in half precision, in bfloat16 or with 8-bit weights: the network alone, not what is in front or behind.

The normaliser subtracts prices from each other and needs all of float32; temperature and softmax cost nothing.  Owns
where the one ends and the other begins, and the calls of ONNX Runtime's own converters.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel as Sorted

from engine.errors import BundleError
from models.manifest import FEATURES

Target = Literal["fp16", "bf16", "int8"]
TARGETS: Final[tuple[Target, ...]] = ("fp16", "bf16", "int8")
_WEIGHTED: Final = frozenset({"MatMul", "Gemm", "Conv", "LSTM", "GRU"})
_ELEMENTWISE: Final = frozenset({"Add", "Clip", "Div", "Max", "Min", "Mul", "Sub"})
_INT8: Final = frozenset({"ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger"})


def convert_graph(graph: bytes, precision: Target) -> bytes:
    """The graph with its network in ``precision``; its ends stay float32.

    Raises ``BundleError`` where the network has nothing that can be converted.
    """
    model = onnx.load_from_string(graph)
    normaliser = nodes_before_network(model.graph)
    if not any(node.op_type in _WEIGHTED and node.name not in normaliser for node in model.graph.node):
        raise BundleError("the network has no layer with weights to convert", do="serve it as it is")
    converted = {"fp16": _to_fp16, "bf16": _to_bf16, "int8": _to_int8}[precision](model, normaliser)
    return converted.SerializeToString(deterministic=True)


def _to_fp16(model: ModelProto, normaliser: set[str]) -> ModelProto:
    """The network is cut out, converted with casts at its ends, and put back: converted as a part of the whole, the
    runtime's converter would bring raw prices to half precision and back before it leaves the normaliser alone."""
    graph = model.graph
    behind = _nodes_behind_network(graph, normaliser)
    core = [node for node in graph.node if node.name not in normaliser | behind]
    around = [node for node in graph.node if node.name in normaliser | behind]
    known = {value.name: value for value in (*_inferred(model).value_info, *graph.input, *graph.output)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name for node in core for name in node.output}
    read = {name for node in core for name in node.input if name}
    wanted = {name for node in around for name in node.input} | {output.name for output in graph.output}
    part = onnx.helper.make_graph(
        core,
        "network",
        [known[name] for name in sorted(read - made - set(constants))],
        [known[name] for name in sorted(made & wanted)],
        [constants[name] for name in sorted(read & set(constants))],
    )
    network = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    half = convert_float_to_float16(network, keep_io_types=True)
    # Numbers that both have are now two.
    half = onnx.compose.add_prefix(half, "half_", rename_inputs=False, rename_outputs=False)
    nodes = [*(node for node in around if node.name in normaliser), *half.graph.node]
    nodes += [node for node in around if node.name in behind]
    outside = {name for node in around for name in node.input}
    del graph.node[:], graph.value_info[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*(constants[name] for name in sorted(outside & set(constants))), *half.graph.initializer])
    Sorted.graph_topological_sort(graph, is_deterministic=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _to_bf16(model: ModelProto, normaliser: set[str]) -> ModelProto:
    """What goes into a layer is rounded to bfloat16, weights for good and the rest when it runs; products are summed in
    float32, as the matrix units of a GPU do it.

    The layers themselves stay float32: on the CPU, which stands behind every provider, ONNX Runtime has no others.
    So every provider computes the same numbers, and TensorRT may take the layers to bfloat16.
    """
    graph = model.graph
    del graph.value_info[:]
    floats = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    whole = {tensor.name for tensor in graph.initializer} - set(floats)
    rounded: dict[str, str] = {}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type in _WEIGHTED and node.name not in normaliser:
            # Behind the first two come biases, lengths and states, which are summed and not multiplied; an LSTM or GRU
            # has its recurrent weights third.
            count = 3 if node.op_type in ("LSTM", "GRU") else 2
            for place, name in enumerate(node.input[:count]):
                if not name or name in whole:
                    continue
                if name not in rounded:
                    rounded[name] = f"{name}_rounded"
                    nodes += _rounding(name, rounded[name], floats.get(name), graph)
                node.input[place] = rounded[name]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    Sorted.graph_topological_sort(graph, is_deterministic=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _rounding(name: str, into: str, weights: TensorProto | None, graph: GraphProto) -> list[NodeProto]:
    """Nodes that make ``into``, float32, of ``name`` by way of bfloat16; of weights only the second of them runs."""
    stored = f"{name}_bf16"
    back = onnx.helper.make_node("Cast", [stored], [into], f"{into}_back", to=TensorProto.FLOAT)
    if weights is None:
        return [onnx.helper.make_node("Cast", [name], [stored], f"{into}_there", to=TensorProto.BFLOAT16), back]
    values = numpy_helper.to_array(weights)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # The upper half of a float32, rounded to the nearest, of two as near to the even one.
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    graph.initializer.append(
        onnx.helper.make_tensor(stored, TensorProto.BFLOAT16, values.shape, upper.tobytes(), raw=True)
    )
    return [back]


def _inferred(model: ModelProto) -> GraphProto:
    return onnx.shape_inference.infer_shapes(model).graph


def _to_int8(model: ModelProto, normaliser: set[str]) -> ModelProto:
    """Dynamic: weights beforehand, by channel where a layer can; what goes into a layer when it runs."""
    del model.graph.value_info[:]  # it turns weights round, and would hold them against the old shapes
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a preparation that the runtime does at load in any case
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_dynamic(
                model,
                path,
                op_types_to_quantize=["MatMul", "LSTM"],
                weight_type=QuantType.QInt8,
                nodes_to_exclude=sorted(normaliser),
                extra_options={"MatMulConstBOnly": True},
            )
            converted = onnx.load(path)
    finally:
        root.setLevel(level)
    if not any(node.op_type in _INT8 for node in converted.graph.node):
        raise BundleError(
            "the network has no layer that dynamic int8 knows",
            expected="a dense, attention or LSTM layer",
            do="try fp16",
        )
    return converted


def nodes_before_network(graph: GraphProto) -> set[str]:
    """Names of the nodes that make normalised windows of raw ones.

    They end where all that is known of the features goes through one tensor, and what only shifts, scales and cuts that
    by constants belongs to them.
    """
    consumers = _consumers(graph)
    constants = {tensor.name for tensor in graph.initializer}
    if len(consumers.get(FEATURES, ())) == 1:
        through, begun = FEATURES, set[str]()
    else:
        through, begun = _first_narrow(graph, consumers)
    while len(consumers.get(through, ())) == 1:
        (node,) = consumers[through]
        if node.op_type not in _ELEMENTWISE or any(name and name not in {*constants, through} for name in node.input):
            break
        begun.add(node.name)
        through = node.output[0]
    return begun


def _consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Who reads a tensor's numbers: how many rows there are is asked at any place, and says nothing of the features."""
    consumers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        if node.op_type != "Shape":
            for name in dict.fromkeys(node.input):
                consumers.setdefault(name, []).append(node)
    return consumers


def _first_narrow(graph: GraphProto, consumers: dict[str, list[NodeProto]]) -> tuple[str, set[str]]:
    """The first tensor without which no output would know of the features, and the nodes that it is made by."""
    ends = {output.name for output in graph.output}
    for node in graph.node:
        (tensor, *_) = node.output
        if tensor not in _reached(FEATURES, consumers):
            continue
        if not ends & _reached(FEATURES, consumers, without=node.name):
            return tensor, _names_behind([tensor], graph)
    raise BundleError("the graph's outputs do not depend on its features", do="train it again")


def _nodes_behind_network(graph: GraphProto, normaliser: set[str]) -> set[str]:
    """Names of the nodes that no layer with weights comes after."""
    last = [node for node in graph.node if node.op_type in _WEIGHTED and node.name not in normaliser]
    return {node.name for node in graph.node} - _names_behind((name for node in last for name in node.output), graph)


def _names_behind(tensors: Iterable[str], graph: GraphProto) -> set[str]:
    """Names of all nodes that ``tensors`` are made by."""
    producers = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    waiting = list(tensors)
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting += node.input
    return found


def _reached(tensor: str, consumers: dict[str, list[NodeProto]], without: str = "") -> set[str]:
    """All tensors that ``tensor`` has a part in, but not through the node ``without``."""
    found = {tensor}
    waiting = [tensor]
    while waiting:
        for node in consumers.get(waiting.pop(), ()):
            if node.name != without:
                fresh = set(node.output) - found
                found |= fresh
                waiting += fresh
    return found
