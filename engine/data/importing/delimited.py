"""CSV files (comma, semicolon, tab or bar; plain or gzip) as batches of text columns.

Owns the header, the delimiter and the line numbers of errors.  All columns are read as text: turning them into numbers
and times is ``values`` and ``times``, which can then name the line of a value that is none.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv

from engine.data.importing.damage import DamagedFile
from engine.data.schema import first_line
from engine.errors import DataError

_DELIMITERS: Final = ",;\t|"
_PREAMBLE_MAX: Final = 20
"""Lines before the header that some sources put there: an address, a title."""


def open_delimited(path: Path, head: bytes) -> tuple[list[str], Callable[[], Iterator[Any]], Callable[[int], str]]:
    """Column names, a function that yields record batches, and one that names the line of a row.

    A file without a header (its first row holds numbers only) has columns named ``1``, ``2``, ... Raises ``DataError``.
    """
    delimiter, skipped, names = _header(path, head)

    def batches() -> Iterator[Any]:
        try:
            with _stream(path) as stream:
                yield from _read(stream, names, delimiter, skipped)
        except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
            raise _bad_line(path, error, names, delimiter, skipped) from error

    def where(row: int) -> str:
        return f"line {_line_of(path, delimiter, skipped, row)}"

    return names, batches, where


def _read(stream: Any, names: list[str], delimiter: str, skipped: int) -> Iterator[Any]:
    reader = pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(column_names=names, skip_rows=skipped, use_threads=False, block_size=8 << 20),
        parse_options=pacsv.ParseOptions(delimiter=delimiter),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )
    yield from reader


def _header(path: Path, head: bytes) -> tuple[str, int, list[str]]:
    """Delimiter, lines to skip, column names."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The head may end within a character; anything earlier is another encoding.
        if error.start < len(head) - 4:
            raise DataError(
                f"{path} is no UTF-8 text (byte {error.start})", expected="a CSV file in UTF-8", do="save it as UTF-8"
            ) from error
        text = head[: error.start].decode("utf-8-sig")
    lines = text.splitlines()
    for number, line in enumerate(lines[: _PREAMBLE_MAX + 1]):
        counts = {each: line.count(each) for each in _DELIMITERS}
        delimiter = max(counts, key=lambda each: counts[each])
        if not counts[delimiter]:
            continue
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
        if all(_is_number(name) for name in names if name):
            return delimiter, number, [str(count) for count in range(1, len(names) + 1)]
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise DataError(
                f"{path} has {names.count(doubled)} columns named {doubled!r}", expected="one", do="rename one of them"
            )
        return delimiter, number + 1, names
    raise DataError(
        f"{path} has no header line with several columns", expected="columns parted by comma, semicolon, tab or |"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _stream(path: Path) -> Any:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return pa.input_stream(str(path), compression="gzip" if packed else None)


def _records(path: Path, delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every data row, slowly: only for the wording of an error."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as binary:
        text = io.TextIOWrapper(binary, "utf-8-sig", errors="replace", newline="")
        for _ in range(skipped):
            text.readline()
        reader = csv.reader(text, delimiter=delimiter)
        for fields in reader:
            if fields:
                yield skipped + reader.line_num, fields


def _line_of(path: Path, delimiter: str, skipped: int, row: int) -> int:
    for number, (line, _) in enumerate(_records(path, delimiter, skipped)):
        if number == row:
            return line
    return skipped + row + 1


def _bad_line(path: Path, error: BaseException, names: list[str], delimiter: str, skipped: int) -> DataError:
    try:
        for line, fields in _records(path, delimiter, skipped):
            if len(fields) != len(names):
                return DataError(
                    f"{path} line {line} has {len(fields)} fields",
                    expected=f"{len(names)}, as in its header",
                    do="correct or remove that line",
                )
    except (OSError, EOFError, zlib.error) as worse:
        return DamagedFile(
            f"{path} is damaged ({first_line(worse)})", expected="a complete file", do="copy it again from its source"
        )
    except csv.Error as worse:
        return DataError(f"{path} cannot be read as CSV ({first_line(worse)})", expected="UTF-8 text with a header")
    return DataError(f"{path} cannot be read as CSV ({first_line(error)})", expected="UTF-8 text with a header")
