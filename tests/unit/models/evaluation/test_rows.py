from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.rows import Predictions, Rows, Series, check_predictions, check_rows, rows_fingerprint


def rows(**changes: object) -> Rows:
    good = Rows(
        np.array([0, 1, 0, 1]),
        np.array([1, 1, 2, 2]),
        np.array([0.0, 1.0, 1.0, 0.0]),
        np.arange(8, dtype=np.float32).reshape(4, 2),
    )
    return replace(good, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": np.array([0.0, np.nan, 1.0, 0.0])}, "label in the train part: 1 values are not finite"),
        ({"features": np.full((4, 2), np.inf, np.float32)}, "features of a in the train part"),
        ({"past_label": np.array([0.0, np.nan, 1.0, 0.0])}, "past_label in the train part"),
        ({"label": np.array([0.0, 2.0, 1.0, 0.0])}, "the label 2; expected 0 to 1"),
        ({"label": np.array([0.0, 0.5, 1.0, 0.0])}, "the label 0.5"),
        ({"label": np.zeros(3)}, "4 times and 3 values of label"),
        ({"instrument": np.array([0, 1, 0, 2])}, "an instrument that data.json does not list"),
        ({"features": np.zeros((4, 3), np.float32)}, "3 feature columns; expected 2"),
        ({"past_label": np.array([0.0, 2.0, 1.0, 0.0])}, "the past label 2; expected 0 to 1"),
        ({"past_label": np.array([0.0, -1.0, 1.0, 0.0])}, "the past label -1"),
        ({"series": Series(np.array([0]), np.array([1, 2]), np.array([0.1]))}, "2 lengths"),
        (
            {"series": Series(np.array([2]), np.array([1]), np.array([0.1]))},
            "series of the train part name an instrument",
        ),
        (
            {"series": Series(np.array([0]), np.array([1]), np.array([np.nan]))},
            "returns of the series in the train part",
        ),
    ],
)
def test_rows_that_cannot_be_scored_are_told_by_part_and_column(changes: dict[str, object], said: str) -> None:
    """One line each."""
    with pytest.raises(DataError) as error:
        check_rows("train", rows(**changes), features=("a", "b"), instruments=2, classes=2)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_variances_are_positive() -> None:
    """A label and a forecast of nothing: before a test is opened for them."""
    quantity = rows(label=np.array([0.1, 0.0, 0.2, 0.3]))
    with pytest.raises(DataError, match="1 variances of the train part are not positive"):
        check_rows("train", quantity, features=("a", "b"), instruments=2, classes=0, positive=True)
    known = rows_fingerprint(rows().instrument, rows().ts_ns, ("A", "B"))
    logs = said(values=np.full((1, 4, 1), -9.0))
    with pytest.raises(DataError, match="4 predicted variances of the test part are not positive"):
        check_predictions("test", logs, fingerprint=known, instruments=("A", "B"), seeds=(1,), classes=0, positive=True)


def test_a_part_without_rows_is_told() -> None:
    """Nothing to fit."""
    nothing = rows().where(np.zeros(4, bool))
    with pytest.raises(DataError, match="no rows"):
        check_rows("train", nothing, features=("a", "b"), instruments=2, classes=2)


def said(**changes: object) -> Predictions:
    good = Predictions(rows().instrument, rows().ts_ns, np.full((1, 4, 2), 0.5), (1,))
    return replace(good, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ts_ns": np.array([1, 1, 2, 3])}, "not the rows of the baselines"),
        ({"instrument": np.array([1, 0, 0, 1])}, "not the rows of the baselines"),
        ({"values": np.full((1, 4, 3), 1 / 3)}, "shape (1, 4, 3); expected (1, 4, 2)"),
        ({"values": np.full((1, 4, 2), np.nan)}, "8 predictions of the test part are not finite"),
        ({"values": np.full((1, 4, 2), 0.7)}, "no probabilities"),
        ({"values": np.array([[[-0.5, 1.5]] * 4])}, "no probabilities"),
        ({"seeds": ()}, "of the seeds none; expected 1"),
        ({"seeds": (1, 2)}, "of the seeds 1, 2; expected 1"),
    ],
)
def test_predictions_of_other_rows_are_refused(changes: dict[str, object], text: str) -> None:
    """Rows, seeds, shape, finite values and sums, one line each."""
    known = rows_fingerprint(rows().instrument, rows().ts_ns, ("A", "B"))
    with pytest.raises(DataError) as error:
        check_predictions("test", said(**changes), fingerprint=known, instruments=("A", "B"), seeds=(1,), classes=2)
    assert text in str(error.value)


def test_the_fingerprint_is_of_rows_and_their_order() -> None:
    """Instrument names, instruments and times; not labels."""
    names = ("A", "B")
    first = rows_fingerprint(rows().instrument, rows().ts_ns, names)
    assert rows_fingerprint(rows().instrument.astype(np.int32), rows().ts_ns, names) == first
    assert rows_fingerprint(rows().instrument[::-1], rows().ts_ns, names) != first
    assert rows_fingerprint(rows().instrument, rows().ts_ns + 1, names) != first
    assert rows_fingerprint(rows().instrument, rows().ts_ns, ("A", "C")) != first


def test_series_of_parts_are_joined_once_and_in_order() -> None:
    """Two parts that share a bar, the later given first."""
    later = Series(np.array([0, 0]), np.array([2, 3]), np.array([0.2, 0.3]))
    earlier = Series(np.array([0, 0]), np.array([1, 2]), np.array([0.1, 0.2]))
    whole = Series.joined([later, earlier])
    assert whole.ts_ns.tolist() == [1, 2, 3]
    assert whole.log_return.tolist() == [0.1, 0.2, 0.3]
