"""Paths by hand: what is joined, scored and traded."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.evaluation.description import Task
from models.evaluation.paths import Costs, Forecast, Paths, PathScores, joined, naive_losses, score_path
from models.evaluation.paths_page import render
from models.evaluation.rows import Rows

pytest.importorskip("skfolio")
DAY_NS = 86_400_000_000_000
RETURN = Task("next", "return", 86_400.0, "r2_oos")


def forecast(days: np.ndarray, label: np.ndarray, said: np.ndarray, fold: np.ndarray) -> Forecast:
    rows = Rows(np.zeros(len(days), np.int64), days * DAY_NS, label, np.zeros((len(days), 0), np.float32))
    return Forecast(rows, fold, said[:, None], np.zeros(len(days), np.int64), label**2)


def market(days: int = 120) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(days), np.random.default_rng(1).normal(0.0, 0.01, days)


def test_a_path_takes_each_fold_from_the_split_that_it_names_in_order_of_time() -> None:
    days, label = market(6)
    fold = np.array([0, 0, 1, 1, 2, 2])
    first = forecast(days[[0, 1, 4, 5]], label[[0, 1, 4, 5]], np.full(4, 1.0), fold[[0, 1, 4, 5]])
    second = forecast(days[2:4], label[2:4], np.full(2, 2.0), fold[2:4])
    whole = joined([first, second], [0, 1, 0])
    assert whole.rows.ts_ns.tolist() == (days * DAY_NS).tolist()
    assert whole.said[:, 0].tolist() == [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]
    assert whole.rows.label.tolist() == label.tolist()


def test_skill_is_the_share_of_the_naive_loss_that_is_saved() -> None:
    """A forecast of half the return saves three quarters of the squares; one of nothing saves nothing."""
    days, label = market()
    fold = np.zeros(len(days), np.int64)
    half = score_path(RETURN, forecast(days, label, label / 2, fold), None)
    assert half.skill == pytest.approx(0.75)
    assert half.scores["r2_oos"] == pytest.approx(0.75)
    assert half.traded is None
    assert score_path(RETURN, forecast(days, label, np.zeros_like(label), fold), None).skill == 0.0


def test_what_is_traded_is_annualised_and_deflated_by_all_trials() -> None:
    """A forecast that is often right; the more was tried, the less it is worth.  One that never trades is worth 0."""
    days, label = market()
    fold, random = np.zeros(len(days), np.int64), np.random.default_rng(2)
    said = 0.3 * label + random.normal(0, 0.006, len(label))
    one = forecast(days, label, said, fold)
    trials = random.normal(0, 0.01, (120, 50))
    found = score_path(RETURN, one, Costs(5.0), trials).traded
    assert found is not None
    assert found.dsr is not None
    held = np.where(np.abs(said) > 5e-4, np.sign(said), 0.0)
    net = held * np.expm1(label) - 5e-4 * np.abs(held)
    assert found.sharpe is not None
    assert found.psr is not None
    assert 0 < found.dsr < found.psr < 1
    assert found.net == pytest.approx(net.sum(), rel=1e-5)
    assert found.sharpe == pytest.approx(net.mean() / net.std(ddof=1) * np.sqrt(365.25), rel=1e-4)
    assert found.equity == pytest.approx(net.cumsum(), rel=1e-5)
    idle = score_path(RETURN, forecast(days, label, np.zeros_like(label), fold), Costs(5.0)).traded
    assert idle is not None
    assert (idle.net, idle.sharpe, idle.psr, idle.dsr) == (0.0, 0.0, 0.0, None)


def test_who_knows_the_mean_alone() -> None:
    """Of classes the shares, of a variance the mean, of a return nothing."""
    assert naive_losses("classes", 2, np.array([0.0, 0, 0, 1]), np.array([0.0, 1])) == pytest.approx(
        -np.log([0.75, 0.25])
    )
    assert naive_losses("variance", 0, np.array([1.0, 3.0]), np.array([2.0])) == pytest.approx([0.0])
    assert naive_losses("return", 0, np.array([1.0, 3.0]), np.array([-2.0])) == pytest.approx([4.0])


def test_the_page_tells_the_spread_and_escapes_what_comes_from_outside() -> None:
    evil = "<script>alert(1)</script>"
    days, label = market()
    fold = np.zeros(len(days), np.int64)
    scored = [score_path(RETURN, forecast(days, label, share * label, fold), Costs(5.0)) for share in (0.5, 0.25, -0.5)]
    found = made(scored, evil, tuple((days * DAY_NS).tolist()))
    page = render(found)
    assert evil not in page
    assert "2 of 3" in page
    assert "the test, which stays shut" in page
    assert found.figures == ["r2_oos", "mse", "skill", "net", "sharpe", "psr"]
    mean, spread, least, greatest = found.spread("skill")
    skills = [0.75, 1 - 0.75**2, 1 - 1.5**2]
    assert mean == pytest.approx(np.mean(skills), abs=1e-5)
    assert spread == pytest.approx(np.std(skills, ddof=1), abs=1e-5)
    assert (least, greatest) == (pytest.approx(skills[2], abs=1e-5), pytest.approx(0.75))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Paths) == found


def made(scored: list[PathScores], name: str, days_ns: tuple[int, ...]) -> Paths:
    return Paths(
        run=name,
        task=name,
        network=name,
        primary="r2_oos",
        loss="mse",
        folds=4,
        held_out=2,
        splits=6,
        seed=1,
        rows=len(days_ns),
        first_ns=days_ns[0],
        last_ns=days_ns[-1],
        days_ns=days_ns,
        costs=Costs(5.0),
        paths=scored,
        suspicions=[name],
        explained=name,
        commit=name,
        config_sha256=name,
        data_fingerprint=name,
    )
