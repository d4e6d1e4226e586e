"""Models that forecast returns beside each other: the better one is promoted by the rules, an equal one is not, and a
worse one goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.events import Prediction, PredictionStatus
from models.observer.comparing import UNLIKE_ROWS, Comparisons
from models.observer.evidence import EvidenceStore, Key
from models.observer.losses import RETURN_GAP_MAX, compared_loss
from models.observer.maturing import Reading
from models.observer.paired import Paired
from models.observer.rollout import RolloutRules, Verdict, judge
from models.observer.rules import WatchRules
from models.observer.track import Track

HORIZON = 4
KNOWN = 0.8e-4
"""Deviation of what can be known of the next row's move; the rest has 1 bp."""
SPREAD_BPS = 0.2
RULES = RolloutRules(signals_min=50, span_s=60.0, profit_max_bps=60.0)
READING = Reading(HORIZON, None, number=0, error_max=5e-4)

Say = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""What a model makes of what can be known of the return over the horizon, ``(N,)``."""


class Market:
    """A row a second, as far as it was looked at.  Half of the time the price stands still: a median is nothing."""

    instrument, begun = "X", 0

    def __init__(self, seed: int, rows: int) -> None:
        random = np.random.default_rng(seed)
        still = random.random(rows) < 0.5
        known = np.where(still, 0.0, random.normal(size=rows) * KNOWN)
        steps = known + np.where(still, 0.0, random.standard_t(5, size=rows) * 1e-4)
        self._px = 60_000.0 * np.exp(np.cumsum(steps))
        ahead = np.concatenate([known, np.zeros(HORIZON)])
        self.known = np.array([ahead[row + 1 : row + 1 + HORIZON].sum() for row in range(rows)])
        self.rows, self.count, self.ts_recv_ns = rows, 0, 0

    def recv_ns(self, row: int) -> int:
        return (row + 1) * 1_000_000_000

    def px(self, row: int) -> float:
        return float(self._px[row]) if row < self.count else math.nan


def truth(known: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return known


def nothing(known: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.full_like(known, 1e-9)


def contrary(known: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return -known


def boastful(known: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return 6.0 * known


def noisy(known: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 0.5 * known + random.normal(size=len(known)) * KNOWN


def stands(_: Key) -> bool:
    return True


class Course:
    """A champion and a shadow on one market, looked at as an observer does; ``said``: each verdict that was told."""

    def __init__(
        self, champion: Say, shadow: Say, *, seed: int = 1, rows: int = 12_000, reading: Reading = READING, **given: Any
    ) -> None:
        self.market: Any = Market(seed, rows)
        random = np.random.default_rng(seed + 1_000)
        self._forecasts = [say(self.market.known, random) for say in (champion, shadow)]
        self.made = Comparisons(RULES, latency_us=lambda _: 10.0, **given)
        self.pair = tuple(
            Track(version, role, self.market, one, WatchRules(), fee_bps=0.0, bundle=None)
            for version, role, one in (("c@1", "champion", READING), ("s@2", "shadow", reading))
        )
        self.said: list[str] = []

    def play(self, first: int = 0, last: int | None = None) -> Course:
        for row in range(first, self.market.rows if last is None else last):
            self._row(row)
            if row % 300 == 299:
                self.said += [told.verdict.said for told in self.made.due(list(self.pair))]
        return self

    def _row(self, row: int) -> None:
        market, made, pair = self.market, self.made, self.pair
        at_ns = market.recv_ns(row)
        for rows in [market, *[track.rows for track in pair]]:
            rows.count, rows.ts_recv_ns = row + 1, at_ns
        for track, said in zip(pair, self._forecasts, strict=True):
            for known in track.mature():
                made.matured(pair, track, known, row)
            told = Prediction(at_ns, at_ns, "X", track.version, PredictionStatus.OK, (float(said[row]),))
            track.on_prediction(told, row, 2 * row, spread_bps=SPREAD_BPS)
        px = market.px(row)
        half = px * SPREAD_BPS / 2e4
        for track in pair:
            ended = track.on_prices(px - half, px + half, 2 * row + 1, at_ns)
            if ended is not None:
                made.ended(pair, track, ended[0], at_ns, ended[1], row)

    @property
    def paired(self) -> Paired:
        (found,) = self.made.pairs.values()
        return found

    def tests(self) -> dict[str, tuple[bool, str]]:
        (judged,) = self.made.judge_now(list(self.pair))
        return judged.verdict.tests


@pytest.mark.fault("E7")
def test_a_better_model_of_returns_is_promoted_by_the_rules() -> None:
    """Beside one that knows nothing, and is never sure enough of a move to trade."""
    course = Course(nothing, truth).play()
    assert "promote" in course.said
    assert "demote" not in course.said
    tests = course.tests()
    assert all(passed for passed, _ in tests.values())
    assert "nats a row" in tests["log_loss"][1]
    assert "bps a signal after cost" in tests["net"][1]
    assert course.paired.champion_signals == 0
    assert course.paired.signals > 1_000


@pytest.mark.parametrize("worse", [contrary, noisy])
def test_a_worse_model_of_returns_is_demoted(worse: Say) -> None:
    course = Course(truth, worse).play()
    assert "demote" in course.said
    assert "promote" not in course.said


def test_who_has_the_right_side_and_says_six_times_too_much_is_not_promoted() -> None:
    """It wins what the champion does: it is its errors that are worse, and they are no matter of luck."""
    course = Course(truth, boastful).play()
    assert "promote" not in course.said
    tests = course.tests()
    assert not tests["log_loss"][0]
    assert not tests["calibration"][0]
    assert tests["net"][0]


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_is_as_good_is_neither_promoted_nor_demoted(seed: int) -> None:
    """Errors of the same size and of their own: each is right where the other is not."""
    course = Course(noisy, noisy, seed=seed, rows=6_000).play()
    assert set(course.said) <= {"stay"}
    gap = course.paired.loss_gap()
    assert gap is not None
    assert gap.value == pytest.approx(0.0, abs=0.02)


def test_losses_are_of_the_rows_from_when_on_the_scale_was_known() -> None:
    """Until then nothing is compared, and nobody is told that nothing ever can be."""
    far = Reading(400, None, number=0)
    course = Course(truth, nothing, rows=1_000, reading=far)
    course.pair = (Track("c@1", "champion", course.market, far, WatchRules(), fee_bps=0.0, bundle=None), course.pair[1])
    course.play()
    assert not course.made.pairs or course.paired.rows == 0
    assert course.said == []
    course = Course(truth, nothing, rows=400).play()
    assert 200 < course.paired.rows <= 400 - 100 - HORIZON
    assert course.paired.loss_gap_max == RETURN_GAP_MAX


def test_both_are_measured_by_the_champions_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shadow has rows of its own, which began later, and has seen other moves: by a unit of its own it would lose
    more or less for the same error."""
    course = Course(noisy, noisy, rows=1_000)
    own: Any = Market(1, 1_000)
    own._px[:500] = math.nan
    late = Track("s@2", "shadow", own, READING, WatchRules(), fee_bps=0.0, bundle=None)
    course.pair = (course.pair[0], late)
    course.play(0, 600)
    late.known.clear()
    added: list[tuple[float, float]] = []
    monkeypatch.setattr(Paired, "lost", lambda *_, challenger, champion: added.append((challenger, champion)))
    course.play(600, 900)
    best = {one.row: one for one in course.pair[0].known}
    assert added == [(best[one.row].loss_of(one.said), best[one.row].loss_of(best[one.row].said)) for one in late.known]
    assert len(added) > 200
    assert all(one.scale != best[one.row].scale for one in late.known)


def test_a_probability_and_a_return_are_not_compared_and_a_person_is_told() -> None:
    """Of the same rows and the same horizon."""
    course = Course(truth, truth, rows=UNLIKE_ROWS + 200, reading=Reading(HORIZON)).play()
    assert course.paired.rows == 0
    assert course.tests()["rows"][0] is False
    assert "kind of forecast" in course.tests()["rows"][1]


def test_signals_of_a_probability_beside_a_return_are_compared_in_spans_that_are_long_enough() -> None:
    """Of the same rows and the same horizon of 50 s: in spans of a minute were the signals of its first ten seconds."""
    course = Course(lambda known, _: np.full_like(known, 0.7), truth, rows=4_000)
    course.pair = tuple(
        Track(version, role, course.market, reading, WatchRules(), fee_bps=0.0, bundle=None)
        for version, role, reading in (
            ("c@1", "champion", Reading(50, 0, 0.6, 0.4)),
            ("s@2", "shadow", Reading(50, None, number=0)),
        )
    )
    paired = course.play().paired
    assert (paired.rows, paired.span_ns) == (0, 120_000_000_000)
    assert paired.profits.count > 25


def test_who_has_not_the_output_that_is_traded_on_is_not_promoted_whatever_it_wins() -> None:
    """It could not serve, and would stand as a canary that nobody ever asks."""
    reading = Reading(HORIZON, None, number=0, error_max=5e-4, lacks="h20")
    course = Course(nothing, truth, reading=reading).play()
    assert set(course.said) == {"stay"}
    tests = course.tests()
    assert not tests.pop("standing")[0]
    assert all(passed for passed, _ in tests.values())
    assert "demote" in Course(truth, contrary, reading=reading).play().said


def test_evidence_of_returns_goes_on_where_a_process_before_left_it(tmp_path: Path) -> None:
    """Killed in the middle: the next one reads the record again from its begin, counts nothing twice, and finds what
    one does that was never killed."""

    def kept() -> EvidenceStore:
        return EvidenceStore(tmp_path, "live", "one")

    whole = Course(noisy, truth, rows=3_000).play()
    first = Course(noisy, truth, rows=3_000, store=kept()).play(0, 1_500)
    first.made.keep(1_499, first.market.ts_recv_ns, stands, at_end=True)
    again = Course(noisy, truth, rows=3_000, store=kept()).play()
    assert again.paired == whole.paired
    assert again.paired.losses.count > 30
    key: Key = ("c@1", "s@2", "shadow")
    again.made.keep(2_999, again.market.ts_recv_ns, stands, at_end=True)
    next_one = EvidenceStore(tmp_path, "live", "two")
    next_one.hold()
    assert next_one.load(key) == (whole.paired, 0, again.market.ts_recv_ns)


# --- many courses -----------------------------------------------------------------------------------------------------

SPANS, ROWS = 400, 6


def beside(seed: int, champion: float, challenger: float) -> Iterator[Verdict]:
    """What is said of both after each span: each has said so much of what can be known, and noise of its own, of moves
    with heavy tails that go on being wild or calm; the profit of its one signal a span is that of the side it was on.
    """
    random = np.random.default_rng(seed)
    paired = Paired(span_ns=100, profit_max_bps=40.0, loss_gap_max=RETURN_GAP_MAX)
    wild = np.exp(np.cumsum(random.normal(size=SPANS)) * 0.05)[:, None]
    known = random.normal(size=(SPANS, ROWS)) * wild
    came = known + random.standard_t(4, size=(SPANS, ROWS)) * wild
    noise = random.normal(size=(2, SPANS, ROWS)) * wild
    said = champion * known + 0.7 * noise[0], challenger * known + 0.7 * noise[1]
    for span in range(SPANS):
        at, scale = span * 100, 1.8 * float(wild[max(span - 1, 0), 0])
        for row, outcome in enumerate(came[span].tolist()):
            lost = [compared_loss(float(one[span, row]), outcome, scale) for one in said]
            paired.lost("X", at + row, at + row + 1, challenger=lost[1], champion=lost[0])
        for one, is_challenger in zip(said, (False, True), strict=True):
            profit_bps = float(np.sign(one[span, 0]) * came[span, 0])
            paired.won("X", at, at + 1, profit_bps, challenger=is_challenger)
        yield judge(paired, RolloutRules(signals_min=20), ece=0.0, champion_ece=0.0, latency_p99_us=1.0)


def test_models_that_are_as_good_are_hardly_ever_taken_for_better_in_thousands_of_looks() -> None:
    """Eighty courses, a look after each span: declared are four in which the loss is ever shown to be lower, and no
    more of promotions and demotions; of profit the same holds (``test_rules``)."""
    lower = promoted = demoted = 0
    for seed in range(80):
        verdicts = list(beside(seed, 0.5, 0.5))
        lower += any(one.tests["log_loss"][0] for one in verdicts if "log_loss" in one.tests)
        promoted += any(one.said == "promote" for one in verdicts)
        demoted += any(one.said == "demote" for one in verdicts)
    assert lower <= 4
    assert promoted <= 4
    assert demoted <= 4


def test_models_that_are_better_are_found_in_most_courses_and_worse_ones_go() -> None:
    promoted = demoted = 0
    for seed in range(10):
        promoted += any(one.said == "promote" for one in beside(seed, 0.0, 1.0))
        demoted += any(one.said == "demote" for one in beside(seed, 1.0, 0.0))
    assert promoted >= 6
    assert demoted >= 8
