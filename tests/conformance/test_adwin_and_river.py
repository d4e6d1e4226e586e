"""Our ADWIN sees a change where river's does, at the very value, and keeps the same window."""

from __future__ import annotations

import json

import pytest

from models.observer.adwin import Adwin
from tests.support.river_adwin import FOUND, STREAMS, Found, stream

BY_RIVER = [Found(*one) for one in json.loads(FOUND.read_text())]


def test_there_is_something_to_compare() -> None:
    assert len(BY_RIVER) == STREAMS
    assert 30 < sum(one.at >= 0 for one in BY_RIVER) < STREAMS


@pytest.mark.parametrize("number", range(STREAMS))
def test_a_change_is_seen_at_the_same_value_and_leaves_the_same_window(number: int) -> None:
    delta, values = stream(number)
    adwin = Adwin(delta)
    at = next((place for place, value in enumerate(values) if adwin.add(value)), -1)
    expected = BY_RIVER[number]
    assert (at, adwin.count) == (expected.at, expected.width)
    assert adwin.mean * adwin.count == pytest.approx(expected.total, rel=1e-9)
