"""Raw recorded messages (JSON lines, plain or gzip) as rows of kind ``frames``, each message byte for byte.

A line is ``{"recv_ns": ..., "msg": {...}}`` with optional ``dir``, ``url`` and ``file`` (the connection), or a named
response without a time (``name``, ``msg`` or ``response``).  Owns the lines; what is in a message is the venue's.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from engine.data.importing.damage import DamagedFile
from engine.data.schema import first_line
from engine.errors import DataError

_ROWS: Final = 16_384
"""Messages are large: some of half a megabyte."""
UNDATED: Final = "undated"
"""Messages whose line has no time: they can only be stored at a time that the user gives."""


class _Line(msgspec.Struct):
    recv_ns: int | None = None
    msg: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    dir: str | None = None
    url: str | None = None
    file: str | None = None
    name: str | None = None
    response: msgspec.Raw = msgspec.Raw()


def read_frames(path: Path, received_ns: int | None, count: Callable[[str, int], None]) -> Iterator[Any]:
    """Tables of ``ts_ns``, ``recv_ns``, ``direction``, ``url``, ``message``.

    ``url`` is the address and, after ``#``, the recorder's name of the connection; a received message has that of the
    connection it came by.  A line without a time is placed at ``received_ns``, or counted as ``undated`` and left out.
    Raises ``DataError`` with the line's number for a line that is no JSON object.
    """
    decoder = msgspec.json.Decoder(_Line)
    addresses: dict[str, str] = {}
    rows: list[tuple[int, str | None, str | None, str]] = []
    for number, text in _lines(path):
        line = _parsed(decoder, text, f"{path} line {number}")
        time_ns = received_ns if line.recv_ns is None else line.recv_ns
        if time_ns is None:
            count(UNDATED, 1)
            continue
        rows.append((time_ns, _direction(line), _address(line, addresses), _message(line)))
        if len(rows) == _ROWS:
            yield _table(rows)
            rows = []
    if rows:
        yield _table(rows)


def _parsed(decoder: msgspec.json.Decoder[_Line], text: bytes, where: str) -> _Line:
    try:
        text.decode("utf-8")  # what is no text could not be given back byte for byte
        line = decoder.decode(text)
        if not (line.msg or line.response or line.text or line.dir):
            raise ValueError("it has neither msg nor text")
        if line.recv_ns is not None and not -(2**63) <= line.recv_ns < 2**63:
            raise ValueError("its recv_ns is no int64")
    except UnicodeDecodeError as error:
        raise _no_message(where, f"no UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise _no_message(where, first_line(error)) from error
    return line


def _no_message(where: str, reason: str) -> DataError:
    return DataError(
        f"{where} is no recorded message ({reason})",
        expected='a JSON object such as {"recv_ns": 1723161253937085768, "msg": {...}}',
        do="correct or remove that line",
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield number, text
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(
            f"{path} is damaged ({first_line(error)})",
            expected="a complete file",
            do="it may be truncated; copy it again from its source",
        ) from error


def _direction(line: _Line) -> str | None:
    return line.dir or ("response" if line.name is not None else None)


def _address(line: _Line, addresses: dict[str, str]) -> str | None:
    """The address of a connection is in the line that opened it; later lines name only the connection."""
    name = line.file if line.name is None else line.name
    if line.url and line.file and line.name is None:
        addresses[line.file] = line.url
    url = line.url or addresses.get(line.file or "", "")
    return (f"{url}#{name}" if name else url) or None


def _message(line: _Line) -> str:
    return bytes(line.msg or line.response).decode("utf-8") or line.text or ""


def _table(rows: list[tuple[int, str | None, str | None, str]]) -> Any:
    times, directions, urls, messages = zip(*rows, strict=True)
    stamps = pa.array(times, pa.int64())
    return pa.table(
        {
            "ts_ns": stamps,
            "recv_ns": stamps,
            "direction": pa.array(directions, pa.string()),
            "url": pa.array(urls, pa.string()),
            "message": pa.array(messages, pa.string()),
        }
    )
