"""What the session and the process with the blocking client say to each other, over two pipes.

Owns the two messages and their frames: four bytes of length, then MessagePack.  What the calls mean is ``calls``'; how
the process lives is ``worker``'s.  Pure.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

LENGTH_BYTES = 4
MAX_FRAME_BYTES = 32 << 20
"""A listing of thousands of orders has a few; what is longer is no message of ours."""


class Outcome(enum.StrEnum):
    """What is known of a request.

    ``OK``: the venue did it and its whole answer is here.  ``REFUSED``: the venue answered that it did not.
    ``NOT_SENT``: nothing left this machine.  ``UNKNOWN``: it left, and no answer says what became of it.
    """

    OK = "ok"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """``call`` is a name in ``calls.CALLS``; ``given`` are its plain arguments."""

    number: int
    call: str
    given: dict[str, Any]

    def __repr__(self) -> str:
        # A login's arguments are secrets.
        return f"Ask(number={self.number}, call={self.call!r})"


class Told(msgspec.Struct, frozen=True, array_like=True):
    """``body`` is JSON, empty where there is none; ``status`` that of HTTP, 0 without an answer.  ``date_s``: when the
    venue says that it answered (unix seconds), 0 where it does not."""

    number: int
    outcome: Outcome
    status: int = 0
    body: bytes = b""
    text: str = ""
    retry_after_s: int = 0
    date_s: int = 0


_encoder = msgspec.msgpack.Encoder()
_told = msgspec.msgpack.Decoder(Told)
_ask = msgspec.msgpack.Decoder(Ask)


def frame(message: Ask | Told) -> bytes:
    """The bytes of one message."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def length_of(head: bytes) -> int:
    """How many bytes follow.  Raises ``ValueError`` for a length that no message has."""
    length = int.from_bytes(head, "big")
    if not 0 < length <= MAX_FRAME_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return length


def read_told(body: bytes) -> Told:
    """Raises ``msgspec.DecodeError`` or ``ValueError``."""
    return _told.decode(body)


def read_ask(body: bytes) -> Ask:
    """Raises ``msgspec.DecodeError`` or ``ValueError``."""
    return _ask.decode(body)
