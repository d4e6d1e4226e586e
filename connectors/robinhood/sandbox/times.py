"""Times as the venue writes them: ISO 8601 in UTC, microseconds.

Owns formatting and parsing; no clock.
"""

from __future__ import annotations

from datetime import UTC, datetime

from connectors.robinhood.sandbox.errors import invalid

NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(ts_ns: int) -> str:
    """``2026-11-20T14:03:07.120000Z``"""
    seconds, rest = divmod(ts_ns, NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000:06d}Z"


def parse_ns(text: str, attr: str) -> int:
    """A time with or without a zone (UTC then).  Raises ``ApiError`` 400 that names ``attr``."""
    try:
        told = datetime.fromisoformat(text)
        since = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        raise invalid(attr, "Enter a valid date/time.") from None
    return (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1_000
