"""A file of any known format as a schema, its metadata and a stream of record batches.

Owns the recognition of formats (by their first bytes, never by the name's ending alone) and the errors of damaged
files.  What the columns mean is ``mapping``; raw frames (JSON lines) are ``frames``.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from engine.data.importing.damage import DamagedFile
from engine.data.importing.delimited import open_delimited
from engine.data.parts import Source
from engine.data.schema import first_line
from engine.errors import DataError

BATCH_ROWS: Final = 131_072
_HEAD: Final = 65_536
_FORMATS: Final = "CSV (.csv, .csv.gz), Parquet, feather, or JSON lines of raw frames (.jsonl, .jsonl.gz)"


class Rows(msgspec.Struct):
    """An opened table file.  ``batches()`` starts again from the first row at each call; ``where(n)`` names row ``n``
    (from 0) for an error: its line in a text file.  ``rows`` is None where only reading tells."""

    path: Path
    format: str
    schema: Any
    metadata: dict[str, str]
    batches: Callable[[], Iterator[Any]]
    where: Callable[[int], str]
    rows: int | None = None


def format_of(path: Path) -> str:
    """``parquet``, ``feather``, ``csv``, ``frames``, or empty for a file of another kind.  Raises ``DataError`` for
    one that cannot be read at all."""
    head = _head(path)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1":
        return "feather"
    if b"\0" in head:
        return ""
    if head.lstrip()[:1] == b"{":
        return "frames"
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    return "csv" if ending in ("csv", "tsv", "txt") and path.name.lower() not in _TEXTS else ""


_TEXTS: Final = frozenset({"readme.txt", "license.txt", "licence.txt", "notice.txt", "requirements.txt"})


def open_rows(path: Path) -> Rows:
    """Open a table file.  Raises ``DataError`` with one line for whatever is wrong with it."""
    name = format_of(path)
    if name == "parquet":
        return _open_parquet(path)
    if name == "feather":
        return _open_feather(path)
    if name == "csv":
        names, batches, where = open_delimited(path, _head(path))
        return Rows(path, "csv", pa.schema([(each, pa.string()) for each in names]), {}, batches, where)
    raise _unknown(path)


def promised_digest(path: Path) -> str:
    """The sha256 that a checksum file beside this one promises (``NAME.sha256`` or ``SHA256SUMS``, as sha256sum writes
    them); empty when there is none."""
    for beside in (path.with_name(f"{path.name}.sha256"), path.with_name("SHA256SUMS")):
        try:
            text = beside.read_text("utf-8", "replace")
        except OSError:
            continue
        for line in text.splitlines():
            digest, _, name = line.strip().partition(" ")
            if len(digest) == 64 and name.strip().removeprefix("*").removeprefix("./") in (path.name, ""):
                return digest.lower()
    return ""


def source_of(path: Path) -> Source:
    """The file's name and the digest of its bytes, by which a second import of it is recognised."""
    try:
        with path.open("rb") as file:
            return Source(path.name, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise _unreadable(path, error) from error


def _unknown(path: Path) -> DataError:
    """Why this is no file that can be imported; the endings say what its owner took it for."""
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if ending in ("parquet", "feather", "arrow"):
        return DamagedFile(
            f"{path} is no readable {ending} file (its first bytes are of something else)",
            expected=f"a complete {ending} file",
            do="it may be truncated or of another format; copy it again from its source",
        )
    if _head(path)[:2] == b"PK":
        return DataError(f"{path} is a zip archive", expected=_FORMATS, do="unpack it first")
    return DataError(f"{path} is of no known format", expected=_FORMATS)


def _head(path: Path) -> bytes:
    """The first bytes, unpacked."""
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path} is a link to nothing", expected="a file of market data", do="check where it leads")
    if not path.exists():
        raise DataError(f"{path} does not exist", expected="a file of market data", do="check the path")
    if not path.is_file():
        raise DataError(f"{path} is no file", expected="a file of market data", do="check the path")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            head: bytes = file.read(_HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if not head:
        raise DamagedFile(f"{path} is empty", expected=_FORMATS, do="copy it again from its source")
    return head


def _unreadable(path: Path, error: BaseException) -> DamagedFile:
    if isinstance(error, PermissionError):
        return DamagedFile(f"{path} cannot be read: permission denied", do="allow this user to read it")
    return DamagedFile(
        f"{path} is damaged ({first_line(error)})",
        expected="a complete file",
        do="it may be truncated; copy it again from its source",
    )


def _open_parquet(path: Path) -> Rows:
    def batches() -> Iterator[Any]:
        try:
            with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
                yield from file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    return Rows(path, "parquet", schema, _metadata(schema), batches, _row, rows)


def _open_feather(path: Path) -> Rows:
    def batches() -> Iterator[Any]:
        try:
            with pa.memory_map(str(path)) as mapped:
                file = pa.ipc.open_file(mapped)
                for number in range(file.num_record_batches):
                    batch = file.get_batch(number)
                    for start in range(0, batch.num_rows, BATCH_ROWS):
                        yield batch.slice(start, BATCH_ROWS)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    try:
        with pa.memory_map(str(path)) as mapped:
            schema = pa.ipc.open_file(mapped).schema
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    return Rows(path, "feather", schema, _metadata(schema), batches, _row)


def _metadata(schema: Any) -> dict[str, str]:
    raw = schema.metadata or {}
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in raw.items()}


def _row(number: int) -> str:
    return f"row {number + 1}"
