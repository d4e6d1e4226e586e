"""Weights learned on validation rows: the pool of least log-loss, on the rows that all runs have."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.errors import DataError
from models.mixture.learned import read_weights
from tests.support.training import candle_settings, tiny_settings, write_candles, write_quotes, write_settings

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

from models.commands import app
from models.mixture.learning import learn_weights, pool_weights
from models.trainer.judged import bundle_in
from models.trainer.run import run_training
from models.trainer.run_bundle import bundle_run
from models.trainer.settings import load_settings


def test_the_pool_is_better_than_any_grid_of_weights() -> None:
    """Three members, one of them noise, against every pair of weights in steps of 0.02."""
    random = np.random.default_rng(2)
    given = np.stack([random.beta(4, 2, 900), random.beta(3, 2, 900), random.uniform(0.01, 0.99, 900)])
    weights = pool_weights(given)
    least = -np.log(weights @ given).mean()
    steps = np.arange(0.0, 1.01, 0.02)
    grid = [(a, b, 1.0 - a - b) for a in steps for b in steps if a + b <= 1.0]
    assert least <= min(-np.log(np.array(one) @ given + 1e-12).mean() for one in grid) + 1e-6
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0.0


def test_a_member_that_is_always_worse_gets_nothing() -> None:
    """And the only member gets all."""
    good = np.random.default_rng(4).uniform(0.6, 0.9, 300)
    assert pool_weights(np.stack([good, good - 0.3])) == pytest.approx([1.0, 0.0], abs=1e-4)
    assert pool_weights(good[None]) == pytest.approx([1.0])


def test_runs_of_one_task_get_weights_for_their_versions(tmp_path, capsys) -> None:
    """Two networks on the same quotes, through the command: no worse than either alone or their mean, for exactly the
    versions of their bundles."""
    folder = write_quotes(tmp_path)
    places = []
    for name, sizes in (("wide", [16]), ("narrow", [2])):
        settings, _ = load_settings(
            write_settings(folder, tiny_settings(name=name, network={"name": "mlp", "sizes": sizes}))
        )
        places.append(run_training(settings, folder=tmp_path / "runs" / name, data=folder, commit="c" * 40).folder)
        bundle_run(places[-1], data=folder)
    out = tmp_path / "weights.json"
    done = CliRunner().invoke(app, ["weigh", *map(str, places), "--out", str(out)])
    assert done.exit_code == 0, done.output
    learned = read_weights(out)
    assert set(learned.weights) == {bundle_in(place).version for place in places}
    assert sum(learned.weights.values()) == pytest.approx(1.0, abs=1e-5)
    assert learned.log_loss["learned"] <= min(learned.log_loss.values()) + 1e-6
    assert learned.thresholds is not None
    assert learned.thresholds[0] < learned.thresholds[1]
    assert 0.0 < learned.conformal["0.9"] < 1.0
    assert learned.rows > 100
    assert "learned" in done.output


def test_runs_of_a_quantity_are_refused(tmp_path) -> None:
    """A pool of returns has no log-loss."""
    folder = write_candles(tmp_path)
    settings, _ = load_settings(write_settings(folder, candle_settings("return", label={"kind": "return"})))
    place = run_training(settings, folder=tmp_path / "runs" / "far", data=folder, commit="c" * 40).folder
    bundle_run(place, data=folder)
    with pytest.raises(DataError, match="far forecasts a quantity"):
        learn_weights([place, place])
