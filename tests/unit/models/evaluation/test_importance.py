"""What matters is found by each method where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.draws import DAY_NS, Draws, Estimate, mean_estimate
from models.evaluation.importance import groups_of, of_network, of_trees, permutation, some_rows

COLUMNS = ("matters", "little", "noise")
WEIGHTS = np.array([2.0, 0.5, 0.0])


def test_a_shuffled_column_costs_what_it_was_worth() -> None:
    """Mean square of a linear forecast: 2 w² of each column's variance; and the data is as before."""
    x = np.random.default_rng(1).normal(size=(4000, 3)).astype(np.float32)
    target, before = x @ WEIGHTS, x.copy()
    draws = Draws.cut(np.arange(4000) * DAY_NS // 40, 1.0, draws=100)
    found = permutation("linear", x, COLUMNS, lambda given: mean_estimate((given @ WEIGHTS - target) ** 2, draws), "sq")
    assert found.values["matters"] == pytest.approx(8.0, rel=0.1)
    assert found.values["little"] == pytest.approx(0.5, rel=0.1)
    assert found.values["noise"] == pytest.approx(0.0, abs=1e-9)
    assert (x == before).all()
    for name, value in found.values.items():
        low, high = found.intervals[name]
        assert low <= value <= high
    assert found.intervals["little"][0] > 0.3


def test_a_window_loses_its_whole_column() -> None:
    """The mean over a window's rows: what is shuffled is the column, not its rows one by one."""
    x = np.random.default_rng(2).normal(size=(1500, 4, 3)).astype(np.float32)
    target = x.mean(axis=1) @ WEIGHTS
    whole = [sorted(x[..., n].tolist()) for n in range(3)]
    seen, moved = [], []

    def loss(given: np.ndarray) -> Estimate:
        seen.append(all(sorted(given[..., n].tolist()) == kept for n, kept in enumerate(whole)))
        moved.append([bool((given[..., n] != x[..., n]).any()) for n in range(3)])
        return Estimate(float(((given.mean(axis=1) @ WEIGHTS - target) ** 2).mean()))

    found = permutation("windows", x, COLUMNS, loss, "square")
    assert found.values["matters"] > found.values["little"] > found.values["noise"]
    assert found.intervals == {}
    assert all(seen)
    assert max(sum(each) for each in moved) == 1


def test_columns_of_a_group_move_together() -> None:
    """Two copies of one column, of which a forecast takes the difference: shuffled alone each is worth much, by one
    permutation for both the difference stays 0, and the group is worth nothing."""
    one = np.random.default_rng(5).normal(size=(1000, 1)).astype(np.float32)
    x = np.hstack([one, one, one + 1])
    loss = lambda given: Estimate(float(np.abs(given[:, 0] - given[:, 1]).mean()))  # noqa: E731
    alone = permutation("pair", x, ("a_1", "a_2", "b"), loss, "")
    together = permutation("pair", x, ("a_1", "a_2", "b"), loss, "", groups=groups_of(["a=a_*"], ("a_1", "a_2", "b")))
    assert min(alone.values["a_1"], alone.values["a_2"]) > 1
    assert together.values == {"b": 0.0, "a": 0.0}
    assert together.groups == {"a": ("a_1", "a_2")}


def test_a_score_that_is_to_be_great_loses_what_it_falls_by() -> None:
    x = np.arange(100, dtype=np.float32)[:, None]
    rank = lambda given: Estimate(float(np.corrcoef(given[:, 0], x[:, 0])[0, 1]))  # noqa: E731
    found = permutation("rank", x, ("a",), rank, "", less_is_better=False)
    assert found.values["a"] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["momentum"], "--group 'momentum'; expected NAME=COLUMN,COLUMN"),
        (["momentum=rsi_*,odd"], "--group momentum: no column is called 'odd'; expected of rsi_5, rsi_9, atr"),
        (["m=rsi_*", "n=rsi_5,atr"], "--group n: rsi_5 is in another group"),
        (["m=rsi_5", "m=atr"], "--group m: the name is taken"),
        (["atr=rsi_*"], "--group atr: the name is taken"),
    ],
)
def test_groups_that_are_none_are_refused(asked: list[str], told: str) -> None:
    with pytest.raises(DataError) as refused:
        groups_of(asked, ("rsi_5", "rsi_9", "atr"))
    assert str(refused.value).startswith(told)


def test_a_sample_of_rows_is_of_all_instruments() -> None:
    """Forty instruments take turns: every twentieth row would be of two of them."""
    chosen = some_rows(20_000, 1_000)
    assert len(chosen) == 1_000
    assert (np.diff(chosen) > 0).all()
    assert len(np.unique(chosen % 40)) == 40
    assert some_rows(5, 10).tolist() == [0, 1, 2, 3, 4]


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
        permutation("x", np.zeros((4, 3), np.float32), ("a", "b"), lambda _x: Estimate(0.0), "")
