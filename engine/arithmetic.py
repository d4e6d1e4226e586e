"""The arithmetic of money: one set of decimal rules for all that the engine computes, and user code kept apart from it.

Owns the rules, and the context that code which is not ours runs in.  Such code may change precision, rounding or traps
for itself; what the engine computes on its request (a mark, an order's rest) is computed by the engine's rules.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DefaultContext,
    DivisionByZero,
    FloatOperation,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MONEY = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow, FloatOperation])
"""28 digits; ``Decimal(float)`` and comparing the two raise."""


PLAIN_DIGITS = 40
"""Zeros that ``plain`` writes at most for an exponent."""


def install() -> None:
    """Make ``MONEY`` the rules of this thread; threads made later refuse floats too."""
    DefaultContext.traps[FloatOperation] = True
    setcontext(MONEY)


def exactly(compute: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """``compute`` by the rules of money, whoever asks: a strategy may, under rules of its own."""
    rules = getcontext()
    setcontext(MONEY)
    try:
        return compute(*arguments, **named)
    finally:
        setcontext(rules)


def own_context() -> contextvars.Context:
    """A context for user code to run in: the same rules at first, in an object of its own."""
    context = contextvars.copy_context()
    context.run(setcontext, MONEY.copy())
    return context


def plain(amount: Decimal | None) -> str:
    """As people write it, without an exponent; what has more digits than fit a line as Python does."""
    if amount is None or not amount.is_finite() or abs(amount.as_tuple().exponent) > PLAIN_DIGITS:  # type: ignore[arg-type]
        return str(amount)
    return f"{amount:f}"
