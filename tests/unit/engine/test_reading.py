"""Strategies read whatever features an instrument has at the time; what they read of them is known."""

from __future__ import annotations

import pytest

from tests.support.core import BTC, MemoryRecorder, MidModel, Scripted, build_core, open_market, quote


def test_what_is_read_is_known_as_far_as_it_was_there() -> None:
    """A column that is not there is a KeyError, as ever, and needed by nobody; without features there is nothing."""
    core = build_core(MemoryRecorder(), Scripted(), model=MidModel())
    open_market(core)
    features = core.view.features(BTC)
    assert features is not None
    assert (features.warm, features.reason) == (False, "0 of 1 rows")
    core.on_event(quote(10))
    assert features.warm
    assert features.latest("mid") == pytest.approx(100.005)
    with pytest.raises(KeyError):
        features.latest("close")
    lane = core.lanes[BTC]
    assert lane.reading.columns == {"mid"}
    lane.features = None
    assert core.view.features(BTC) is None
    assert (features.warm, features.reason) == (False, "no features")
    with pytest.raises(KeyError):
        features.latest("mid")
