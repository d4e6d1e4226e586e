"""An exported graph without the work that the exporter adds: shapes computed at each run, states of zeros.

Owns this rewriting.  At batch 1 a node costs half a microsecond or more whatever it computes, and an LSTM comes with
some fifteen that find out the shape of what it said.  The function is the same; the parity check of the export says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

BATCH: Final = "batch"
"""The name of the axis that is free."""
_FEW, _MANY = 3, 5
"""Batches that a shape is computed for: where the two differ, the batch is in it."""
_ON_SHAPES = ("Slice", "Gather", "Concat", "Mul", "Add", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast")

_RECURRENT = {"LSTM": (5, 6), "GRU": (5,)}
"""Which inputs are the states of before; ONNX takes a missing one for zeros."""
_MOVES_ONLY = ("Expand", "Slice", "Squeeze", "Unsqueeze", "Transpose", "Reshape", "Identity")
"""What makes zeros of zeros, of its first input."""


def lean(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with fewer nodes; ``model`` itself is changed."""
    _leave_zero_states(model.graph)
    _fix_shapes(model.graph)
    _leave_unused(model.graph)
    # Sizes between the ends are found by the runtime.  ONNX Runtime that is told them computes a softmax in place, and
    # on the reference attention network that takes 19 us where a softmax into another buffer takes 11.
    del model.graph.value_info[:]
    return model


def _leave_zero_states(graph: onnx.GraphProto) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}

    def is_zero(name: str) -> bool:
        if name in constants:
            return not numpy_helper.to_array(constants[name]).any()
        maker = makers.get(name)
        return maker is not None and maker.op_type in _MOVES_ONLY and is_zero(maker.input[0])

    for node in graph.node:
        for at in _RECURRENT.get(node.op_type, ()):
            if at < len(node.input) and is_zero(node.input[at]):
                node.input[at] = ""


def _fix_shapes(graph: onnx.GraphProto) -> None:
    """A reshape to sizes that are known but for the batch has them as constants, with -1 in the batch's place."""
    few, many = _Sizes(graph, _FEW), _Sizes(graph, _MANY)
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[1] in constants:
            continue
        one, other = few.value(node.input[1]), many.value(node.input[1])
        if one is None or other is None or (one != other).sum() > 1:
            continue
        name = f"{node.output[0]}_shape"
        graph.initializer.append(numpy_helper.from_array(np.where(one == other, one, -1), name))
        node.input[1] = name


class _Sizes:
    """What a graph computes of shapes when the batch is ``batch``."""

    def __init__(self, graph: onnx.GraphProto, batch: int) -> None:
        self._batch = batch
        self._makers = {output: node for node in graph.node for output in node.output}
        self._shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.value_info)}
        self._values: dict[str, npt.NDArray[Any] | None] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }

    def value(self, name: str) -> npt.NDArray[Any] | None:
        """None where it hangs on more than shapes."""
        if name not in self._values:
            self._values[name] = self._computed(name)
        return self._values[name]

    def _computed(self, name: str) -> npt.NDArray[Any] | None:
        node = self._makers.get(name)
        if node is None:
            return None
        if node.op_type == "Shape":
            return self._shape(node)
        if node.op_type not in _ON_SHAPES:
            return None
        values = [self.value(one) for one in node.input]
        if any(value is None for value in values):
            return None
        (said,) = ReferenceEvaluator(node).run(None, dict(zip(node.input, values, strict=True)))
        return np.asarray(said)

    def _shape(self, node: onnx.NodeProto) -> npt.NDArray[Any] | None:
        if (dims := self._shapes.get(node.input[0])) is None:
            return None
        sizes = [self._batch if dim.dim_param == BATCH else dim.dim_value for dim in dims]
        if 0 in sizes:
            return None
        limits = {attribute.name: attribute.i for attribute in node.attribute}
        return np.array(sizes[limits.get("start", 0) : limits.get("end", len(sizes))], np.int64)


def _leave_unused(graph: onnx.GraphProto) -> None:
    wanted = {output.name for output in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_read(node))
    kept.reverse()
    del graph.node[:]
    graph.node.extend(kept)
    held = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(held)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, its branches included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _read(inner)
