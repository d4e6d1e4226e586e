"""The form that serves says of full windows what the network says: with one backward step in the last layer, with rows
as one matrix where they are taken one by one."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

import onnx  # noqa: E402

from models.networks.cnn import Cnn  # noqa: E402
from models.networks.exported import Exported, Member, Output, Reading  # noqa: E402
from models.networks.newest_row import NewestRowRecurrence, reads_newest_row_alone  # noqa: E402
from models.networks.normalisers import Unscaled  # noqa: E402
from models.networks.served_form import served_form  # noqa: E402
from models.trainer.export import check_graph, export_forecast  # noqa: E402
from tests.support.networks import COLUMNS, small  # noqa: E402


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lstm", {}),
        ("lstm", {"layers": 1}),
        ("lstm", {"layers": 3, "skip": True, "input_norm": "instance"}),
        ("gru", {"layers": 2, "skip": True}),
        ("cnn_lstm", {}),
    ],
)
@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_it_computes_the_same_function(name: str, changes: dict, batch: int) -> None:
    """Random weights and windows, in the batches that an export is compared in."""
    network = small(name, window=12, attention="none", bidirectional=True, **changes).eval()
    form = served_form(network)
    assert isinstance(form.recurrence, NewestRowRecurrence)
    x = torch.randn(batch, 12, COLUMNS, generator=torch.Generator().manual_seed(batch)) * 2
    with torch.no_grad():
        assert (network(x) - form(x)).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("attention", {}),
        ("hybrid", {}),
        ("multi_filter_cnn", {}),
        ("temporal_lstm", {}),
        ("lstm", {"attention": "self"}),
        ("gru", {"attention": "additive", "bidirectional": False}),
        ("ensemble", {}),
    ],
)
@pytest.mark.parametrize("batch", [1, 7])
def test_rows_as_one_matrix_and_a_folded_norm_say_the_same(name: str, changes: dict, batch: int) -> None:
    """Attention, of rows to themselves and across, and the norm before the head, whose statistics are not the first."""
    network = small(name, window=12, **changes).eval()
    generator = torch.Generator().manual_seed(batch)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
                module.weight.normal_(generator=generator)
                module.bias.normal_(generator=generator)
            if isinstance(module, torch.nn.MultiheadAttention):
                module.in_proj_bias.normal_(generator=generator)
                module.out_proj.bias.normal_(generator=generator)
        x = torch.randn(batch, 12, COLUMNS, generator=generator) * 2
        wanted = network(x)
        assert (wanted - served_form(network)(x)).abs().max() <= 2e-6 * (1 + wanted.abs().max())
        assert torch.equal(wanted, network(x))


@pytest.mark.parametrize("changes", [{"attention": "additive"}, {"attention": "self"}, {"bidirectional": False}])
def test_a_network_that_reads_other_rows_is_left_as_it_is(changes: dict) -> None:
    """Attention over the rows of the last layer needs them all; of one direction there is nothing to save."""
    network = small("lstm", window=12, **{"bidirectional": True, "attention": "none"} | changes)
    assert not reads_newest_row_alone(network)
    assert type(served_form(network).recurrence) is type(network.recurrence)


def test_members_of_an_ensemble_are_in_the_form_that_serves() -> None:
    """Its LSTM takes the shortcut, its CNN is the one with folded norms; the network itself stays trainable."""
    network = small("ensemble", window=12).eval()
    form = served_form(network)
    assert isinstance(form.base["lstm"].recurrence, NewestRowRecurrence)
    assert not isinstance(form.base["cnn"], Cnn)
    assert isinstance(network.base["cnn"], Cnn)
    x = torch.randn(7, 12, COLUMNS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (network(x) - form(x)).abs().max() <= 1e-5


def test_the_exported_graph_has_no_layer_for_one_backward_step_and_agrees_with_torch() -> None:
    """Two recurrent nodes, each over all rows, begin without a state that would be made at each run; no node finds out
    shapes, and the norm before the head is a part of it.  Parity within 1e-5 in batches of 1, 2, 7, 64."""
    network = small("lstm", window=12, attention="none", layers=2, bidirectional=True)
    exported = Exported(Unscaled(COLUMNS), [Member(network, (Reading(),))], [Output("p", "probability", 0, 1)])
    graph = export_forecast(exported, 12, COLUMNS)
    windows = np.random.default_rng(3).standard_normal((130, 12, COLUMNS)).astype(np.float32)
    assert check_graph(exported, graph, windows) <= 1e-5
    nodes = onnx.load_from_string(graph.content).graph.node
    lstms = [node for node in nodes if node.op_type == "LSTM"]
    assert len(lstms) == 2
    assert not any(name for node in lstms for name in node.input[5:])
    assert not {"Shape", "Expand", "BatchNormalization"} & {node.op_type for node in nodes}
