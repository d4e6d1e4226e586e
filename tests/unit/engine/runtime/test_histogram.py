"""The histogram against exact percentiles, and its edges."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.histogram import _SIZE, Histogram, _index, _upper, record_many


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.integers(0, 2**40 - 1))
def test_a_value_lies_in_its_bucket_and_the_bucket_is_narrow(value: int) -> None:
    """Compares any value with the edges of the bucket that counts it."""
    index = _index(value)
    lower = _upper(index - 1) if index else 0
    assert lower <= value < _upper(index)
    assert _upper(index) - lower <= max(1, value / 32)
    assert index < _SIZE


def test_record_and_index_agree() -> None:
    """The inlined index of ``record`` against the function, around every power of two."""
    for bits in range(40):
        for value in {(1 << bits) - 1, 1 << bits, (1 << bits) + 1, 3 << bits >> 1}:
            assert list(filled([value]).buckets()) == [(_upper(_index(value)), 1)]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_percentiles_match_numpy_within_a_bucket(share: float) -> None:
    """20,000 log-normal latencies; the inverted-CDF percentile of NumPy is the oracle."""
    rng = random.Random(7)
    values = [int(rng.lognormvariate(10, 1.5)) for _ in range(20_000)]
    exact = float(np.percentile(np.array(values), share * 100, method="inverted_cdf"))
    assert filled(values).percentile(share) == pytest.approx(exact, rel=1 / 32, abs=1)


def test_an_empty_histogram_has_no_percentile() -> None:
    """NaN, not zero: nothing was measured."""
    assert math.isnan(Histogram().percentile(0.5))
    assert Histogram().count == 0
    with pytest.raises(ValueError, match="not between 0 and 1"):
        Histogram().percentile(50)


def test_negative_and_huge_values_are_counted_at_the_ends() -> None:
    """Clocks that disagree give negatives; 30 minutes lie beyond the last bucket, twice."""
    histogram = filled([-5, 1 << 41, 1 << 41, (1 << 41) - 7])
    assert histogram.count == 4
    assert histogram.max_ns == 1 << 41
    assert histogram.percentile(0.0) == 0.0
    assert list(histogram.buckets()) == [(1, 1), (_upper(_SIZE - 1), 3)]
    assert histogram.sum_ns == 3 * (1 << 41) - 7


def test_merging_is_recording_both() -> None:
    """Compares a merge with one histogram of all values."""
    first, second = [1, 50, 70_000], [50, 2_000_000]
    merged = filled(first)
    merged.merge(filled(second))
    both = filled(first + second)
    assert list(merged.buckets()) == list(both.buckets())
    assert (merged.sum_ns, merged.max_ns) == (both.sum_ns, both.max_ns)


def test_cumulative_counts_are_exact_at_their_edges() -> None:
    """Counts values below each edge by hand."""
    rng = random.Random(3)
    values = [int(rng.lognormvariate(11, 2)) for _ in range(5_000)] + [1024, 1023, 1536, 1535]
    edges, total = filled(values).cumulative()
    assert total == len(values)
    assert edges[0][0] == 1024
    assert edges[1][0] == 1536
    for edge, count in edges:
        assert count == sum(value < edge for value in values)


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.integers(-10, 2**20), st.integers(0, 2**60)))))
def test_recording_many_is_recording_each(values: list[tuple[int, int]]) -> None:
    """Compares buckets, sum and maximum of three histograms, filled in one call and value by value."""
    many, each = [Histogram() for _ in range(3)], [Histogram() for _ in range(3)]
    for which, value in values:
        each[which].record(value)
    record_many(many, np.array([w for w, _ in values], np.intp), np.array([v for _, v in values], np.int64))
    for one, other in zip(many, each, strict=True):
        assert list(one.buckets()) == list(other.buckets())
        assert (one.sum_ns, one.max_ns) == (other.sum_ns, other.max_ns)
