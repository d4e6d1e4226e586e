"""Lines of recorded raw messages as bytes, as they were on the wire."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec


class _Line(msgspec.Struct):
    recv_ns: int = 0
    name: str = ""
    msg: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()


def recorded(path: Path, *, named: bool = False, answers: bool = False) -> Iterator[tuple[Any, bytes]]:
    """Receive time (or, ``named``, the name) and body of each line, or (``answers``) what was answered."""
    decode = msgspec.json.Decoder(_Line).decode
    with gzip.open(path) as lines:
        for text in lines:
            line = decode(text)
            yield (line.name if named else line.recv_ns), bytes(line.response if answers else line.msg)
