from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.draws import Draws
from models.evaluation.forecasts import qlikes, r2, r2_draws, r2_log_draws, return_scores, variance_scores

sk = pytest.importorskip("sklearn.metrics")


def test_qlike_by_hand() -> None:
    """Nothing when equal; a forecast of half costs more than one of double, as an under-estimated risk does."""
    target = np.array([4.0, 4.0, 4.0])
    losses = qlikes(target, np.array([4.0, 2.0, 8.0]))
    assert losses == pytest.approx([0.0, 2 - np.log(2) - 1, 0.5 + np.log(2) - 1])
    assert losses[1] > losses[2]


def test_r2_is_scikit_learns_and_out_of_sample_goes_by_the_benchmark() -> None:
    """About the mean by default; against zero by hand."""
    random = np.random.default_rng(1)
    target = random.normal(1.0, 1.0, 300)
    forecast = target + random.normal(0, 0.5, 300)
    assert r2(target, forecast) == pytest.approx(sk.r2_score(target, forecast))
    nothing = np.zeros(3)
    assert r2(np.array([1.0, -1.0, 2.0]), np.array([0.5, -0.5, 1.0]), nothing) == pytest.approx(1 - 1.5 / 6)
    assert r2(np.array([1.0, -1.0, 2.0]), nothing, nothing) == 0.0


def test_draws_score_the_rows_that_they_repeat() -> None:
    """Both R² of five draws against scikit-learn on repeated rows."""
    random = np.random.default_rng(2)
    target = np.exp(random.normal(0, 1, 200))
    forecast = target * np.exp(random.normal(0, 0.5, 200))
    draws = Draws.by_span(np.arange(200) * 10**9, 1.0, draws=5)
    logs, oos = r2_log_draws(target, forecast, draws), r2_draws(target, forecast, np.zeros(200), draws)
    for number, counts in enumerate(draws.counts):
        rows = np.repeat(np.arange(200), counts[draws.of_row].astype(int))
        assert logs[number] == pytest.approx(sk.r2_score(np.log(target[rows]), np.log(forecast[rows])))
        assert oos[number] == pytest.approx(r2(target[rows], forecast[rows], np.zeros(len(rows))))


def test_a_forecast_of_nothing_has_no_skill_and_no_side() -> None:
    """R² 0 and half of the directions, with rows that did not move left out."""
    target = np.array([0.01, -0.02, 0.0, 0.03] * 30)
    draws = Draws.by_span(np.arange(120) * 10**9, 1.0, draws=20)
    scores = return_scores(target, np.zeros(120), draws)
    assert scores["r2_oos"].value == 0.0
    assert scores["direction_accuracy"].value == 0.5


def test_a_perfect_variance_has_no_loss() -> None:
    """QLIKE 0, R² 1."""
    target = np.exp(np.random.default_rng(3).normal(0, 1, 100))
    scores = variance_scores(target, target, Draws.by_span(np.arange(100) * 10**9, 1.0, draws=10))
    assert (scores["qlike"].value, scores["r2_log"].value) == (0.0, 1.0)
