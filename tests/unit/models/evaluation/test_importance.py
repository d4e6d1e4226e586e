"""What matters is found by each method where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.importance import of_network, of_trees, permutation

COLUMNS = ("matters", "little", "noise")
WEIGHTS = np.array([2.0, 0.5, 0.0])


def test_a_shuffled_column_costs_what_it_was_worth() -> None:
    """Mean square of a linear forecast: 2 w² of each column's variance; and the data is as before."""
    x = np.random.default_rng(1).normal(size=(4000, 3)).astype(np.float32)
    target, before = x @ WEIGHTS, x.copy()
    found = permutation("linear", x, COLUMNS, lambda given: float(((given @ WEIGHTS - target) ** 2).mean()), "square")
    assert found.values["matters"] == pytest.approx(8.0, rel=0.1)
    assert found.values["little"] == pytest.approx(0.5, rel=0.1)
    assert found.values["noise"] == pytest.approx(0.0, abs=1e-9)
    assert (x == before).all()


def test_a_window_loses_its_whole_column() -> None:
    """The mean over a window's rows: what is shuffled is the column, not its rows one by one."""
    x = np.random.default_rng(2).normal(size=(1500, 4, 3)).astype(np.float32)
    target = x.mean(axis=1) @ WEIGHTS
    seen = []

    def loss(given: np.ndarray) -> float:
        seen.append(np.sort(given, axis=0).tolist() == np.sort(x, axis=0).tolist())
        return float(((given.mean(axis=1) @ WEIGHTS - target) ** 2).mean())

    found = permutation("windows", x, COLUMNS, loss, "square")
    assert found.values["matters"] > found.values["little"] > found.values["noise"]
    assert all(seen)


def test_trees_are_explained_by_shap() -> None:
    """Of two classes and of three."""
    pytest.importorskip("shap")
    lightgbm = pytest.importorskip("lightgbm")
    random = np.random.default_rng(3)
    x = random.normal(size=(600, 3)).astype(np.float32)
    for edges in ([0.0], [-0.7, 0.7]):
        label = np.digitize(x @ WEIGHTS + random.normal(0, 0.3, 600), edges)
        model = lightgbm.LGBMClassifier(n_estimators=20, num_leaves=7, verbosity=-1, n_jobs=1).fit(x, label)
        found = of_trees("LightGBM", model, x[:200], COLUMNS, "log-odds")
        assert found.values["matters"] > found.values["little"] > 0
        assert found.rows == 200


def test_a_network_is_explained_by_integrated_gradients() -> None:
    """A linear layer over the window: the attribution is exactly weight times distance from the mean window."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("captum")

    class Linear(torch.nn.Module):
        def forward(self, x):
            return (x.mean(dim=1) @ torch.tensor(WEIGHTS, dtype=torch.float32)).unsqueeze(1)

    x = np.random.default_rng(4).normal(size=(64, 5, 3)).astype(np.float32)
    found = of_network("net", Linear().eval(), x, COLUMNS, target=0)
    expected = (np.abs(x - x.mean(axis=0)) * WEIGHTS / 5).sum(axis=1).mean(axis=0)
    assert list(found.values.values()) == pytest.approx(expected.tolist(), rel=1e-3)
    assert found.part == "validation"


def test_columns_that_are_not_those_of_the_rows_are_refused() -> None:
    """Two names for three columns."""
    with pytest.raises(DataError, match="3 columns to explain; expected 2"):
        permutation("x", np.zeros((4, 3), np.float32), ("a", "b"), lambda _x: 0.0, "")
