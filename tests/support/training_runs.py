"""Training runs on a few candles: made, stopped on purpose, and compared bit for bit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch

from models.evaluation.run_folder import RunFolder
from models.trainer.run import run_training
from models.trainer.settings import settings_of
from tests.support.training import candle_settings

EVERYTHING = {
    "assets": {"width": 8, "id_dropout": 0.2},
    "augmentation": {"jitter": 0.05, "shift_rows_max": 2},
    "network": {"name": "cnn_lstm", "filters": [6], "hidden": 5, "layers": 1, "dense": 6, "dropout": 0.3},
    "weights": {"uniqueness": True, "classes": True, "as": "draws"},
    "loss": {"kind": "focal"},
    "curriculum": {"label": {"kind": "class", "threshold": 0.002}, "epochs": 1},
}
"""All that draws random numbers or keeps something over a step."""


class StoppedError(Exception):
    """What a user's callback ends a run with."""


def trained(folder: Path, files: Path, task: str = "classes", /, **changes):
    return run_training(settings_of(candle_settings(task, **changes)), folder=folder, data=files)


def same(one: Path, other: Path) -> None:
    """Weights, predictions and scores of two runs are equal bit for bit."""
    for path in sorted((one / "weights").iterdir()):
        left, right = (torch.load(run / "weights" / path.name, weights_only=True) for run in (one, other))
        assert left["served"].keys() == right["served"].keys()
        for key, value in left["served"].items():
            assert torch.equal(value, right["served"][key]), key
        assert {key: left[key] for key in left if key != "served"} == {
            key: right[key] for key in right if key != "served"
        }
    for part in ("train", "validation"):
        a, b = (RunFolder(run).predictions(part).values for run in (one, other))
        assert a.tobytes() == b.tobytes()
    lines = [[msgspec.structs.replace(line, seconds=0.0) for line in RunFolder(run).epochs()] for run in (one, other)]
    assert lines[0] == lines[1]
