from __future__ import annotations

import numpy as np

from models.splits import Spans, TrainingPart
from models.splits.held_back import held_back


def test_the_last_rows_are_kept_from_labels_that_reach_into_them() -> None:
    """Rows of two instruments with labels of different length: all but the last quarter, less what is not known."""
    ts_ns = np.repeat(np.arange(100, dtype=np.int64), 2)
    horizon = np.tile([2, 9], 100)
    spans = Spans(ts_ns - 5, ts_ns, ts_ns + horizon)
    part = TrainingPart.of(spans, ts_ns < 80)
    earlier, later = held_back(part, spans, 0.25)
    assert len(later) == 40
    assert spans.ts_ns[later.index].min() == 60
    assert spans.end_ns[earlier.index].max() < 60
    left = set(part.index) - set(earlier.index) - set(later.index)
    assert all(spans.end_ns[index] >= 60 for index in left)


def test_a_part_of_one_sample_keeps_it_back() -> None:
    """Nothing is left to learn from, and nothing fails."""
    one = np.zeros(1, np.int64)
    earlier, later = held_back(TrainingPart(one), Spans(one, one, one + 1), 0.25)
    assert (len(earlier), len(later)) == (0, 1)
