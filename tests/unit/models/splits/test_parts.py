"""The parts of a split, and the door that only one of them passes."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.splits.parts import HeldOutPart, TrainingPart, training_only
from models.splits.spans import Spans


def test_a_part_is_in_order_of_time() -> None:
    """Two instruments one after another become one order; ties keep the order of the instruments."""
    ts_ns = np.array([1, 2, 3, 1, 2, 3], np.int64)
    part = TrainingPart.of(Spans(ts_ns, ts_ns, ts_ns), np.array([True, True, True, True, True, False]))
    assert part.index.tolist() == [0, 3, 1, 4, 2]


def test_what_is_for_training_takes_nothing_else() -> None:
    """The type itself, not a look at its rows."""
    index = np.arange(3)
    assert training_only(TrainingPart(index), "oversampling").index is index
    with pytest.raises(DataError, match="oversampling of a HeldOutPart; expected the training part"):
        training_only(HeldOutPart(index), "oversampling")  # type: ignore[arg-type]
