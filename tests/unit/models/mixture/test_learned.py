"""The file of learned weights: what is written is read, with the loss that it was learned by."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import BundleError
from models.mixture.learned import LearnedWeights, read_weights, write_weights

WEIGHTS = {"a@1": 0.7, "b@2": 0.3}


@pytest.mark.parametrize("metric", ["log_loss", "mse", "qlike"])
def test_a_file_tells_the_loss_that_it_was_learned_by(metric: str, tmp_path: Path) -> None:
    lost = {"equal": 0.7, "learned": 0.6}
    learned = LearnedWeights(WEIGHTS, 900, conformal={"0.9": 0.5}, **{metric: lost})  # type: ignore[arg-type]
    write_weights(tmp_path / "weights.json", learned)
    read = read_weights(tmp_path / "weights.json")
    assert (read, read.metric, read.losses) == (learned, metric, lost)


def test_a_file_from_before_quantities_is_read(tmp_path: Path) -> None:
    """All that it held stands in the same places."""
    path = tmp_path / "weights.json"
    path.write_text(
        '{"weights": {"a@1": 0.7, "b@2": 0.3}, "rows": 900, "log_loss": {"equal": 0.7, "learned": 0.6},'
        ' "conformal": {"0.9": 0.5}, "thresholds": [0.45, 0.55]}'
    )
    read = read_weights(path)
    assert (read.weights, read.thresholds, read.metric) == (WEIGHTS, (0.45, 0.55), "log_loss")
    path.write_text('{"weights": {}, "rows": 900, "mae": {}}')
    with pytest.raises(BundleError, match=r"cannot be read: .*mae"):
        read_weights(path)
