"""Settings and the gate's own defaults are the same numbers."""

from __future__ import annotations

import pytest

from config.data_schema import QualitySettings
from config.schema import Settings
from engine.errors import ConfigError
from engine.quality.tolerances import Tolerances


def test_the_settings_default_to_the_gates_defaults() -> None:
    """Whoever builds a gate without settings gets the documented one."""
    assert Settings().quality.tolerances() == Tolerances()


def test_settings_reach_the_gate_with_their_units() -> None:
    """Milliseconds become nanoseconds."""
    made = QualitySettings(confirm_ms=5, future_ms=6, stale_ms=7, late_ms=8, clock_offset_max_ms=9).tolerances()
    assert (made.confirm_ns, made.future_ns, made.stale_ns) == (5_000_000, 6_000_000, 7_000_000)
    assert (made.late_ns, made.clock_offset_ns_max) == (8_000_000, 9_000_000)


def test_late_below_future_is_refused_in_the_settings() -> None:
    """The reason is told."""
    with pytest.raises(ValueError, match="late_ms of at least future_ms"):
        QualitySettings(late_ms=10, future_ms=11)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_limit_is_refused(bad: float) -> None:
    """By name."""
    with pytest.raises(ConfigError, match="outlier_z"):
        Tolerances(outlier_z=bad)
    with pytest.raises(ConfigError, match="late"):
        Tolerances(late_ns=1, future_ns=2)
