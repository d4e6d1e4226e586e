"""A past that grows, judged by what follows."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from models.splits.walk_forward import walk_forward
from tests.support.panels import panel, times_of


def test_each_origin_learns_from_all_before_and_every_later_day_is_judged_once() -> None:
    """Five origins over the second half: the tests tile it, the training parts grow, gaps are window and horizon."""
    samples = panel({"A": range(400), "B": range(100, 400)}, window=10, horizon=5)
    splits = walk_forward(samples.spans, origins=5)
    judged = np.concatenate([split.test.index for split in splits])
    moments = samples.spans.moments
    later = np.flatnonzero(samples.spans.ts_ns >= moments[len(moments) // 2])
    assert sorted(judged.tolist()) == later.tolist()
    sizes = [len(split.train) for split in splits]
    assert sizes == sorted(sizes)
    assert sizes[0] > 100
    for split in splits:
        train, validation, test = (
            times_of(part, samples.spans) for part in (split.train, split.validation, split.test)
        )
        assert train.max() + 15 <= validation.min()
        assert validation.max() + 15 <= test.min()
        assert train.min() == samples.spans.ts_ns.min()


def test_without_a_validation_part_all_of_the_past_learns() -> None:
    """And an embargo takes that much more of it."""
    samples = panel({"A": range(300)}, window=4, horizon=2)
    plain, wider = (walk_forward(samples.spans, validation_share=0.0, embargo_ns=embargo) for embargo in (0, 10))
    assert len(plain[0].validation) == 0
    for one, other in zip(plain, wider, strict=True):
        assert times_of(one.train, samples.spans).max() == times_of(other.train, samples.spans).max() + 10
        assert one.test.index.tolist() == other.test.index.tolist()


def test_too_little_history_is_said() -> None:
    """A window of half of it; more origins than moments; no origin."""
    with pytest.raises(ConfigError, match="nothing to learn from"):
        walk_forward(panel({"A": range(60)}, window=28, horizon=2).spans)
    with pytest.raises(ConfigError, match="fewer origins"):
        walk_forward(panel({"A": range(12)}, window=2, horizon=1).spans, origins=20)
    with pytest.raises(ConfigError, match="an origin or more"):
        walk_forward(panel({"A": range(60)}, window=2, horizon=1).spans, origins=0)
