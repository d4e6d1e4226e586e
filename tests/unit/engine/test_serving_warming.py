"""Versions with other features warm up beside those that serve."""

from __future__ import annotations

import pytest

from engine import events as e
from tests.support.core import BTC, MemoryRecorder, quote
from tests.support.serving import Answers, Shelf
from tests.support.trusting import opened, states


@pytest.mark.fault("E7")
@pytest.mark.fault("E8")
def test_a_version_with_other_features_serves_from_the_first_row_on_which_they_are_warm() -> None:
    """Until then the one before does; the row that makes them warm is the new one's."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(quote(10))
    core.on_event(shelf.offer(11, "b@1"))
    for ts_ns in (12, 13, 14, 15):
        core.on_event(quote(ts_ns))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "a@1", "a@1", "b@1", "b@1"]
    assert states(recorder) == [("champion", "b@1", "warming", 1.0)]
    lane = core.lanes[BTC]
    assert lane.features is shelf.made[1]
    assert not lane.beside


def test_a_hole_in_the_feed_holds_up_what_warms_up() -> None:
    """Both buffers begin again, and neither model is asked before its own is warm."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1"))
    for ts_ns in (12, 13):
        core.on_event(quote(ts_ns))
    core.on_event(e.Gap(14, 14, "coinbase", BTC, 3, 5))
    for ts_ns in (15, 16, 17):
        core.on_event(quote(ts_ns))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "a@1", "a@1", "a@1", "b@1"]


def test_who_warms_up_may_be_called_off() -> None:
    """The champion offered again, or another version: the buffer goes with it."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1"))
    core.on_event(shelf.offer(12, "a@1"))
    assert states(recorder)[-1][2] == "gone"
    for ts_ns in range(13, 20):
        core.on_event(quote(ts_ns))
    assert {one.model for one in recorder.of(e.Prediction)} == {"a@1"}
    assert core.lanes[BTC].features is shelf.made[0]


def test_a_canary_with_other_features_is_asked_about_its_own_rows() -> None:
    """Warming at first, then serving; the champion's rows go on meanwhile, and features are shared with who comes."""
    recorder, shelf = MemoryRecorder(), Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other":1}'
    core = opened(recorder, shelf)
    core.on_event(shelf.offer(11, "b@1", "canary", 0.5))
    for ts_ns in (12, 13, 14):
        core.on_event(quote(ts_ns))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "a@1", "a@1", "b@1"]
    assert states(recorder) == [("canary", "b@1", "warming", 1.0), ("canary", "b@1", "serving", 1.0)]
    core.on_event(shelf.offer(15, "b@1"))
    core.on_event(quote(16))
    assert [one.model for one in recorder.of(e.Prediction)][-1] == "b@1"
    assert len(shelf.made) == 2
