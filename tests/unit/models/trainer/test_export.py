"""Every network and head as a graph: it must compute what torch computes, in any batch, of any instrument."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from tests.support.networks import COLUMNS, MODES, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

import onnx  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from models.networks.exported import Explained, Exported, Member, Output, Reading, Steps, why_no_steps  # noqa: E402
from models.networks.normalisers import Affine, PerWindow, Unscaled  # noqa: E402
from models.networks.settings import AssetSettings  # noqa: E402
from models.trainer.export import (  # noqa: E402
    PARITY_ABS_MAX,
    PARITY_BATCHES,
    Graph,
    _batches,
    check_graph,
    check_steps,
    export_forecast,
    export_steps,
)

# The exporter takes every operation apart several times, and goes through a recurrent layer row by row: sizes that are
# enough to see a wrong axis, and no more.
_LSTM = {"name": "lstm", "hidden": 6, "layers": 1, "bidirectional": False, "dense": 8}
_ATTENTION = {"name": "attention", "width": 16, "heads": 4, "feed_forward": 24, "dense": 8, "layers": 1}
CHANGES: dict[str, dict[str, Any]] = {
    # Some with a norm of their own in front; bin_tabl and mixer have one anyway.
    "attention": {"layers": 1, "head": "three_class", "dropout": 0.0},  # nothing to drop: its weights alone explain it
    "bin_tabl": {"features": (8,), "rows": (3,), "head": "three_class"},
    "lstm": {"input_norm": "instance", "layers": 1, "head": "regression"},
    "gru": {"layers": 1, "head": "multi_horizon", "horizons": 3},
    "cnn": {"input_norm": "instance", "head": "three_class"},
    "cnn_lstm": {"layers": 1, "head": "multi_task"},
    "mixer": {"layers": 1},
    "temporal_lstm": {"layers": 1},
    "temporal_lstm:sequence": {"layers": 1, "bidirectional": False, "target_len": 2, "head": "regression"},
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
EXPLAINED = ("attention", "gru", "lstm_ensemble")
"""By both kinds of attention, by members and by fixed dropout masks."""
READING = Reading(centre=0.2, scale=0.7, temperature=1.6, level=1.1)
IDS = 3


class SideBySide(nn.Module):
    """Several networks on one window, all they say in one row: one export is cheaper than many."""

    takes_assets = True

    def __init__(self, forecasts: Mapping[str, Exported], explained: Mapping[str, Explained]) -> None:
        super().__init__()
        self.forecasts = nn.ModuleDict(forecasts)
        self.explained = nn.ModuleDict(explained)

    def names(self) -> tuple[str, ...]:
        return ("all",)

    def parts(self, x: Tensor, asset: Tensor) -> dict[str, Tensor]:
        """``(B, n)`` of each mode, and of each explanation."""
        said = {mode: module(x, asset) for mode, module in self.forecasts.items()}
        said |= {f"{mode} explained": module(x, asset) for mode, module in self.explained.items()}
        return {name: torch.cat([one.flatten(1) for one in outputs], dim=1) for name, outputs in said.items()}

    def forward(self, x: Tensor, asset: Tensor) -> Tensor:
        return torch.cat(list(self.parts(x, asset).values()), dim=1)

    def export_form(self) -> SideBySide:
        """Each in the form in which it would be exported by itself."""
        return SideBySide({name: one.export_form() for name, one in self.forecasts.items()}, self.explained)


def outputs_of(mode: str, count: int) -> tuple[Output, ...]:
    head = CHANGES.get(mode, {}).get("head", "binary")
    if head == "multi_task":
        return Output("return", "number", 0, 1), Output("variance", "variance", 1, 2), Output("regime", "classes", 2, 6)
    form = {"binary": "probability", "three_class": "classes"}.get(head, "number")
    return (Output("said", form, 0, count),)


def forecast_of(mode: str, window: int, normaliser: nn.Module | None = None, **changes: Any) -> Exported:
    network = small(mode, window=window, assets=AssetSettings(count=IDS), **CHANGES.get(mode, {}) | changes)
    with torch.no_grad():
        count = network(torch.zeros(2, window, COLUMNS)).flatten(1).shape[1]
    outputs = outputs_of(mode, count)
    member = Member(network, (READING,) * len(outputs))
    return Exported(normaliser or Unscaled(COLUMNS), [member], outputs, takes_assets=True)


@cache
def exported(group: str) -> tuple[SideBySide, Any, dict[str, slice], list[str]]:
    """The networks of a group, their graph, where what each says is, and what was warned of."""
    rows = rows_of(group)
    forecasts = {mode: forecast_of(mode, rows) for mode in GROUPS[group]}
    explained = {
        mode: Explained(forecasts[mode], rows, COLUMNS, passes=2) for mode in GROUPS[group] if mode in EXPLAINED
    }
    module = SideBySide(forecasts, explained)
    with torch.no_grad():
        parts = module.parts(torch.zeros(2, rows, COLUMNS), torch.zeros(2, dtype=torch.int64))
    ends = np.cumsum([part.shape[1] for part in parts.values()])
    where = {name: slice(end - part.shape[1], end) for (name, part), end in zip(parts.items(), ends, strict=True)}
    warned: list[str] = []
    watch = logging.Handler(logging.WARNING)
    watch.emit = lambda record: warned.append(record.getMessage())
    logging.getLogger().addHandler(watch)
    try:
        return module, export_forecast(module, rows, COLUMNS), where, warned
    finally:
        logging.getLogger().removeHandler(watch)


def rows_of(group: str) -> int:
    return 8 if group == "longer" else 4


def windows_of(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """64 random windows and asset ids, among them ids that no training had."""
    random = np.random.default_rng(0)
    return random.normal(size=(64, rows, COLUMNS)).astype(np.float32), random.integers(-1, IDS + 3, 64)


@pytest.mark.parametrize(("group", "mode"), [(group, mode) for group, modes in GROUPS.items() for mode in modes])
def test_the_graph_computes_what_the_network_computes(group, mode):
    """Batches of 1, 2, 7 and 64 random windows within 1e-5, against outputs that differ from window to window.

    A hybrid has all of its tasks, a sequence all of its steps; explanations are compared as well.
    """
    module, graph, where, _ = exported(group)
    windows, assets = windows_of(rows_of(group))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph.content, options, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = {
            name: part.numpy()
            for name, part in module.parts(torch.from_numpy(windows), torch.from_numpy(assets)).items()
            if name in (mode, f"{mode} explained")
        }
    assert np.ptp(wanted[mode], axis=0).min() > 1e-4
    for batch in PARITY_BATCHES:
        for start in range(0, len(windows) - batch + 1, max(batch, 16)):
            rows = slice(start, start + batch)
            (seen,) = session.run(None, {"features": windows[rows], "asset": assets[rows]})
            for name, part in wanted.items():
                assert np.abs(seen[:, where[name]] - part[rows]).max() <= PARITY_ABS_MAX, name


@pytest.mark.parametrize("group", GROUPS)
def test_only_the_batch_is_free_and_nobody_was_warned(group):
    """Shapes of the graph's ends; what the exporter remarks about constants reaches nobody."""
    _, graph, where, warned = exported(group)
    model = onnx.load_from_string(graph.content).graph
    sizes = [[axis.dim_value for axis in end.type.tensor_type.shape.dim] for end in (*model.input, *model.output)]
    assert sizes == [[0, rows_of(group), COLUMNS], [0], [0, max(at.stop for at in where.values())]]
    assert warned == []


@pytest.mark.parametrize("mode", EXPORTED)
def test_what_is_exported_is_a_copy_of_what_goes_on_learning(mode):
    """The network that it was made from keeps its gradients and its mode."""
    network = small(mode, window=8, **CHANGES.get(mode, {})).train()
    wanted = [p.requires_grad for p in network.parameters()]
    modes = [module.training for module in network.modules()]
    Exported(Unscaled(COLUMNS), [Member(network, (READING,))], [Output("said", "number", 0, 1)]).export_form()
    assert [p.requires_grad for p in network.parameters()] == wanted
    assert [module.training for module in network.modules()] == modes


@pytest.mark.parametrize("mode", ["lstm", "gru", "temporal_lstm", "temporal_lstm:sequence"])
def test_the_older_exporter_makes_the_same_of_a_recurrent_network(mode):
    """Two exporters that share no code, as one of them once froze an axis of such layers: both within 1e-5 of torch."""
    changes = {"input_norm": "none", "attention": "none"} if mode == "lstm" else {}
    forecast = forecast_of(mode, 4, **changes)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            forecast.export_form(),
            (torch.zeros(2, 4, COLUMNS), torch.zeros(2, dtype=torch.int64)),
            content,
            dynamo=False,
            opset_version=17,
            input_names=["features", "asset"],
            output_names=list(forecast.names()),
            dynamic_axes={"features": {0: "batch"}, "asset": {0: "batch"}},
        )
    graph = Graph(content.getvalue(), ("features", "asset"), forecast.names())
    assert check_graph(forecast, graph, *windows_of(4)) <= PARITY_ABS_MAX


def test_row_by_row_an_lstm_gives_what_it_gives_of_the_window():
    """Two layers of one direction behind fixed statistics, instruments told apart: the graph of single steps, from a
    state of zeros, after four rows; in batches of 1, 2, 7 and 64."""
    scaled = Affine("z_score", np.full(COLUMNS, 0.1), np.full(COLUMNS, 1.3), (-8.0, 8.0))
    changes = {"layers": 2, "bidirectional": False, "attention": "none", "input_norm": "none", "skip": True}
    forecast = forecast_of("lstm", 4, scaled, **changes)
    steps = Steps(forecast)
    graph = export_steps(steps, COLUMNS)
    windows, assets = windows_of(4)
    assert check_steps(forecast, steps, graph, windows, assets) <= PARITY_ABS_MAX
    assert list(graph.inputs) == ["features", "asset", "h", "c"]


@pytest.mark.parametrize("at_once", [None, 64])
def test_each_window_is_compared_and_no_more_at_once_than_is_asked_for(at_once):
    batches = list(_batches(1_000, at_once))
    assert {row for rows in batches for row in range(rows.start, rows.stop)} == set(range(1_000))
    assert max(rows.stop - rows.start for rows in batches) == (at_once or 1_000)
    assert len(batches) < 200


@pytest.mark.parametrize(
    ("mode", "changes", "normaliser", "said"),
    [
        ("mlp", {}, None, "not a recurrent one"),
        ("lstm", {"bidirectional": True, "attention": "none"}, None, "bidirectional"),
        ("gru", {"bidirectional": False}, None, "attention reads all rows"),
        ("lstm", {"bidirectional": False, "attention": "none"}, None, "input norm reads all rows"),
        ("gru", {"bidirectional": False, "attention": "none"}, PerWindow(COLUMNS), "normaliser reads all rows"),
        ("cnn_lstm", {}, None, "convolutions read rows on both sides"),
        ("lstm_ensemble", {}, None, "not a recurrent one"),
    ],
)
def test_a_network_that_cannot_go_row_by_row_says_why(mode, changes, normaliser, said):
    forecast = forecast_of(mode, 8, normaliser, **changes)
    assert said in why_no_steps(forecast)
    with pytest.raises(ValueError, match=said):
        Steps(forecast)


def test_the_same_window_has_the_same_spread_and_a_dropout_of_more_has_more():
    """Masks are drawn once: no random number at serving; their deviation grows with the share that is dropped."""
    windows, assets = (torch.from_numpy(one) for one in windows_of(8))
    spreads = []
    for dropout in (0.05, 0.4):
        explained = Explained(forecast_of("mlp", 8, dropout=dropout), 8, COLUMNS, passes=32)
        first, second = explained(windows, assets)[0], explained(windows, assets)[0]
        assert torch.equal(first, second)
        spreads.append(float(first.mean()))
    assert 0 < spreads[0] < spreads[1]


def test_a_network_without_dropout_or_attention_has_nothing_to_explain():
    explained = Explained(forecast_of("mlp", 8, dropout=0.0), 8, COLUMNS)
    assert explained.names() == ()
    assert explained.method == "none: one network without dropout"
