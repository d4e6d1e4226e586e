from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.draws import Draws
from models.evaluation.ranking import (
    auc_draws,
    average_precision,
    best_threshold,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)

sk = pytest.importorskip("sklearn.metrics")
labelled = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60).filter(
    lambda rows: len({up for up, _ in rows}) == 2
)


@given(labelled)
@settings(max_examples=60)
def test_areas_equal_scikit_learns_with_any_ties(rows: list[tuple[bool, int]]) -> None:
    """Few distinct scores, so that ties are the rule."""
    up, p = (np.array(column, float) for column in zip(*rows, strict=True))
    assert roc_auc(up, p) == pytest.approx(sk.roc_auc_score(up, p))
    assert average_precision(up, p) == pytest.approx(sk.average_precision_score(up, p))


def test_the_area_is_the_share_of_ordered_pairs() -> None:
    """Against the definition, pair by pair, with ties."""
    random = np.random.default_rng(1)
    up, p = (random.random(200) < 0.4).astype(float), np.round(random.random(200), 1)
    ups, downs = p[up == 1], p[up == 0]
    wins = (ups[:, None] > downs[None]).sum() + 0.5 * (ups[:, None] == downs[None]).sum()
    assert roc_auc(up, p) == pytest.approx(wins / (len(ups) * len(downs)))


def test_one_class_alone_has_no_order() -> None:
    """Only ups: a half; no ups: precision has nothing to find."""
    assert roc_auc(np.ones(5), np.arange(5.0)) == 0.5
    assert average_precision(np.zeros(5), np.arange(5.0)) == 0.0


def test_a_draw_is_scored_as_if_its_rows_were_repeated() -> None:
    """Weights of each of five draws against scikit-learn on the repeated rows."""
    random = np.random.default_rng(3)
    up, p = (random.random(300) < 0.3).astype(float), np.round(random.random(300), 2)
    draws = Draws.by_span(np.arange(300) * 10**9, 1.0, draws=5)
    roc, precision = auc_draws(up, p, draws)
    for number, counts in enumerate(draws.counts):
        rows = np.repeat(np.arange(300), counts[draws.of_row].astype(int))
        assert roc[number] == pytest.approx(sk.roc_auc_score(up[rows], p[rows]))
        assert precision[number] == pytest.approx(sk.average_precision_score(up[rows], p[rows]))


def test_the_threshold_is_the_one_with_the_greatest_f1() -> None:
    """Every score tried by hand; "up" from the threshold on, itself included."""
    random = np.random.default_rng(5)
    up = (random.random(400) < 0.2).astype(float)
    p = np.round(0.3 * up + random.random(400), 2)
    found = best_threshold(up, p)
    tried = {float(t): sk.f1_score(up, p >= t) for t in np.unique(p)}
    assert tried[found] == pytest.approx(max(tried.values()))


def test_curves_begin_and_end_where_they_must() -> None:
    """More points than a chart shows: thinned, the ends kept."""
    random = np.random.default_rng(6)
    up = (random.random(5000) < 0.5).astype(float)
    x, y = roc_curve(up, random.random(5000))
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert len(x) <= 400
    recall, precision = precision_recall_curve(up, random.random(5000))
    assert recall[-1] == 1.0
    assert precision[-1] == pytest.approx(up.mean())
