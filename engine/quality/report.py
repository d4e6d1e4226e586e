"""How good the data was: points processed, issues by kind and the issue rate, per instrument.

Owns the shape of the report and its arithmetic, for a running session, a finished one and stored files alike.  What is
counted is counted by the gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.quality import layout as at
from engine.quality.gate import Codes, Float64Array, Int64Array, QualityGate
from engine.quality.kernel import HOUR_NS
from engine.quality.verdicts import ISSUES


class QualityLine(msgspec.Struct, frozen=True, kw_only=True):
    """Judgements of one stream or instrument.  ``points`` are accepted, suspect or dropped; each has at most one issue.

    ``issue_rate`` is the share of points with an issue, accepted ones (locked, volume_spike, confirmed) included;
    ``unused_rate`` that of suspect and dropped ones.
    """

    points: int
    suspect: int
    dropped: int
    issues: dict[str, int]
    issue_rate: float
    unused_rate: float

    @classmethod
    def of(cls, counts: npt.NDArray[Any]) -> QualityLine:
        """From counts as the gate keeps them: three verdicts, then each issue."""
        accepted, suspect, dropped = (int(n) for n in counts[: at.COUNT_ISSUE])
        issues = {name: int(n) for name, n in zip(ISSUES, counts[at.COUNT_ISSUE :], strict=True) if name and n}
        points = accepted + suspect + dropped
        return cls(
            points=points,
            suspect=suspect,
            dropped=dropped,
            issues=issues,
            issue_rate=_rate(sum(issues.values()), points),
            unused_rate=_rate(suspect + dropped, points),
        )


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 9) if whole else 0.0


def whole_report(gates: Mapping[str, QualityGate]) -> dict[str, QualityLine]:
    """Of everything each gate has judged; instruments of which nothing came are left out."""
    return _lines((name, gate.counts) for name, gate in gates.items())


def recent_report(gates: Mapping[str, QualityGate], hours: int) -> dict[str, QualityLine]:
    """Of the last ``hours`` (1 to 48) of receive time, the one that runs included, up to the newest event of any."""
    newest = max((gate.newest_hour for gate in gates.values()), default=-1)
    return _lines((name, gate.counts_since(newest - min(hours, at.HOURS) + 1)) for name, gate in gates.items())


def _lines(counted: Iterable[tuple[str, Float64Array]]) -> dict[str, QualityLine]:
    lines = {name: QualityLine.of(counts) for name, counts in counted}
    return {name: line for name, line in lines.items() if line.points}


def count_codes(codes: Codes, recv_ns: Int64Array | None = None, first_ns: int = 0) -> npt.NDArray[np.int64]:
    """Judgements of an array as the gate counts them; with ``recv_ns`` only those received from ``first_ns`` on."""
    wanted = codes if recv_ns is None else codes[recv_ns >= first_ns]
    verdicts = np.bincount(wanted & 3, minlength=at.COUNT_ISSUE)
    return np.concatenate([verdicts, np.bincount(wanted >> 2, minlength=len(ISSUES))])


def hours_before(last_ns: int, hours: float) -> int:
    """First receive time of the last ``hours`` that end at ``last_ns``."""
    return last_ns - int(hours * HOUR_NS)
