"""What the quality gate can say of a market event: three verdicts, and a closed set of issues that are metric labels.

A judgement is one small integer, so that it crosses from compiled code for nothing: ``verdict + 4 * issue``.  0 is an
accepted event of which there is nothing to say.  Owns the names and numbers only.
"""

from __future__ import annotations

from typing import Final

ACCEPTED: Final = 0
"""Used.  With an issue it is worth counting, and used all the same."""
SUSPECT: Final = 1
"""Held back: neither book nor features see it, entries wait, until a later event confirms or refutes it.  A quote of
which the time alone is refused (``is_shown``) stands in the book meanwhile, for equity and exits."""
DROPPED: Final = 2
"""Not used, now or later."""

VERDICTS: Final = ("accepted", "suspect", "dropped")

NOT_FINITE: Final = 1
NOT_POSITIVE: Final = 2
CROSSED: Final = 3
BAD_SIZE: Final = 4
HIGH_LOW: Final = 5
LOCKED: Final = 6
FUTURE: Final = 7
STALE: Final = 8
LATE: Final = 9
DUPLICATE: Final = 10
REVISED: Final = 11
OUTLIER: Final = 12
SPIKE: Final = 13
CONFIRMED: Final = 14
VOLUME_SPIKE: Final = 15
GATE_FAILED: Final = 16

ISSUES: Final = (
    "",
    "not_finite",
    "not_positive",
    "crossed",
    "bad_size",
    "high_low",
    "locked",
    "future",
    "stale",
    "late",
    "duplicate",
    "revised",
    "outlier",
    "spike",
    "confirmed",
    "volume_spike",
    "gate_failed",
)
"""By number.  The closed set: ``docs/quality.md`` has the formula of each."""

TIME_ISSUES: Final = frozenset({FUTURE, STALE, LATE})
KEEPS_ENTRIES: Final = frozenset({LATE, DUPLICATE, REVISED})
"""Issues of dropped events that say nothing against the prices there are: entries go on."""


def is_shown(code: int) -> bool:
    """Whether the prices stand in the book, marked suspect, although no feature and no entry may rest on them."""
    return code & 3 == SUSPECT and code >> 2 in TIME_ISSUES


def verdict_of(code: int) -> str:
    """``accepted``, ``suspect`` or ``dropped``."""
    return VERDICTS[code & 3]


def issue_of(code: int) -> str:
    """Name of the issue; empty when there is none."""
    return ISSUES[code >> 2]
