"""Whatever is cut, nothing that is learned from touches what judges: any panel, window, horizon, kind of split."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.errors import ConfigError
from models.splits import (
    Spans,
    calendar_split,
    combinatorial_purged,
    cuts_by_share,
    purged_folds,
    walk_forward,
)


@st.composite
def panels(draw: st.DrawFn) -> Spans:
    """Up to three instruments, each with holes and a beginning of its own; windows and labels in rows of it."""
    window, horizon = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    pieces = []
    for number in range(draw(st.integers(1, 3))):
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        rows = random.integers(60, 160)
        ts_ns = np.cumsum(random.integers(1, 6, rows)) + int(random.integers(0, 80)) * number
        at = np.arange(window, rows - horizon)
        chosen = at[random.random(len(at)) < 0.9]
        pieces.append((ts_ns[chosen - window], ts_ns[chosen], ts_ns[chosen + horizon]))
    return Spans(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def assert_apart(learned: Spans, judged: Spans) -> None:
    """By looking at every pair: no moment is shared between window and label of the one and those of the other."""
    overlap = (learned.begin_ns[:, None] < judged.end_ns[None]) & (judged.begin_ns[None] < learned.end_ns[:, None])
    assert not overlap.any()


@given(panels(), st.sampled_from([(0.6, 0.2), (0.7, 0.15)]))
def test_no_training_label_reaches_into_a_later_window(spans: Spans, shares: tuple[float, float]) -> None:
    """The calendar's three parts, pair by pair, each in order of time."""
    split = calendar_split(spans, cuts_by_share(spans, shares))
    parts = (split.train, split.validation, split.test)
    for earlier, later in ((0, 1), (0, 2), (1, 2)):
        assert_apart(spans[parts[earlier].index], spans[parts[later].index])
        assume(len(parts[earlier]) and len(parts[later]))
        assert spans.ts_ns[parts[earlier].index].max() < spans.ts_ns[parts[later].index].min()
    assert all((np.diff(spans.ts_ns[part.index]) >= 0).all() for part in parts)


@given(panels(), st.integers(5, 8), st.integers(0, 10))
def test_no_origin_of_a_walk_forward_sees_what_judges_it(spans: Spans, origins: int, embargo_ns: int) -> None:
    """Training, validation and test of every origin; tests never overlap, and nothing of a past is from behind it."""
    try:
        splits = walk_forward(spans, origins=origins, embargo_ns=embargo_ns)
    except ConfigError:
        assume(False)
        return
    judged = np.concatenate([split.test.index for split in splits])
    assert len(set(judged.tolist())) == len(judged)
    for split in splits:
        train, validation, test = (spans[part.index] for part in (split.train, split.validation, split.test))
        assert_apart(train, test)
        assert_apart(validation, test)
        assert_apart(train, validation)
        assert train.end_ns.max() + embargo_ns <= test.begin_ns.min()


@given(panels(), st.integers(2, 6), st.integers(0, 10))
def test_no_fold_learns_from_what_it_holds_out(spans: Spans, folds: int, embargo_ns: int) -> None:
    """Every sample is held out once; the embargo holds behind each fold."""
    try:
        made = purged_folds(spans, folds, embargo_ns)
    except ConfigError:
        assume(False)
        return
    assert sorted(np.concatenate([held.index for _, held in made]).tolist()) == list(range(len(spans)))
    for train, held in made:
        assert_apart(spans[train.index], spans[held.index])
        behind = spans[train.index].begin_ns[spans[train.index].ts_ns > spans[held.index].ts_ns.max()]
        assert (behind >= spans[held.index].end_ns.max() + embargo_ns).all()


@given(panels(), st.sampled_from([(5, 2), (6, 3)]))
def test_no_combination_learns_from_what_it_holds_out(spans: Spans, shape: tuple[int, int]) -> None:
    """All combinations, each of their held-out folds."""
    try:
        made = combinatorial_purged(spans, *shape)
    except ConfigError:
        assume(False)
        return
    for split in made:
        for held in split.tests:
            assert_apart(spans[split.train.index], spans[held.index])
    folds = [set(split.folds) for split in made]
    assert len(folds) == len({frozenset(each) for each in folds})


@given(panels(), st.integers(0, 6))
def test_being_apart_is_what_the_pairs_say(spans: Spans, embargo_ns: int) -> None:
    """The merged stretches against every pair of two halves."""
    half = len(spans) // 2
    mine, other = spans[:half], spans[half:]
    wanted = [
        all(b >= e + embargo_ns or d <= s for s, e in zip(other.begin_ns, other.end_ns, strict=True))
        for b, d in zip(mine.begin_ns, mine.end_ns, strict=True)
    ]
    assert mine.apart_from(other, embargo_ns).tolist() == wanted
