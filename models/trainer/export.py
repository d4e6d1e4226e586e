"""A trained module as an ONNX graph that is proven to compute the same.

Owns the export and the parity check; an export that differs is refused.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch

from engine.errors import BundleError
from models.networks.served import Served

OPSET = 20
INPUT = "features"
OUTPUT = "p_up"
PARITY_ABS_MAX = 1e-5
PARITY_BATCHES = (1, 2, 7, 64)


def export(served: Served, window: int, columns: int) -> bytes:
    """The graph: ``features (batch, window, columns)`` to ``p_up (batch, 1)``, float32; only the batch is free."""
    form = served.export_form()
    batch = torch.export.Dim("batch", min=1, max=4096)
    # The one warns about packages that this export does not need, the other about constants that it leaves as they are.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                form,
                (torch.zeros(2, window, columns),),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert program is not None
    return _strip(program.model_proto).SerializeToString(deterministic=True)


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


def check_parity(served: Served, graph: bytes, windows: npt.NDArray[np.float32]) -> float:
    """Greatest difference between the graph and torch over ``windows (N, W, F)`` in batches of 1, 2, 7 and 64.

    Raises ``BundleError`` when it is over 1e-5.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    served.eval()
    for size in PARITY_BATCHES:
        for x in _batches(windows, size):
            with torch.no_grad():
                wanted = served(torch.from_numpy(x)).numpy()
            seen = session.run([OUTPUT], {INPUT: x})[0]
            worst = float(np.maximum(worst, np.abs(seen - wanted).max()))  # unlike max, keeps a NaN
    if not worst <= PARITY_ABS_MAX:
        raise BundleError(
            f"the exported graph is {worst:.2g} off the trained network", expected=f"at most {PARITY_ABS_MAX:.0e}"
        )
    return worst


def _batches(windows: npt.NDArray[np.float32], size: int) -> Sequence[npt.NDArray[np.float32]]:
    """Up to 40 batches of that size, evenly spread."""
    starts = range(0, len(windows) - size + 1, max(size, len(windows) // 40))
    return [np.ascontiguousarray(windows[start : start + size]) for start in starts]
