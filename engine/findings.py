"""What a look at one thing before a start has found, in the words of errors: seen, expected, what to do.

Owns the value, and how a refusal becomes one.  What is looked at belongs to those who refuse it:
``config.doctor_checks`` and ``config.doctor_venue`` (settings, key, venue), ``engine.runtime.preconditions`` (this
machine).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from engine.errors import KestrelError


class Outcome(StrEnum):
    """``FAILED`` is a reason not to start, ``WARNING`` one to look; ``SKIPPED`` does not apply or was not asked."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True):
    """``expected`` and ``do`` are empty where nothing is to be done."""

    check: str
    outcome: Outcome
    seen: str
    expected: str = ""
    do: str = ""


class Warned(KestrelError):  # noqa: N818 - a remark, and no error yet
    """What was looked at is not as it should be, and that is no reason not to start."""


class Skipped(KestrelError):  # noqa: N818 - said as it is shown
    """There is nothing to look at, or nobody to ask; ``seen`` says why."""


def look(check: str, at: Callable[[], str]) -> Finding:
    """What ``at`` says of the thing, or how it refused it."""
    try:
        return Finding(check, Outcome.OK, at())
    except KestrelError as error:
        return refused(check, error)


def refused(check: str, error: KestrelError) -> Finding:
    """A refusal as a finding."""
    outcome = Outcome.FAILED
    if isinstance(error, Warned | Skipped):
        outcome = Outcome.WARNING if isinstance(error, Warned) else Outcome.SKIPPED
    return Finding(check, outcome, error.seen, error.expected, error.do)


def failed(findings: Iterable[Finding]) -> list[Finding]:
    """Those that stand against a start."""
    return [one for one in findings if one.outcome is Outcome.FAILED]
