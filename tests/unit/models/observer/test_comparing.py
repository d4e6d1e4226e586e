"""When a verdict is told: at each look at which something new is known, and again where it could not be carried out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from models.observer.comparing import Comparisons
from models.observer.maturing import Matured
from models.observer.paired import Paired
from models.observer.rollout import RolloutRules

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
    champion: Any = SimpleNamespace(version=KEY[0], role="champion", rows=rows, reach=3_600, speaks_at=always)
    canary: Any = SimpleNamespace(version=KEY[1], role=KEY[2], rows=rows, reach=1, speaks_at=always)
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
