"""Every network in a size that a test can afford, with batch norms as after training."""

from __future__ import annotations

from typing import Any

from models import networks

WINDOW, COLUMNS = 16, 6

_SMALL_LSTM = {"name": "lstm", "hidden": 6, "dense": 8}

SMALL: dict[str, dict[str, Any]] = {
    "attention": {"width": 16, "heads": 4, "feed_forward": 24, "dense": 8},
    "bin_tabl": {"features": (8, 10), "rows": (6, 4)},
    "cnn": {},
    "cnn_lstm": {"filters": (8, 10), "hidden": 6, "dense": 8, "attention": "additive"},
    "deep_lob": {"filters": 8, "inception": 6, "hidden": 6},
    "ensemble": {
        "lstm": _SMALL_LSTM,
        "cnn": {"name": "cnn"},
        "attention": {"name": "attention", "width": 16, "heads": 4, "feed_forward": 24, "dense": 8},
    },
    "gru": {"hidden": 6, "dense": 8, "attention": "additive"},
    "hybrid": {"width": 12, "heads": 2, "dense": 8},
    "lstm": {"hidden": 6, "dense": 8, "attention": "self", "heads": 2, "skip": True, "layers": 3},
    "lstm_ensemble": {"members": 2, "weights": "learned", "lstm": _SMALL_LSTM},
    "mixer": {"width": 10},
    "mlp": {"sizes": (12, 8)},
    "multi_filter_cnn": {"filters": 4, "heads": 2},
    "multi_scale_cnn": {"filters": 6, "dense": 8},
    "stacked_ensemble": {"members": [_SMALL_LSTM, {"name": "mlp", "sizes": [8]}], "sizes": (8,)},
    "temporal_lstm": {"hidden": 6, "dense": 8},
    "two_stage": {"hidden": 6, "dense": 8},
}
MODES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, changes) for name, changes in SMALL.items()},
    "multi_filter_cnn:steps": ("multi_filter_cnn", {**SMALL["multi_filter_cnn"], "output": "steps"}),
    "temporal_lstm:sequence": ("temporal_lstm", {**SMALL["temporal_lstm"], "mode": "sequence", "target_len": 3}),
}
"""By the names of the table: also the modes with another output."""
ANY_LENGTH = ("attention", "cnn_lstm", "gru", "hybrid", "lstm", "multi_filter_cnn", "multi_scale_cnn", "temporal_lstm")
"""Networks that read windows of any length: padding must be as if it were not there."""


def small(mode: str, *, seed: int = 0, **changes: Any) -> Any:
    """One of ``MODES``, in evaluation mode.  The statistics of its batch norms are random: with those of the start,
    much that is wrong would not show.  From here on torch has one thread: at these sizes a second one only waits."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    name, settings = MODES[mode]
    network = networks.build(name, **{"window": WINDOW, "columns": COLUMNS, **settings, **changes})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
        elif isinstance(module, nn.BatchNorm2d):  # a dozen above each other: what they divide by is small
            module.running_var.uniform_(0.1, 0.3)
    return network.eval()
