from __future__ import annotations

import numpy as np
import pytest

from models.trainer.metrics import Blocks, accuracy, log_losses, mcc, mean_metric, roc_auc, score


def test_log_loss_is_minus_log_of_the_probability_of_what_happened():
    """Two rows by hand."""
    losses = log_losses(np.array([1.0, 0.0]), np.array([0.8, 0.25]))
    assert losses == pytest.approx([-np.log(0.8), -np.log(0.75)])


def test_a_certain_and_wrong_forecast_costs_much_but_not_infinity():
    """Probability 1 of what did not happen."""
    assert np.isfinite(log_losses(np.array([0.0]), np.array([1.0]))).all()


def test_accuracy_and_mcc_by_hand():
    """The confusion table 6, 1, 2, 3."""
    counts = np.array([6.0, 1.0, 2.0, 3.0])  # true up, false up, false down, true down
    assert accuracy(counts) == pytest.approx(9 / 12)
    assert mcc(counts) == pytest.approx((6 * 3 - 1 * 2) / np.sqrt(7 * 8 * 4 * 5))


def test_mcc_of_a_constant_forecast_is_zero():
    """Never says down: the denominator is zero."""
    assert mcc(np.array([5.0, 5.0, 0.0, 0.0])) == 0.0


def test_auc_equals_the_share_of_ordered_pairs():
    """Against the definition, pair by pair, with ties."""
    random = np.random.default_rng(1)
    up = (random.random(200) < 0.4).astype(float)
    p = np.round(random.random(200), 1)
    ups, downs = p[up == 1], p[up == 0]
    wins = (ups[:, None] > downs[None]).sum() + 0.5 * (ups[:, None] == downs[None]).sum()
    assert roc_auc(up, p) == pytest.approx(wins / (len(ups) * len(downs)))


def test_auc_of_one_class_is_a_half():
    """Only ups."""
    assert roc_auc(np.ones(5), np.arange(5.0)) == 0.5


def test_a_forecast_without_skill_has_intervals_around_no_skill():
    """Independent labels and forecasts: 0.5 of AUC and 0 of MCC lie inside their intervals."""
    random = np.random.default_rng(2)
    up = (random.random(4000) < 0.5).astype(float)
    scores = score(up, random.random(4000), Blocks.cut(np.arange(4000) * 10**9, 5.0))
    assert scores["roc_auc"].low < 0.5 < scores["roc_auc"].high
    assert scores["mcc"].low < 0.0 < scores["mcc"].high
    for metric in scores.values():
        assert metric.low <= metric.value <= metric.high


def test_a_perfect_forecast_scores_perfectly():
    """The label as forecast."""
    up = np.tile([0.0, 1.0], 500)
    scores = score(up, up, Blocks.cut(np.arange(1000) * 10**9, 1.0))
    assert (scores["accuracy"].value, scores["mcc"].value, scores["roc_auc"].value) == (1.0, 1.0, 1.0)


def test_blocks_widen_the_interval_of_rows_that_repeat_each_other():
    """The same 40 values, once alone and once each repeated 100 times: repeating adds rows and no information."""
    random = np.random.default_rng(3)
    values = random.normal(size=40)
    alone = mean_metric(values, Blocks.cut(np.arange(40) * 10**9, 0.5))
    repeated = mean_metric(np.repeat(values, 100), Blocks.cut(np.arange(4000) * 10**7, 0.5))
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.3)


def test_a_hole_in_time_makes_no_empty_block():
    """Two short bursts with a weekend between them: every block that is drawn has rows."""
    ts_ns = np.concatenate([np.arange(500), np.arange(500) + 10**6]) * 10**9
    blocks = Blocks.cut(ts_ns, 1.0)
    assert set(blocks.of_row) == set(range(blocks.draws.shape[1]))
    assert (blocks.draws.sum(axis=1) == blocks.draws.shape[1]).all()
