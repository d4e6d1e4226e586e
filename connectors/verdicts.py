"""What the answer to an order proves."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """UNKNOWN: the order may exist; nothing but the venue's own record decides it."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
