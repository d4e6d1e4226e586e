"""Weights learned on validation rows: the pool that loses the least, on the rows that all runs have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from engine.errors import DataError
from models.mixture.learned import read_weights
from models.mixture.mixture import mix
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


def _finished(folder: Path, name: str, task: str, **changes: Any) -> Path:
    """A run of a second on the candles in ``folder``, with its bundle."""
    settings, _ = load_settings(write_settings(folder, candle_settings(task, name=name, **changes)))
    place = run_training(settings, folder=folder / "runs" / name, data=folder, commit="c" * 40).folder
    bundle_run(place, data=folder)
    return place


@pytest.mark.parametrize(("task", "metric"), [("return", "mse"), ("variance", "qlike")])
def test_runs_of_a_quantity_get_weights_that_a_mixture_takes(task: str, metric: str, tmp_path, capsys) -> None:
    """Two networks on the same candles, through the command: no worse than either alone or their mean, and the file is
    for exactly the bundles that a session would combine, with the intervals of what they say together."""
    write_candles(tmp_path)
    places = [
        _finished(tmp_path, name, task, network={"name": "mlp", "sizes": [size]})
        for name, size in (("wide", 8), ("narrow", 2))
    ]
    out = tmp_path / "weights.json"
    done = CliRunner().invoke(app, ["weigh", *map(str, places), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"{metric} on" in done.output
    learned = read_weights(out)
    bundles = [bundle_in(place) for place in places]
    assert (learned.metric, learned.thresholds, learned.rows > 100) == (metric, None, True)
    assert learned.losses["learned"] == min(learned.losses.values())
    assert set(learned.losses) == {"equal", "learned", *(bundle.version for bundle in bundles)}
    mixture = mix("both", bundles, learned=learned)
    assert dict(zip(mixture.versions, mixture.weights, strict=True)) == pytest.approx(learned.weights, abs=1e-5)
    assert dict(mixture.facts)["conformal_0.1"] == learned.conformal["0.9"] > 0.0


def test_what_cannot_be_combined_is_refused_in_one_line(tmp_path) -> None:
    """Classes with a quantity, other horizons, one run twice, and several forecasts in one run."""
    write_candles(tmp_path)
    near = _finished(tmp_path, "near", "return")
    far = _finished(tmp_path, "far", "return", label={"horizon_rows": 4})
    rise = _finished(tmp_path, "rise", "direction")
    each = _finished(tmp_path, "each", "multi_horizon")
    with pytest.raises(
        DataError, match=r"near and far cannot be combined: they forecast return \(return, 1 rows\) and"
    ):
        learn_weights([near, far])
    with pytest.raises(DataError, match=r"near and rise cannot be combined: they forecast .*p_up \(direction, 2 rows"):
        learn_weights([near, rise])
    with pytest.raises(DataError, match=r"near and near hold the same version, near@"):
        learn_weights([near, near])
    with pytest.raises(DataError, match=r"each forecasts .*, .*one weight for all that it says"):
        learn_weights([each, near])
