"""Combinatorial purged cross-validation against the examples that skfolio publishes for its own."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from engine.errors import ConfigError
from models.splits.combinatorial import combinatorial_before, combinatorial_purged, path_count, paths
from models.splits.spans import Spans


def rows(count: int, before: float = 0.0, after: float = 0.0) -> Spans:
    """One sample a row of ten nanoseconds, which reaches that many rows back and ahead."""
    ts_ns = np.arange(count) * 10
    return Spans(ts_ns - int(10 * before), ts_ns, ts_ns + int(10 * after))


def found(spans: Spans, folds: int, held_out: int, embargo_ns: int = 0) -> list[tuple[list[int], list[list[int]]]]:
    return [
        (split.train.index.tolist(), [test.index.tolist() for test in split.tests])
        for split in combinatorial_purged(spans, folds, held_out, embargo_ns)
    ]


A, B, C = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]


def test_twelve_rows_in_three_folds_split_as_published() -> None:
    """Nothing purged."""
    assert found(rows(12), 3, 2) == [(C, [A, B]), (B, [A, C]), (A, [B, C])]


def test_a_purge_of_one_row_takes_the_neighbours_on_both_sides() -> None:
    """``purged_size=1``: labels that reach into the next row."""
    published = [([9, 10, 11], [A, B]), ([5, 6], [A, C]), ([0, 1, 2], [B, C])]
    assert found(rows(12, before=0.5, after=1.0), 3, 2) == published


def test_an_embargo_of_one_row_takes_the_one_behind() -> None:
    """``embargo_size=1``."""
    published = [([9, 10, 11], [A, B]), ([5, 6, 7], [A, C]), (A, [B, C])]
    assert found(rows(12), 3, 2, embargo_ns=15) == published


def test_paths_are_put_together_as_published() -> None:
    """``recombined_paths`` of 3 and of 5 folds, a path a column there, a row here; 45 splits on 9 paths of 10 and 2."""
    assert paths(3, 2).T.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert paths(5, 2).T.tolist() == [[0, 1, 2, 3], [0, 4, 5, 6], [1, 4, 7, 8], [2, 5, 7, 9], [3, 6, 8, 9]]
    assert (comb(10, 2), path_count(10, 2)) == (45, 9)
    table = paths(10, 2)
    assert table.shape == (9, 10)
    splits = combinatorial_purged(rows(40), 10, 2)
    assert len(splits) == 45
    for path in table:
        assert all(fold in splits[split].folds for fold, split in enumerate(path))
    pairs = {(int(split), fold) for path in table for fold, split in enumerate(path)}
    assert len(pairs) == 90


def test_all_folds_held_out_is_no_split() -> None:
    """Nor none of them; nor folds so short that a label spans what would be learned."""
    for held_out in (0, 3):
        with pytest.raises(ConfigError, match="at least 1, and not all"):
            combinatorial_purged(rows(12), 3, held_out)
    with pytest.raises(ConfigError, match="nothing to learn from"):
        combinatorial_purged(rows(12, before=2, after=2), 3, 2)


@pytest.mark.parametrize(("count", "folds", "held_out"), [(12, 3, 2), (60, 6, 3), (80, 10, 2)])
def test_splits_and_paths_are_skfolios_where_one_instrument_has_rows_of_one_length(
    count: int, folds: int, held_out: int
) -> None:
    """Nothing purged; one row purged and two more behind as an embargo; and who tests which fold on which path."""
    selection = pytest.importorskip("skfolio.model_selection", reason="the trainer is not installed")
    nothing = np.zeros((count, 1))
    for purged, embargo in ((0, 0), (1, 0), (1, 1)):
        if purged + embargo >= count // folds - 1:
            continue
        theirs = selection.CombinatorialPurgedCV(folds, held_out, purged_size=purged, embargo_size=embargo)
        wanted = [(train.tolist(), [test.tolist() for test in tests]) for train, tests in theirs.split(nothing)]
        assert found(rows(count, 0.5 * purged, purged), folds, held_out, 10 * embargo) == wanted
        assert paths(folds, held_out).T.tolist() == theirs.recombined_paths.tolist()
        assert path_count(folds, held_out) == theirs.n_test_paths


def test_what_lies_before_a_test_is_split_and_the_last_of_the_rest_chooses() -> None:
    """Labels of two rows, windows of three: no part shares a moment with another, nothing reaches the test."""
    spans = rows(200, before=3, after=2)
    made = combinatorial_before(spans, 1500, 5, 2, 0.2)
    assert len(made) == comb(5, 2)
    for chosen, parts, fold in made:
        learns, chooses, judged = (spans[part.index] for part in (parts.train, parts.validation, parts.test))
        assert max(one.end_ns.max() for one in (learns, chooses, judged)) < 1500
        assert sorted(set(fold.tolist())) == list(chosen)
        assert len(fold) == len(parts.test)
        assert (np.diff(parts.test.index) > 0).all()
        assert learns.apart_from(judged).all()
        assert chooses.apart_from(judged).all()
        assert learns.apart_from(chooses).all()
        assert learns.ts_ns.max() < chooses.ts_ns.min()
        assert 0.15 < len(chooses) / (len(learns) + len(chooses)) < 0.3
    tested = np.concatenate([parts.test.index for _, parts, _ in made])
    assert (np.bincount(tested) == path_count(5, 2)).all()


def test_too_little_before_a_test_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves nothing to learn from"):
        combinatorial_before(rows(40, before=8, after=8), 300, 3, 2, 0.2)
