"""ADWIN sees a change soon, hardly ever one that is not there, and holds few buckets."""

from __future__ import annotations

import numpy as np
import pytest

from models.observer.adwin import Adwin


@pytest.mark.fault("E10")
def test_a_mean_that_changes_is_seen_soon_and_which_way() -> None:
    rng = np.random.default_rng(1)
    adwin = Adwin(0.002)
    for value in (rng.random(4_000) < 0.3).astype(float):
        assert not adwin.add(float(value))
    later = enumerate((rng.random(2_000) < 0.6).astype(float))
    found = next(number for number, value in later if adwin.add(float(value)))
    assert found < 150
    assert adwin.rose
    for value in (rng.random(3_000) < 0.6).astype(float):
        adwin.add(float(value))
    assert adwin.mean == pytest.approx(0.6, abs=0.05)
    for value in (rng.random(1_000) < 0.2).astype(float):
        adwin.add(float(value))
    assert not adwin.rose


def test_a_steady_stream_is_hardly_ever_cut() -> None:
    """Forty streams of 4,000 values, of three kinds: at most two of them are cut."""
    rng = np.random.default_rng(2)
    cut = 0
    for number in range(40):
        adwin = Adwin(0.002)
        made = (rng.random(4_000), (rng.random(4_000) < 0.1).astype(float), rng.beta(2, 8, 4_000))[number % 3]
        cut += any(adwin.add(float(value)) for value in made)
    assert cut <= 2


def test_with_one_delta_for_all_looks_a_stream_of_weeks_is_not_cut_and_a_change_is_still_seen() -> None:
    """At 30 % for each of 1,500 looks steady streams are cut; at 30 % for all of them hardly one is."""
    rng = np.random.default_rng(6)
    values = [(rng.random(48_000) < 0.5).astype(float).tolist() for _ in range(4)]
    each = [Adwin(0.3) for _ in values]
    together = [Adwin(0.3, for_all=True) for _ in values]
    for made, one, other in zip(values, each, together, strict=True):
        for value in made:
            one.add(value)
            other.add(value)
    assert sum(one.changes > 0 for one in each) > 0
    assert [one.changes for one in together] == [0] * 4
    assert next(n for n, value in enumerate((rng.random(4_000) < 0.7).tolist()) if together[0].add(float(value))) < 500


def test_count_mean_and_memory_are_those_of_the_window() -> None:
    rng = np.random.default_rng(3)
    values = rng.random(20_000)
    adwin = Adwin(1e-9)
    for value in values:
        adwin.add(float(value))
    assert adwin.count == 20_000
    assert adwin.mean == pytest.approx(values.mean(), rel=1e-9)
    assert adwin._deviation == pytest.approx(((values - values.mean()) ** 2).sum(), rel=1e-6)
    assert sum(len(level) for level in adwin._levels) <= 5 * 15


def test_what_is_dropped_leaves_the_sums_of_the_rest() -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.random(3_000) * 0.2, 0.8 + rng.random(3_000) * 0.2])
    adwin = Adwin(0.002)
    for value in values:
        adwin.add(float(value))
    rest = values[-adwin.count :]
    assert 2_500 < adwin.count <= 3_064
    assert adwin.mean == pytest.approx(rest.mean(), rel=1e-9)
    assert adwin._deviation == pytest.approx(((rest - rest.mean()) ** 2).sum(), rel=1e-3)
