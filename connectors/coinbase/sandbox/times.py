"""Times on the wire: UTC nanoseconds to the venue's text and back.

Owns formats and the error for a request that cannot be read.  Reads no clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from engine.errors import RemoteProtocolError

_NS = 1_000_000_000
_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadRequest(RemoteProtocolError):  # noqa: N818 - the name of the HTTP answer
    """The body or a parameter is malformed: HTTP 400 INVALID_ARGUMENT with this text."""


def at(ts_ns: int) -> str:
    """``2026-11-20T14:03:07.123456789Z``"""
    seconds, rest = divmod(ts_ns, _NS)
    return f"{_second(seconds)}.{rest:09d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """A stream says many things in the same second, and the calendar is most of what saying when costs."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_time_ns(raw: object) -> int:
    """RFC 3339 or unix seconds (as text) to UTC nanoseconds.  Raises ``BadRequest``."""
    text = str(raw).strip()
    try:
        if _SECONDS.fullmatch(text):
            return int(Decimal(text) * _NS)
        # fromisoformat keeps six digits; the venue writes up to nine.
        when = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        since = when - _EPOCH
        return (since.days * 86_400 + since.seconds) * _NS + since.microseconds * 1_000
    except (ValueError, OverflowError):
        raise BadRequest(f"{text[:40]!r} is not a time such as 2026-11-20T14:03:07Z") from None
