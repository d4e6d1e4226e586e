"""Declarations of sampling and gaps refuse what they cannot mean."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import DataError
from engine.features import GapPolicy, Sampling


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "tick", "ticks": 5},
        {"kind": "tick", "interval_ns": 5},
        {"kind": "tick_bar", "ticks": 0},
        {"kind": "tick_bar", "ticks": 5, "lateness_ns": 1},
        {"kind": "time_bar"},
        {"kind": "time_bar", "interval_ns": -1},
        {"kind": "time_bar", "interval_ns": 1_000_000_000, "lateness_ns": 2_000_000_000},
        {"kind": "time_bar", "interval_ns": 1_000_000_000, "ticks": 2},
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any]) -> None:
    """Each raises DataError that names the kind."""
    with pytest.raises(DataError, match=f"sampling '{fields['kind']}'"):
        Sampling(**fields)


def test_a_negative_bound_is_refused() -> None:
    """Both bounds."""
    for fields in ({"silence_ns_max": -1}, {"flat_rows_max": -1}):
        with pytest.raises(DataError, match="negative bound"):
            GapPolicy(**fields)


def test_a_sampling_reads_as_words() -> None:
    """For logs and errors."""
    assert str(Sampling.tick()) == "every tick"
    assert str(Sampling.tick_bar(7)) == "bars of 7 ticks"
    assert str(Sampling.time_bar(1_500_000_000)) == "bars of 1.5 s"
