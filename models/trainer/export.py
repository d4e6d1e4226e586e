"""A trained module as an ONNX graph that is proven to compute the same.

Owns the export and the parity check; an export that differs is refused.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from engine.errors import BundleError
from models.manifest import ASSET, FEATURES
from models.networks.exported import Explained, Exported, Steps
from models.networks.served import Served
from models.trainer.lean_graph import BATCH, lean

OPSET = 20
INPUT = FEATURES
OUTPUT = "p_up"
PARITY_ABS_MAX = 1e-5
PARITY_BATCHES = (1, 2, 7, 64)
_PIECES = 40
"""Batches of each size that are compared, evenly spread; beside them all windows."""

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


class Graph(NamedTuple):
    """An exported graph and the names of its ends, in order."""

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export(served: Served, window: int, columns: int) -> bytes:
    """The graph: ``features (batch, window, columns)`` to ``p_up (batch, 1)``, float32; only the batch is free."""
    return _to_onnx(served.export_form(), [(INPUT, torch.zeros(2, window, columns), 0)], (OUTPUT,)).content


def export_forecast(exported: Exported, window: int, columns: int) -> Graph:
    """The graph that serves: ``features (batch, window, columns)``, and ``asset (batch,) int64`` where it takes ids."""
    return _to_onnx(exported.export_form(), _window_inputs(exported, window, columns), exported.names())


def export_explanation(explained: Explained, window: int, columns: int) -> Graph:
    """The same inputs to spreads and attention weights."""
    return _to_onnx(explained, _window_inputs(explained.exported, window, columns), explained.names())


def export_steps(steps: Steps, columns: int) -> Graph:
    """``features (batch, 1, columns)``, ``asset``, ``h`` and ``c (layers, batch, hidden)`` to forecasts, ``h_next`` and
    ``c_next``."""
    states = [(name, torch.zeros(steps.layers, 2, steps.hidden), 1) for name in steps.state_names()]
    inputs = [*_window_inputs(steps.exported, 1, columns), *states]
    return _to_onnx(steps, inputs, (*steps.exported.names(), *(f"{name}_next" for name, _, _ in states)))


def _window_inputs(exported: Exported, window: int, columns: int) -> list[tuple[str, Tensor, int]]:
    ids = [(ASSET, torch.zeros(2, dtype=torch.int64), 0)] if exported.takes_assets else []
    return [(INPUT, torch.zeros(2, window, columns), 0), *ids]


def _to_onnx(module: nn.Module, inputs: Sequence[tuple[str, Tensor, int]], outputs: tuple[str, ...]) -> Graph:
    """``inputs``: name, an example, and which axis of it is the batch; nothing else is free."""
    batch = torch.export.Dim(BATCH, min=1, max=4096)
    # The one warns about packages that this export does not need, the other about constants that it leaves as they are.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                tuple(example for _, example, _ in inputs),
                dynamo=True,
                opset_version=OPSET,
                input_names=[name for name, _, _ in inputs],
                output_names=list(outputs),
                dynamic_shapes=_free(module, [{axis: batch} for _, _, axis in inputs]),
                verbose=False,
            )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert program is not None
    content = _strip(lean(program.model_proto)).SerializeToString(deterministic=True)
    return Graph(content, tuple(name for name, _, _ in inputs), outputs)


def _free(module: nn.Module, axes: list[dict[int, Any]]) -> tuple[Any, ...]:
    """As ``forward`` takes its arguments: those behind a star are one tuple."""
    return (axes[0], tuple(axes[1:])) if isinstance(module, Steps) else tuple(axes)


def _strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes: they hold stack traces with the paths of this machine, and half of the bytes."""
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.functions[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    return model


def check_parity(served: Served, graph: bytes, windows: Float32Array) -> float:
    """Greatest difference between the graph and torch over ``windows (N, W, F)``, as ``check_graph`` compares."""
    served.eval()
    return check_graph(served, Graph(graph, (INPUT,), (OUTPUT,)), windows)


def check_graph(
    module: Served | Exported | Explained,
    graph: Graph,
    windows: Float32Array,
    assets: Int64Array | None = None,
    *,
    at_once: int | None = None,
) -> float:
    """Greatest difference between the graph and torch over ``windows (N, W, F)`` and their ``assets (N,)``.

    In batches of 1, 2, 7 and 64, and all windows at once, or ``at_once`` by ``at_once``.  Raises
    ``BundleError`` when it is over 1e-5.
    """
    session = _session(graph.content)
    worst = 0.0
    for rows in _batches(len(windows), at_once):
        feeds: list[npt.NDArray[Any]] = [np.ascontiguousarray(windows[rows])]
        if ASSET in graph.inputs:
            feeds.append(np.zeros(len(feeds[0]), np.int64) if assets is None else assets[rows])
        worst = _worse(
            worst, _said(module, feeds), session.run(graph.outputs, dict(zip(graph.inputs, feeds, strict=True)))
        )
    return _accept(worst, "the exported graph")


def check_steps(
    exported: Exported,
    steps: Steps,
    graph: Graph,
    windows: Float32Array,
    assets: Int64Array | None = None,
    *,
    at_once: int | None = None,
) -> float:
    """Greatest difference between the graph, stepped through each window from a state of zeros, and torch's window.

    In batches as ``check_graph``.  Raises ``BundleError`` when it is over 1e-5.
    """
    session = _session(graph.content)
    worst = 0.0
    for rows in _batches(len(windows), at_once):
        batch = windows[rows]
        ids = np.zeros(len(batch), np.int64) if assets is None else assets[rows]
        fixed = {ASSET: ids} if ASSET in graph.inputs else {}
        shape = (steps.layers, len(batch), steps.hidden)
        states = {name: np.zeros(shape, np.float32) for name in steps.state_names()}
        said: list[npt.NDArray[Any]] = []
        for row in range(batch.shape[1]):
            feeds = {INPUT: np.ascontiguousarray(batch[:, row : row + 1]), **fixed, **states}
            said = session.run(graph.outputs, feeds)
            states = dict(zip(states, said[-len(states) :], strict=True))
        wanted = _said(exported, [np.ascontiguousarray(batch), *fixed.values()])
        worst = _worse(worst, wanted, said[: len(wanted)])
    return _accept(worst, "the graph of single steps")


def _session(graph: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def _said(module: Callable[..., Any], feeds: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    said = module(*(torch.from_numpy(feed) for feed in feeds))
    return [one.numpy() for one in (said if isinstance(said, tuple) else (said,))]


def _worse(worst: float, wanted: Sequence[npt.NDArray[Any]], seen: Sequence[npt.NDArray[Any]]) -> float:
    for one, other in zip(wanted, seen, strict=True):
        if one.shape != other.shape:
            raise BundleError(f"the exported graph gives {other.shape}", expected=f"{one.shape}, as the network does")
        worst = float(np.maximum(worst, np.abs(one - other).max()))  # unlike max, keeps a NaN
    return worst


def _accept(worst: float, what: str) -> float:
    if not worst <= PARITY_ABS_MAX:
        raise BundleError(
            f"{what} is {worst:.2g} off the trained network",
            expected=f"at most {PARITY_ABS_MAX:.0e}",
            do="scale the columns or the label, or leave the part out that differs",
        )
    return worst


def _batches(count: int, at_once: int | None) -> Iterator[slice]:
    """Up to 40 batches of each size, evenly spread, then all rows, together or ``at_once`` by ``at_once``."""
    for size in PARITY_BATCHES:
        for start in range(0, count - size + 1, max(size, count // _PIECES)):
            yield slice(start, start + size)
    together = at_once or count
    for start in range(0, count, together):
        yield slice(start, min(start + together, count))
