"""Columns too costly for every row: computed each k-th row and held between.

Owns the rule and its argument ``every``.  The first value is that of row ``warm_rows`` after a restart.
"""

from __future__ import annotations

from collections.abc import Container

from engine.errors import DataError
from engine.features import layout as at
from engine.features.jit import kernel
from engine.features.layout import State

EVERY_MAX = 64
SLOT = 0xFFFFF
"""Greater than any slot.  A slot or span masked with it stays what it is; but the compiler then knows that no index is
negative (otherwise each is checked, and no loop runs on vectors), and it is no literal any more (a function is compiled
again for each literal number that it is called with)."""


@kernel
def is_due(s: State, first: int, every: int) -> bool:
    """Whether a column whose first value is that of row ``first`` is computed on this row."""
    return (int(s[at.ROWS]) - first) % every == 0


def call(family: str, *arguments: object, every: int = 1) -> str:
    """The name of a family's column; ``every`` is left out where it is 1."""
    parts = [str(argument) for argument in arguments] + ([str(every)] if every != 1 else [])
    return f"{family}({','.join(parts)})"


def check(what: str, value: object, allowed: Container[int], words: str) -> None:
    """Raises ``DataError`` where a family's argument is no whole number or none of those allowed."""
    if type(value) is not int or value not in allowed:
        raise DataError(f"{what} {value}", expected=words)


def check_span(rows: object, allowed: tuple[int, ...], every: object = 1) -> None:
    """Raises ``DataError`` where the column has no such span or stride."""
    check("a span of rows:", rows, allowed, f"one of {', '.join(map(str, allowed))}")
    check("a column computed once in rows:", every, range(1, EVERY_MAX + 1), f"2 to {EVERY_MAX}, or nothing")


def held(every: int) -> str:
    """What the formula of a column says of its stride."""
    return "" if every == 1 else f"; computed every {every} rows, held between"
