"""All graphs of a bundle: the one that serves, and beside it explanation and single steps where there are any.

Owns which there are.  Each is compared with torch before it counts; what a graph says is ``models.networks.exported``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from models.golden import Float32Array
from models.manifest import GRAPH
from models.manifest_sections import Explanation, SideGraph, Step, Tensor
from models.networks.exported import Explained, Exported, Steps, why_no_steps
from models.trainer.export import (
    Graph,
    check_graph,
    check_steps,
    export_explanation,
    export_forecast,
    export_steps,
)

EXPLANATION: Final = "explain.onnx"
STEPS: Final = "step.onnx"
_STILL_ROWS = 64
_SIDE_BATCH = 64
"""Windows at once of a graph that computes each several times."""
_DTYPES: Final = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64"}

Int64Array = npt.NDArray[np.int64]


class Real(NamedTuple):
    """Real windows of raw features ``(N, W, F)``, and the asset numbers ``(N,)`` of networks that take them."""

    windows: Float32Array
    assets: Int64Array | None = None

    def some(self, count: int) -> Real:
        return Real(self.windows[:count], None if self.assets is None else self.assets[:count])


class Graphs(NamedTuple):
    """``contents`` by file name; what the manifest says of them."""

    contents: dict[str, bytes]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    explanation: Explanation
    step: Step
    explained: Explained | None
    """What the explanation was made from; None where there is none."""


def make_graphs(exported: Exported, real: Real, *, passes: int) -> Graphs:
    """Exports and compares.  ``passes``: of the dropout spread; 0: no graph for the spread of a single network.

    Raises ``BundleError`` with how much a graph differs from torch.
    """
    _, window, columns = real.windows.shape
    graph = export_forecast(exported, window, columns)
    check_graph(exported, graph, *real)
    # A market that stands still: where a window's moves are divided by themselves, the graph must do what torch does.
    few = real.some(_STILL_ROWS)
    check_graph(exported, graph, np.repeat(few.windows[:, -1:], window, axis=1), few.assets)
    contents = {GRAPH: graph.content}
    explanation, explained = _explanation(exported, real, passes, contents)
    step = _step(exported, real, contents)
    return Graphs(contents, *ends(graph), explanation, step, explained)


def ends(graph: Graph) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of a graph as a manifest declares them."""
    model = onnx.load_from_string(graph.content).graph
    inputs, outputs = (
        tuple(
            Tensor(
                end.name,
                tuple(axis.dim_value or -1 for axis in end.type.tensor_type.shape.dim),
                _DTYPES[end.type.tensor_type.elem_type],  # type: ignore[arg-type]
            )
            for end in side
        )
        for side in (model.input, model.output)
    )
    return inputs, outputs


def _explanation(
    exported: Exported, real: Real, passes: int, contents: dict[str, bytes]
) -> tuple[Explanation, Explained | None]:
    _, window, columns = real.windows.shape
    explained = Explained(exported, window, columns, passes=passes)
    if not explained.names():
        return Explanation(None, explained.method), None
    graph = export_explanation(explained, window, columns)
    check_graph(explained, graph, *real, at_once=_SIDE_BATCH)
    contents[EXPLANATION] = graph.content
    return Explanation(SideGraph(EXPLANATION, *ends(graph)), explained.method), explained


def _step(exported: Exported, real: Real, contents: dict[str, bytes]) -> Step:
    if reason := why_no_steps(exported):
        return Step(None, reason)
    steps = Steps(exported)
    graph = export_steps(steps, real.windows.shape[2])
    check_steps(exported, steps, graph, *real, at_once=_SIDE_BATCH)
    contents[STEPS] = graph.content
    return Step(SideGraph(STEPS, *ends(graph)))
