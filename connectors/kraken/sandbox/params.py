"""Parameters of requests: their reading, and what is refused as unreadable.

Owns numbers, references and deadlines.  Which request has which is ``queries`` and ``account``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from connectors.kraken.sandbox.errors import ApiError, invalid

Params = dict[str, str]
DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,20})?")
_NS = 1_000_000_000


def integer(params: Params, name: str, default: int, *, low: int = 0, high: int = 1 << 31) -> int:
    """Raises ``ApiError``; what is out of range is brought into it, as the venue does."""
    text = params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise invalid(name)
    return max(low, min(int(text), high))


def amount(params: Params, name: str) -> Decimal | None:
    text = params.get(name, "")
    if not text or text == "0":
        return None
    if DECIMAL.fullmatch(text) is None:
        raise invalid(name)
    return Decimal(text)


def reference(params: Params) -> int | None:
    text = params.get("userref", "")
    if not text:
        return None
    if re.fullmatch(r"-?[0-9]{1,10}", text) is None or not -(1 << 31) <= int(text) < 1 << 31:
        raise invalid("userref")
    return int(text)


def check_deadline(params: Params, now_ns: int) -> None:
    """Raises ``ApiError`` for an order that arrives after the time (RFC 3339) until which its sender wanted it."""
    text = params.get("deadline", "")
    if not text:
        return
    try:
        deadline = datetime.fromisoformat(text)
    except ValueError:
        raise invalid("deadline") from None
    if deadline.tzinfo is None:
        raise invalid("deadline")
    if deadline <= datetime.fromtimestamp(now_ns / _NS, UTC):
        raise ApiError("EService:Deadline elapsed")
