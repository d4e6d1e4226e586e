"""When a verdict is told: at each look at which something new is known, and again where it could not be carried out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine import events as e
from models.observer.comparing import Comparisons
from models.observer.maturing import Matured, Reading
from models.observer.paired import Paired
from models.observer.rollout import RolloutRules
from models.observer.rules import WatchRules
from models.observer.track import Track

KEY = ("champion@1", "other@2", "canary")
SPAN_NS = 60_000_000_000


def comparisons() -> tuple[Comparisons, Paired]:
    made = Comparisons(RolloutRules(automatic=True), latency_us=lambda _: 10.0)
    paired = made.pairs[KEY] = Paired(SPAN_NS)
    return made, paired


def add(paired: Paired, first: int, last: int, *, loss: float, profit_bps: float | None) -> None:
    """A row of both in each span, and where it has a profit a signal of the challenger."""
    for number in range(first, last):
        at = number * SPAN_NS
        paired.lost("X", at, at + 1, challenger=0.7 + loss, champion=0.7)
        if profit_bps is not None:
            paired.won("X", at, at + 1, profit_bps, challenger=True)


def always(_: int) -> bool:
    return True


def nothing(_: Matured) -> None:
    return None


def said(made: Comparisons) -> list[str]:
    return [told.verdict.said for told in made.due([])]


def test_a_challenger_that_goes_silent_is_demoted_by_its_losses() -> None:
    made, paired = comparisons()
    add(paired, 0, 210, loss=0.0, profit_bps=0.0)
    assert said(made) == ["stay"]
    add(paired, 210, 600, loss=1.0, profit_bps=None)
    assert said(made) == ["demote"]
    assert said(made) == []


def test_what_could_not_be_carried_out_is_told_at_the_next_look() -> None:
    made, paired = comparisons()
    add(paired, 0, 250, loss=1.0, profit_bps=-20.0)
    (told,) = made.due([])
    assert told.verdict.said == "demote"
    add(paired, 250, 251, loss=1.0, profit_bps=-20.0)
    assert said(made) == [], "told, and carried out for all that is known"
    made.not_done(told)
    assert said(made) == ["demote"]
    assert said(made) == []


def test_labels_of_unlike_length_make_spans_that_are_long_enough_for_signals_of_either() -> None:
    """Champion and challenger look ahead an hour and a second: no losses are compared, profits are."""
    rows = SimpleNamespace(instrument="X")
    plain: dict[str, Any] = {"rows": rows, "is_return": False, "speaks_at": always, "known_at": nothing}
    champion: Any = SimpleNamespace(version=KEY[0], role="champion", reach=3_600, **plain)
    canary: Any = SimpleNamespace(version=KEY[1], role=KEY[2], reach=1, **plain)
    made = Comparisons(RolloutRules(), latency_us=lambda _: 10.0)
    hour_ns = 60 * SPAN_NS
    for number in range(1, 25):
        at = number * hour_ns
        made.matured((champion, canary), champion, Matured(number, at - hour_ns, 0.5, True, hour_ns), number)
        made.ended((champion, canary), champion, at - hour_ns, at, -20.0, number)
    (paired,) = made.pairs.values()
    assert paired.span_ns == 128 * SPAN_NS
    assert (paired.rows, paired.champion_signals) == (0, 24)
    assert paired.profits.count > 5


def test_a_verdict_is_a_line_that_an_operator_can_read() -> None:
    """In the log, and among the figures of the pair until another one is told."""
    made, paired = comparisons()
    (name,) = made.plain()
    assert made.plain()[name]["verdict"] == "wait"
    add(paired, 0, 250, loss=1.0, profit_bps=-20.0)
    (told,) = made.due([])
    assert str(told).startswith("other@2 (canary) beside champion@1: demote; log_loss failed: +1 nats a row, 249 spans")
    assert str(told).endswith(str(made.plain()[name]["verdict"]))
    assert "Verdict(" not in str(told)


def track(version: str, role: str, reading: Reading, rows: Any) -> Track:
    return Track(version, role, rows, reading, WatchRules(), fee_bps=0.0, bundle=None)


class Bars:
    """Rows of their own every ``step`` seconds of one market, as far as they are looked at."""

    instrument, begun = "X", 0

    def __init__(self, step: int) -> None:
        self.step, self.count, self.ts_recv_ns = step, 0, 0

    def recv_ns(self, row: int) -> int:
        return (row + 1) * self.step * 1_000_000_000

    def px(self, row: int) -> float:
        return 100.0 + (((row + 1) * self.step) // 20) % 2

    def made(self, second: int) -> bool:
        self.count += (is_row := second % self.step == 0)
        self.ts_recv_ns = second * 1_000_000_000
        return is_row


def beside(ours: Reading, theirs: Reading, steps: tuple[int, int], seconds: int = 3_000) -> Comparisons:
    """A champion and a shadow on rows of their own, each as sure of each move of the price as it always is."""
    made = Comparisons(RolloutRules(), latency_us=lambda _: 10.0)
    bars = tuple(map(Bars, steps))
    pair = (track("champion@1", "champion", ours, bars[0]), track("other@2", "shadow", theirs, bars[1]))
    for second in range(1, seconds):
        for rows, one in zip(bars, pair, strict=True):
            if not rows.made(second):
                continue
            for known in one.mature():
                made.matured(pair, one, known, second)
            row, at = rows.count - 1, rows.recv_ns(rows.count - 1)
            p = 0.5 if one is pair[0] else 0.4
            said = e.Prediction(at, at, "X", one.version, e.PredictionStatus.OK, (p,))
            one.on_prediction(said, row, second)
    return made


def test_a_challenger_of_other_features_is_compared_where_its_rows_fall_together() -> None:
    """Bars of one and of five seconds, each with a label of thirty: the same moves of the price."""
    made = beside(Reading(30), Reading(6), (1, 5))
    (paired,) = made.pairs.values()
    assert 250 < paired.rows < 600
    gap = paired.loss_gap()
    assert gap is not None
    assert gap.value == pytest.approx(0.02, abs=0.04)


def test_a_challenger_that_can_never_be_compared_is_told_so_at_once() -> None:
    made = beside(Reading(30), Reading(35), (1, 1))
    (told,) = made.due([])
    assert told.verdict.said == "wait"
    assert "no loss can be compared, and a person is to decide (models canary" in str(told)
    assert made.due([]) == []


def test_nobody_is_promoted_at_the_look_at_which_an_alarm_is_raised() -> None:
    """The daemon has not heard of it yet, and an alarm about the market leaves a canary where it is."""
    made, paired = comparisons()
    add(paired, 0, 400, loss=-0.5, profit_bps=20.0)
    canary = track(KEY[1], KEY[2], Reading(30), Bars(1))
    one = canary, track(KEY[0], "champion", Reading(30), Bars(1))
    for each in one:
        for number in range(200):
            each.outcomes.add(0.5, number % 2 == 0)
    assert [told.verdict.said for told in made.judge_now(list(one))] == ["promote"]
    canary.on_alarm("psi", "alert")
    assert [told.verdict.said for told in made.judge_now(list(one))] == ["promote"]
    canary.on_alarm("psi", "stop")
    (told,) = made.judge_now(list(one))
    assert (told.verdict.said, told.verdict.tests["standing"][0]) == ("stay", False)
    canary.on_alarm("psi", "clear")
    assert [told.verdict.said for told in made.judge_now(list(one))] == ["promote"]
