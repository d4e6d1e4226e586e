"""Points, issues and rates, of gates and of arrays."""

from __future__ import annotations

import numpy as np

from engine.quality.report import QualityLine, count_codes, hours_before, recent_report, whole_report
from engine.quality.verdicts import CROSSED, DROPPED, LOCKED, OUTLIER, SUSPECT, issue_of, verdict_of
from tests.support.quality import START, S, gate, quote

HOUR = 3600 * S


def test_a_line_counts_each_point_once() -> None:
    """Ten points: two locked, one crossed, one outlier; rates of both kinds; nothing at all is no division by zero."""
    codes = np.array([0] * 6 + [4 * LOCKED] * 2 + [DROPPED + 4 * CROSSED, SUSPECT + 4 * OUTLIER], np.uint8)
    line = QualityLine.of(count_codes(codes))
    assert line == QualityLine(
        points=10,
        suspect=1,
        dropped=1,
        issues={"crossed": 1, "locked": 2, "outlier": 1},
        issue_rate=0.4,
        unused_rate=0.2,
    )
    assert QualityLine.of(count_codes(codes[:0])).issue_rate == 0.0


def test_the_last_hours_of_an_array_are_by_receive_time() -> None:
    """Of four hours the last two."""
    recv_ns = START + np.arange(5) * HOUR
    codes = np.array([4 * LOCKED] * 3 + [0, 0], np.uint8)
    line = QualityLine.of(count_codes(codes, recv_ns, hours_before(int(recv_ns[-1]), 2)))
    assert (line.points, line.issues) == (3, {"locked": 1})


def test_reports_of_gates_whole_and_recent() -> None:
    """One is mute and left out, one ended two hours before the other; hours count to the newest of all."""
    old, new = gate(), gate()
    old.quote(quote(0))
    new.quote(quote(0, spread_px=0.0))
    new.quote(quote(2 * HOUR, 100.01))
    gates = {"old": old, "new": new, "mute": gate()}
    whole = whole_report(gates)
    assert {name: line.points for name, line in whole.items()} == {"old": 1, "new": 2}
    assert whole["new"].issues == {"locked": 1}
    assert {name: line.points for name, line in recent_report(gates, 2).items()} == {"new": 1}
    assert {name: line.points for name, line in recent_report(gates, 3).items()} == {"old": 1, "new": 2}
    assert recent_report(gates, 10**6).keys() == whole.keys()
    assert recent_report({}, 24) == recent_report({"mute": gate()}, 24) == {}


def test_codes_have_names() -> None:
    """As metric labels and reports use them."""
    assert (verdict_of(0), issue_of(0)) == ("accepted", "")
    assert (verdict_of(SUSPECT + 4 * OUTLIER), issue_of(SUSPECT + 4 * OUTLIER)) == ("suspect", "outlier")
