"""Every network as a graph: it must compute what torch computes, in any batch."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import onnxruntime as ort
import pytest

from tests.support.networks import COLUMNS, MODES, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

import onnx  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from models.networks.normalisers import Unscaled  # noqa: E402
from models.networks.served import Served  # noqa: E402
from models.trainer.export import PARITY_ABS_MAX, PARITY_BATCHES, export  # noqa: E402

# The exporter takes every operation apart several times, and goes through a recurrent layer row by row: sizes that are
# enough to see a wrong axis, and no more.
_LSTM = {"name": "lstm", "hidden": 6, "layers": 1, "bidirectional": False, "dense": 8}
_ATTENTION = {"name": "attention", "width": 16, "heads": 4, "feed_forward": 24, "dense": 8, "layers": 1}
CHANGES = {
    # Some with a norm of their own in front; bin_tabl and mixer have one anyway.
    "attention": {"layers": 1},
    "bin_tabl": {"features": (8,), "rows": (3,)},
    "lstm": {"input_norm": "instance", "layers": 1},
    "gru": {"layers": 1},
    "cnn": {"input_norm": "instance"},
    "cnn_lstm": {"layers": 1},
    "mixer": {"layers": 1},
    "temporal_lstm": {"layers": 1},
    "temporal_lstm:sequence": {"layers": 1, "bidirectional": False, "target_len": 2},
    "ensemble": {"lstm": _LSTM, "attention": _ATTENTION},
    "lstm_ensemble": {"lstm": _LSTM},
    "stacked_ensemble": {"members": [_LSTM, {"name": "mlp", "sizes": [8]}]},
    "hybrid": {"head": "multi_task", "layers": 1},
}
EXPORTED = [mode for mode in MODES if mode != "multi_filter_cnn"]  # a slice of the mode that gives all rows
GROUPS = {
    "longer": ("cnn", "ensemble", "two_stage"),  # they need 8 rows; the others have 4
    "recurrent": ("cnn_lstm", "gru", "lstm", "lstm_ensemble", "temporal_lstm", "temporal_lstm:sequence"),
}
GROUPS["others"] = tuple(mode for mode in EXPORTED if not any(mode in group for group in GROUPS.values()))


class SideBySide(nn.Module):
    """Several networks on one window, their outputs in one row: one export is cheaper than many."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([network(x).flatten(1) for network in self.networks.values()], dim=1)

    def export_form(self) -> SideBySide:
        """Each in the form in which it would be exported by itself."""
        forms = {name: Served(nn.Identity(), network).export_form() for name, network in self.networks.items()}
        return SideBySide({name: form.network for name, form in forms.items()})


@cache
def exported(group: str) -> tuple[Served, bytes, dict[str, slice], list[str]]:
    """The networks of a group, their graph, where the outputs of each are, and what was warned of."""
    networks = {mode: small(mode, window=rows_of(group), **CHANGES.get(mode, {})) for mode in GROUPS[group]}
    served = Served(Unscaled(COLUMNS), SideBySide(networks)).eval()
    with torch.no_grad():
        widths = [network(torch.zeros(2, rows_of(group), COLUMNS)).flatten(1).shape[1] for network in networks.values()]
    ends = np.cumsum(widths)
    where = {mode: slice(end - width, end) for mode, width, end in zip(networks, widths, ends, strict=True)}
    warned: list[str] = []
    watch = logging.Handler(logging.WARNING)
    watch.emit = lambda record: warned.append(record.getMessage())
    logging.getLogger().addHandler(watch)
    try:
        return served, export(served, rows_of(group), COLUMNS), where, warned
    finally:
        logging.getLogger().removeHandler(watch)


def rows_of(group: str) -> int:
    return 8 if group == "longer" else 4


@pytest.mark.parametrize(("group", "mode"), [(group, mode) for group, modes in GROUPS.items() for mode in modes])
def test_the_graph_computes_what_the_network_computes(group, mode):
    """Batches of 1, 2, 7 and 64 random windows within 1e-5, against outputs that differ from window to window.

    A hybrid has all of its tasks, a sequence all of its steps.
    """
    served, graph, where, _ = exported(group)
    windows = np.random.default_rng(0).normal(size=(64, rows_of(group), COLUMNS)).astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = served.network.networks[mode](torch.from_numpy(windows)).flatten(1).sigmoid().numpy()
    assert np.ptp(wanted, axis=0).min() > 1e-4
    for batch in PARITY_BATCHES:
        for start in range(0, len(windows) - batch + 1, max(batch, 16)):
            (seen,) = session.run(None, {"features": windows[start : start + batch]})
            assert np.abs(seen[:, where[mode]] - wanted[start : start + batch]).max() <= PARITY_ABS_MAX


@pytest.mark.parametrize("group", GROUPS)
def test_only_the_batch_is_free_and_the_networks_still_learn(group):
    """Shapes of the graph's ends; exporting froze nothing and put nothing into training mode; nobody was warned."""
    served, graph, where, warned = exported(group)
    ends = onnx.load_from_string(graph).graph
    sizes = [[axis.dim_value for axis in end.type.tensor_type.shape.dim] for end in (*ends.input, *ends.output)]
    assert sizes == [[0, rows_of(group), COLUMNS], [0, max(at.stop for at in where.values())]]
    for mode, network in served.network.networks.items():
        begun = small(mode, window=rows_of(group), **CHANGES.get(mode, {}))
        wanted = [name for name, p in begun.named_parameters() if p.requires_grad]
        assert [name for name, p in network.named_parameters() if p.requires_grad] == wanted
        assert not any(module.training for module in network.modules())
    assert warned == []
