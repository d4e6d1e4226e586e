"""The sorted window against NumPy's sort."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.features.jit import python_source
from engine.quality import windows
from engine.quality.layout import WINDOW

push = python_source(windows.push)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e12) | st.sampled_from([0.0, 1.0, 1.0, 2.0]), min_size=1, max_size=4 * WINDOW))
def test_order_statistics_are_those_of_the_last_values(values: list[float]) -> None:
    """Any sequence, repeats included: after each value the sorted part is the last 64, sorted."""
    record = np.zeros(2 + 2 * WINDOW)
    for i, value in enumerate(values):
        push(record, 0, value)
        last = np.sort(values[max(0, i + 1 - WINDOW) : i + 1])
        n = len(last)
        np.testing.assert_array_equal(record[2 + WINDOW : 2 + WINDOW + n], last)
    assert python_source(windows.count)(record, 0) == n
    assert python_source(windows.median)(record, 0) == last[(n - 1) // 2]
    assert python_source(windows.largest)(record, 0) == last[-1]
    assert python_source(windows.quartile_range)(record, 0) == last[(3 * n) // 4] - last[n // 4]
