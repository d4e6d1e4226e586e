"""Every network as a graph: it must compute what torch computes, in any batch."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.support.networks import COLUMNS, MODES, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

import onnx  # noqa: E402

from models.networks.normalisers import Unscaled  # noqa: E402
from models.networks.served import Served  # noqa: E402
from models.trainer.export import check_parity, export  # noqa: E402

WINDOW = 8
"""The exporter goes through a recurrent layer row by row, several times: a window of 30 takes it ten seconds."""
_LSTM = {"name": "lstm", "hidden": 6, "layers": 1, "bidirectional": False, "dense": 8}
_ATTENTION = {"name": "attention", "width": 16, "heads": 4, "feed_forward": 24, "dense": 8, "layers": 1}
CHANGES = {
    # Some with a norm of their own in front; bin_tabl and mixer have one anyway.
    "attention": {"layers": 1},
    "lstm": {"input_norm": "instance", "layers": 1},
    "gru": {"input_norm": "bilinear", "layers": 1},
    "cnn": {"input_norm": "instance"},
    "cnn_lstm": {"layers": 1},
    "temporal_lstm": {"layers": 1},
    "temporal_lstm:sequence": {"layers": 1, "bidirectional": False, "target_len": 2},
    "ensemble": {"lstm": _LSTM, "attention": _ATTENTION},
    "lstm_ensemble": {"lstm": _LSTM},
    "stacked_ensemble": {"members": [_LSTM, {"name": "mlp", "sizes": [8]}]},
    "hybrid": {"head": "multi_task", "layers": 1},
}
EXPORTED = [mode for mode in MODES if mode != "multi_filter_cnn"]  # a slice of the mode that gives all rows


@pytest.mark.parametrize("mode", EXPORTED)
def test_the_graph_computes_what_the_network_computes(mode, caplog):
    """Batches of 1, 2, 7 and 64 random windows within 1e-5; only the batch is free, and nothing is folded into it.

    The network still learns afterwards, and has all tasks of a multi-task head.  The exporter warns of nothing.
    """
    served = Served(Unscaled(COLUMNS), small(mode, window=WINDOW, **CHANGES.get(mode, {})))
    learning = [name for name, p in served.named_parameters() if p.requires_grad]
    graph = export(served, WINDOW, COLUMNS)
    windows = np.random.default_rng(0).normal(size=(200, WINDOW, COLUMNS)).astype(np.float32)
    assert check_parity(served, graph, windows) <= 1e-5
    taken, given = onnx.load_from_string(graph).graph.input[0], onnx.load_from_string(graph).graph.output[0]
    sizes = [[axis.dim_value for axis in tensor.type.tensor_type.shape.dim] for tensor in (taken, given)]
    with torch.no_grad():
        output = served(torch.from_numpy(windows[:3]))
    assert sizes == [[0, WINDOW, COLUMNS], [0, *output.shape[1:]]]
    assert np.ptp(output.numpy()) > 1e-4
    assert [name for name, p in served.named_parameters() if p.requires_grad] == learning
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
