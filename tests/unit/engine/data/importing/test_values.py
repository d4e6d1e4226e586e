"""Numbers and words of other people as ours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.data.importing import values
from engine.errors import DataError


def where(row: int) -> str:
    return f"row {row + 1}"


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2], pa.int8()),
        pa.array([Decimal("1.0"), Decimal("2.0")]),
        pa.array([" 1.0", "2"]),
        pa.array(["1", "2"]).dictionary_encode(),
        pa.chunked_array([[1.0], [2.0]]),
    ],
)
def test_numbers_in_any_form(column: Any) -> None:
    """Integers, decimals, texts, dictionaries, chunks."""
    assert values.numbers(column, "x", where).to_pylist() == [1.0, 2.0]


def test_float32_is_the_decimal_that_it_shows() -> None:
    """0.1 of 32 bits is 0.1, not 0.10000000149."""
    assert values.numbers(pa.array(np.array([0.1, 61837.63], np.float32)), "x", where).to_pylist() == [0.1, 61837.63]


def test_whole_numbers_that_pandas_made_floats() -> None:
    """With a hole."""
    assert values.integers(pa.array([5.0, float("nan")]), "x", where).to_pylist() == [5, None]
    with pytest.raises(DataError, match="a whole number"):
        values.integers(pa.array([5.5]), "x", where)


def test_a_flag_may_be_any_number() -> None:
    """The greatest that a column can hold is true too."""
    assert values.flags(pa.array([2**64 - 1, 0], pa.uint64()), "x", where).to_pylist() == [True, False]


def test_flags_in_any_form() -> None:
    """0 and 1, words, booleans."""
    for column in (pa.array([1, 0], pa.int8()), pa.array(["true", "0"]), pa.array([True, False])):
        assert values.flags(column, "x", where).to_pylist() == [True, False]


def test_words_are_translated_and_others_refused() -> None:
    """Sides of trades and books; the seller of a trade at the bid is not guessed at."""
    sides = values.SIDES["trades"]
    assert values.words(pa.array(["BUY", " s", None, "Sell"]), sides, "x", where).to_pylist() == [
        "buy", "sell", None, "sell"
    ]  # fmt: skip
    with pytest.raises(DataError, match="'bid' in row 2; expected buy or sell"):
        values.words(pa.array(["buy", "bid"]), sides, "x", where)
    book = values.SIDES["book_deltas"]
    assert values.words(pa.array(["B", "asks"]), book, "x", where).to_pylist() == ["bid", "ask"]
    orders = values.words(pa.array(["A", "created", "F"]), values.ACTIONS, "x", where)
    assert orders.to_pylist() == ["add", "add", "fill"]


def test_a_value_that_is_no_number_is_named_with_its_row() -> None:
    """The third of four."""
    with pytest.raises(DataError, match="price is '1,5' in row 3; expected a number"):
        values.numbers(pa.array(["1", "2", "1,5", "3"]), "price", where)


def test_truth_is_no_number() -> None:
    """Arrow would make 1.0 of it."""
    with pytest.raises(DataError, match="of type bool"):
        values.numbers(pa.array([True]), "a.csv column 'volume'", where)
