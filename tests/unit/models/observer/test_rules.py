"""Alarms and their end, the verdict of a challenger, weights of members: pure functions, case by case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.observer.paired import Paired
from models.observer.rollout import RolloutRules, Verdict, judge
from models.observer.rules import Standing, WatchRules, alarms
from models.observer.weights import recent_weights


@pytest.mark.fault("E10")
@pytest.mark.parametrize(
    ("figures", "sources"),
    [
        ({}, []),
        ({"psi": {"a": 0.3, "b": 0.26, "c": 9.0, "d": 0.1}}, ["psi"]),
        ({"psi": {"a": 0.3, "b": 0.26, "c": 0.25}}, []),
        ({"inputs_changed": ("a", "b", "c", "d")}, ["adwin_inputs"]),
        ({"inputs_changed": ("a", "b")}, []),
        ({"output_psi": 0.4}, ["output"]),
        ({"loss_rose": True, "loss_recent": 0.8}, ["adwin"]),
        ({"miscalibrated": True, "ece": 0.2, "matured": 500}, ["calibration"]),
        ({"miscalibrated": True, "coverage": 0.6, "matured": 500}, ["calibration"]),
        ({"miscalibrated": True, "ece": 0.2, "matured": 499}, []),
        ({"miscalibrated": False, "ece": 0.4, "matured": 4_000}, []),
        ({"hits_short": [{"from": 0.6, "to": 1.0, "rows": 80, "said": 0.95, "hit_rate": 0.5}]}, ["hits"]),
        ({"variance_ratio": 9.0}, []),
        ({"variance_recent": 4.0, "variance_labels": 30}, ["volatility"]),
        ({"late_of": 1_000, "late_recent": 51}, ["latency"]),
        ({"late_of": 1_000, "late_recent": 50}, []),
        ({"late_of": 499, "late_recent": 499}, []),
        ({"predictions": 10**6, "late": 10**6, "late_of": 1_000, "late_recent": 0}, []),
        ({"skewed_recent": 3, "skewed_of": 40, "skew_worst": "0.2 for 0.7"}, ["skew"]),
        ({"skewed_recent": 2, "skewed_of": 40}, []),
    ],
)
def test_what_is_beyond_its_limit_is_an_alarm(figures: dict[str, Any], sources: list[str]) -> None:
    assert [alarm.source for alarm in alarms(figures, WatchRules())] == sources


@pytest.mark.fault("E10")
def test_an_alarm_is_told_once_and_an_alert_is_cleared_when_it_ends() -> None:
    rules = WatchRules(psi_columns=1, calibration="size_down")
    standing = Standing()
    drifted: dict[str, Any] = {"psi": {"a": 1.0}, "miscalibrated": True, "matured": 1_000}
    told = standing.changes(alarms(drifted, rules), rules)
    assert [(source, action) for source, action, _ in told] == [("psi", "alert"), ("calibration", "size_down")]
    assert told[0][2] == "1 of 1 inputs have a PSI over 0.25: a 1.00"
    assert standing.changes(alarms(drifted, rules), rules) == []
    assert [(source, action) for source, action, _ in standing.changes([], rules)] == [("psi", "clear")]
    assert standing.sources == ("calibration",), "what took size away waits for an operator"


def test_alarms_of_the_record_count_as_told_and_cleared_ones_wait() -> None:
    """Told anew when it has gone and come again, or after a further full window."""
    rules = WatchRules(psi_columns=1, psi="stop", window_rows=100)
    drifted = alarms({"psi": {"a": 1.0}}, rules)
    standing = Standing()
    standing.on_record("psi", "stop", 40)
    standing.on_record("operator", "stop", 40)
    assert standing.changes(drifted, rules, 50) == [], "told before a restart"
    standing.on_record("", "clear", 50)
    assert standing.changes(drifted, rules, 149) == []
    assert [told[:2] for told in standing.changes(drifted, rules, 150)] == [("psi", "stop")]
    standing.on_record("psi", "clear", 160)
    assert standing.changes(drifted, rules, 161) == []
    assert standing.changes([], rules, 162) == []
    assert [told[:2] for told in standing.changes(drifted, rules, 163)] == [("psi", "stop")]


def test_an_alarm_says_what_was_said_and_what_came() -> None:
    """Of several confidences the surest; those that are surer still are not among them."""
    ends = ((0.2, 0.4), (0.4, 0.6))
    sure = [{"from": edge, "to": end, "rows": 1_080, "said": 0.75, "hit_rate": 0.5} for edge, end in ends]
    found = alarms({"hits_short": sure, "variance_recent": 0.31, "variance_labels": 1_200}, WatchRules())
    assert [one.text for one in found] == [
        "of 1,080 predictions of 70% to 80% that share no row 50% came true, 75% was said",
        "the realised variance is 0.31 times the predicted over 1,200 labels that share no row, beyond 0.5 to 2",
    ]


def test_a_source_that_is_switched_off_is_not_told() -> None:
    rules = WatchRules(adwin="none")
    assert Standing().changes(alarms({"loss_rose": True}, rules), rules) == []


def beside(loss: float, profit_bps: float, *, signals: int = 300) -> Paired:
    """A challenger whose loss and profit are that much above the champion's, with noise."""
    rng = np.random.default_rng(11)
    paired = Paired(span_ns=100, profit_max_bps=20.0)
    for number in range(signals):
        at = number * 100
        paired.lost("X", at, at + 30, challenger=0.6 + loss + 0.02 * float(rng.normal()), champion=0.6)
        paired.won("X", at, at + 30, 1.0 + profit_bps + float(rng.normal()), challenger=True)
        paired.won("X", at, at + 30, 1.0, challenger=False)
    return paired


def judged(paired: Paired, rules: RolloutRules | None = None, **given: Any) -> Verdict:
    plain: dict[str, Any] = {"ece": 0.02, "champion_ece": 0.02, "latency_p99_us": 100.0}
    return judge(paired, rules or RolloutRules(), **(plain | given))


def test_a_challenger_that_wins_every_test_is_promoted() -> None:
    verdict = judged(beside(-0.05, 1.0))
    assert verdict.said == "promote"
    assert "log_loss passed: -0.0" in verdict.why
    assert "20 is enough" in verdict.why


def test_without_a_difference_hardly_anybody_is_promoted_or_demoted_in_thousands_of_looks() -> None:
    """Forty challengers as good as their champions, each judged after every span of 400: declared are two of them at
    most for each verdict.  (A test of new signals at 5 % after each 20 of them would promote half.)"""
    rng = np.random.default_rng(12)
    found = {"promote": 0, "demote": 0}
    for _ in range(40):
        paired = Paired(span_ns=100, profit_max_bps=20.0)
        said = set()
        for number, (loss, profit_bps) in enumerate(zip(rng.normal(size=400), rng.normal(size=400), strict=True)):
            at = number * 100
            paired.lost("X", at, at + 30, challenger=0.6 + 0.1 * float(loss), champion=0.6)
            # What a better forecast would have earned: the two tests pass together or not at all.
            paired.won("X", at, at + 30, 0.5 - 3.0 * float(loss) + 0.1 * float(profit_bps), challenger=True)
            paired.won("X", at, at + 30, 0.5, challenger=False)
            said.add(judged(paired, rules=RolloutRules(signals_min=20)).said)
        for one in found:
            found[one] += one in said
    assert found["promote"] <= 2
    assert found["demote"] <= 2


def test_who_wins_little_nearly_always_and_loses_much_is_not_promoted_by_losses_that_are_cut() -> None:
    """Its mean is -5 bps a signal, of probabilities it loses less; cut at the bound its mean would be +10."""
    paired = Paired(span_ns=100)
    for number in range(1_000):
        at = number * 100
        paired.lost("X", at, at + 30, challenger=0.60, champion=0.75)
        paired.won("X", at, at + 30, -1_200.0 if number % 70 == 50 else 12.0, challenger=True)
        if number > 200 and number % 100 == 0:
            verdict = judged(paired, rules=RolloutRules(signals_min=200))
            assert verdict.tests["log_loss"][0]
            assert not verdict.tests["profit"][0]
            assert f"{number // 70 + (number % 70 > 50):,} spans beyond the bound" in verdict.why
    assert verdict.why.count("set models.rollout.profit_max_bps higher") == 1


def test_who_was_compared_on_too_few_days_is_not_promoted_and_still_demoted() -> None:
    """A market of one day is one market."""
    rules = RolloutRules(days_min=2)
    verdict = judged(beside(-0.05, 1.0), rules=rules)
    assert (verdict.said, verdict.tests["days"]) == ("stay", (False, "compared on 1 days, 2 were fixed beforehand"))
    assert judged(beside(0.05, 1.0), rules=rules).said == "demote"


@pytest.mark.parametrize(
    ("paired", "given", "said", "failed"),
    [
        (beside(-0.05, 1.0, signals=199), {}, "wait", "signals"),
        (beside(0.0, 1.0), {}, "stay", "log_loss"),
        (beside(-0.05, 0.0), {}, "stay", "profit"),
        (beside(0.05, 1.0), {}, "demote", "log_loss"),
        (beside(-0.05, -1.5), {}, "demote", "profit"),
        (beside(-0.05, 1.0), {"ece": 0.031}, "stay", "calibration"),
        (beside(-0.05, 1.0), {"ece": None}, "stay", "calibration"),
        (beside(-0.05, 1.0), {"latency_p99_us": 1_001.0}, "stay", "latency"),
        (beside(-0.05, 1.0), {"unlike": "none of 500 rows is one of the champion's"}, "stay", "rows"),
        (beside(-0.05, 1.0), {"withheld": "stopped on X: by operator"}, "stay", "standing"),
    ],
)
def test_a_challenger_that_fails_one_test_stays_and_a_worse_one_goes(
    paired: Paired, given: dict[str, Any], said: str, failed: str
) -> None:
    verdict = judged(paired, **given)
    assert verdict.said == said
    assert not verdict.tests[failed][0]


def test_weights_go_to_who_lost_less_of_late_and_nobody_is_gone_for_good() -> None:
    early, late = np.full(1_000, 0.5), np.full(1_000, 0.9)
    good, bad = np.concatenate([late, early]), np.concatenate([early, late])
    weights = recent_weights([good, bad], half_life=100)
    assert weights[0] > 0.9
    assert weights[1] >= 0.025
    assert recent_weights([np.empty(0)] * 4) == (0.25,) * 4
    with pytest.raises(ValueError, match="same rows"):
        recent_weights([np.ones(2), np.ones(3)])


@given(st.lists(st.lists(st.floats(0, 14), min_size=5, max_size=5), min_size=1, max_size=6))
def test_weights_are_positive_and_sum_to_one(losses: list[list[float]]) -> None:
    weights = recent_weights([np.asarray(one) for one in losses])
    assert min(weights) > 0
    assert sum(weights) == pytest.approx(1.0)
