"""What every event is made of: the base with its two times, and the words that events are told in.

Owns nothing that happens: the events are ``engine.events``.
"""

from __future__ import annotations

import enum

import msgspec


class Side(enum.IntEnum):
    """Direction of an order, a fill or an aggressor; the value is the sign of the position change."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Liquidity(enum.StrEnum):
    MAKER = "maker"
    TAKER = "taker"
    UNKNOWN = "unknown"


class TradingStatus(enum.StrEnum):
    """What a venue or an instrument accepts now."""

    TRADING = "trading"
    POST_ONLY = "post_only"
    LIMIT_ONLY = "limit_only"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"
    UNKNOWN = "unknown"


class PredictionStatus(enum.StrEnum):
    OK = "ok"
    LATE = "late"
    FAILED = "failed"
    SKIPPED = "skipped"


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Base of all events: when it happened there, when it arrived here."""

    ts_event_ns: int
    ts_recv_ns: int
