"""Columns of numbers and words as the types and vocabulary of the catalogue.

Owns the translation of other people's words: ``B`` and ``bids`` are ``bid``, ``created`` is ``add``.  A word or number
that is none is an error that names its row; an empty one is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError

Where = Callable[[int], str]

_AGGRESSORS: Final[dict[str, str | None]] = {"buy": "buy", "b": "buy", "sell": "sell", "s": "sell"}
_BOOK_SIDES: Final[dict[str, str | None]] = {
    **dict.fromkeys(("bid", "b", "bids", "buy"), "bid"),
    **dict.fromkeys(("ask", "a", "asks", "sell", "offer"), "ask"),
}
_NONE: Final[dict[str, str | None]] = {"n": None, "none": None, "": None}

SIDES: Final[dict[str, Mapping[str, str | None]]] = {
    "trades": _AGGRESSORS | _NONE,
    "side_quotes": _BOOK_SIDES,
    "book_deltas": _BOOK_SIDES,
    "book_snapshots": _BOOK_SIDES,
    "orders": _BOOK_SIDES | _NONE,
}
ACTIONS: Final[Mapping[str, str | None]] = {
    word: action
    for action, spellings in (
        ("add", ("a", "add", "created")),
        ("modify", ("m", "modify", "changed")),
        ("cancel", ("c", "cancel", "deleted")),
        ("trade", ("t", "trade")),
        ("fill", ("f", "fill")),
        ("clear", ("r", "clear")),
    )
    for word in spellings
}


def numbers(column: Any, what: str, where: Where) -> Any:
    """float64; text is read as a number.  Raises ``DataError`` for a type or a text that is none.

    float32 is taken as the shortest decimal that it stands for, not as its binary expansion: 0.1 stays 0.1.
    """
    column = _flat(column)
    kind = column.type
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        shown = np.array([np.nan if each is None else float(str(np.float32(each))) for each in column.to_pylist()])
        return pa.array(shown, from_pandas=True)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_boolean(kind):  # which Arrow would cast to 0 and 1
        raise DataError(f"{what} is of type bool", expected="a number in every row", do="choose another column")
    return _cast(column, pa.float64(), "a number", what, where)


def integers(column: Any, what: str, where: Where) -> Any:
    """int64.  A float column of whole numbers is taken: pandas makes one of integers with holes."""
    column = _flat(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    return _cast(column, pa.int64(), "a whole number", what, where)


def texts(column: Any, what: str, where: Where) -> Any:
    """Text; numbers have to be whole ones."""
    column = _flat(column)
    if pa.types.is_floating(column.type):
        column = integers(column, what, where)
    return _cast(column, pa.string(), "a text", what, where)


def flags(column: Any, what: str, where: Where) -> Any:
    """bool from 0 and 1, true and false."""
    column = _flat(column)
    if pa.types.is_integer(column.type):
        return pc.not_equal(column, pa.scalar(0, column.type))
    if pa.types.is_boolean(column.type):
        return column
    return _cast(column, pa.bool_(), "true, false, 1 or 0", what, where)


def words(column: Any, known: Mapping[str, str | None], what: str, where: Where) -> Any:
    """Words of a closed vocabulary.  Raises ``DataError`` for one that is not in it."""
    column = pc.utf8_lower(pc.utf8_trim_whitespace(texts(column, what, where))).dictionary_encode()
    seen = column.dictionary.to_pylist()
    odd = next((word for word in seen if word not in known), None)
    if odd is not None:
        number = column.indices.index(seen.index(odd)).as_py()
        raise DataError(
            f"{what} is {odd!r} in {where(number)}",
            expected=" or ".join(sorted({word for word in known.values() if word})),
            do="translate the column",
        )
    translated = pa.array([known[word] for word in seen], pa.string())
    return translated.take(column.indices)


def _flat(column: Any) -> Any:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column


def _cast(column: Any, kind: Any, expected: str, what: str, where: Where) -> Any:
    if column.type == kind:
        return column
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if text:
        column = pc.utf8_trim_whitespace(column)
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        if text:
            for number, each in enumerate(column.to_pylist()):
                try:
                    pa.array([each], pa.string()).cast(kind)
                except pa.ArrowException:
                    raise DataError(
                        f"{what} is {each!r} in {where(number)}", expected=expected, do="correct or remove that row"
                    ) from error
        raise DataError(
            f"{what} is of type {column.type}", expected=f"{expected} in every row", do="convert the column"
        ) from error
