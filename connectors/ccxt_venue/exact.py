"""Numbers, times and texts out of what the library hands over, whatever type they have there.

Owns the conversion: money through text into ``Decimal``, market data into floats, milliseconds into nanoseconds.  What
is not a number is None (or NaN), never a guess.  Pure.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from math import isfinite, nan

MS_NS = 1_000_000


def exact(value: object) -> Decimal | None:
    """A finite ``Decimal``.  A float goes through its shortest text, so 0.1 is a tenth."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def positive(value: object) -> Decimal | None:
    """The same, where only more than nothing makes sense."""
    found = exact(value)
    return found if found is not None and found > 0 else None


def plain(value: object) -> float:
    """A float for market data, NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return nan
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return nan
    return found if isfinite(found) else nan


def nanoseconds(milliseconds: object, otherwise_ns: int) -> int:
    """UTC ns of a time in ms as the library gives it; ``otherwise_ns`` where it gives none that can be one."""
    value = plain(milliseconds)
    if not 0.0 < value < 1e14:
        return otherwise_ns
    return int(value * 1_000) * 1_000


def text(value: object, longest: int = 200) -> str:
    """One short printable line; empty for what is no text or number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    plain_text = str(value)[:longest].encode("ascii", "backslashreplace").decode()
    return " ".join("".join(each if each.isprintable() else " " for each in plain_text).split())


def mapping(value: object) -> dict[str, object]:
    """A dict, empty for everything else."""
    return value if isinstance(value, dict) else {}
