"""Columns of times, however written, as int64 UTC nanoseconds.

Owns units, zones and text formats.  A column is of one form throughout: what the first rows say holds for all, and a
value of another form is an error that names its row, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.kinds import YEAR_NS
from engine.errors import DataError

_FACTORS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# A number of this size or more is in the unit beside it; below the last it is in seconds.  Seconds of the year 5138 are
# milliseconds of 1973, and so on: no instant between 1973 and 5138 can be mistaken.
_SIZES: Final = ((10**17, "ns"), (10**14, "us"), (10**11, "ms"))
_FORMATS: Final = ("%Y%m%d %H%M%S", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y-%m-%d %I-%p")
_DAY_NS: Final = 86_400 * 10**9
_DAY_LETTERS: Final = 10
"""No text with a time of day is as short as ``2024-03-01``."""
_COMPACT_DAY: Final = (19_000_000, 21_000_000)
"""``20240131`` as a number is a day, not half a year of seconds."""


class Clock:
    """Reads one column of times.  ``what`` names file and column; ``where(n)`` the ``n``-th row of the batch in hand.

    ``zone`` is that of times which have none; ``naive`` says afterwards whether there were such and no zone was given.
    ``ambiguous`` counts times of the hour that autumn repeats: taken for the first of the two.

    ``by_end``: a day without a time of day (``2024-03-01``, a date) is its end, the next midnight, instead of its
    beginning; ``days`` counts them, ``midnights`` the other times that are the beginning of a day.
    """

    def __init__(
        self, what: str, where: Callable[[int], str], *, unit: str = "", zone: str = "", by_end: bool = False
    ) -> None:
        self.naive = False
        self.ambiguous = 0
        self.days = 0
        self.midnights = 0
        self._by_end = by_end
        self._what = what
        self._where = where
        self._unit = unit
        self._zone = zone
        self._format = ""
        self._guessed = False
        self._rows = 0

    def read(self, column: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """UTC nanoseconds, and which rows have a time at all (0 where not).  Raises ``DataError``."""
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            made = self._texts(column)
        elif pa.types.is_integer(kind) or pa.types.is_null(kind):
            made = self._numbers(self._whole(column))
        elif pa.types.is_floating(kind):
            made = self._fractions(column)
        elif pa.types.is_timestamp(kind):
            made = self._stamps(column)
        elif pa.types.is_date(kind):
            days = column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
            made = self._stamps(days, days.is_valid())
        else:
            raise DataError(f"{self._what} is of type {kind}", expected="times, numbers or texts")
        self._rows += len(column)
        valid = made.is_valid().to_numpy(zero_copy_only=False)
        return pc.fill_null(made, 0).to_numpy(zero_copy_only=False), valid

    def _whole(self, column: Any) -> Any:
        try:
            return column.cast(pa.int64())
        except pa.ArrowException as error:  # unsigned numbers
            number = pc.index(column, pc.max(column)).as_py()
            raise DataError(
                f"{self._what} is {column[number].as_py()} in {self._where(number)}, which is no time of market data",
                expected="one unit in every row",
                do="convert the column, or name the unit: --time-unit",
            ) from error

    def _texts(self, column: Any) -> Any:
        column = pc.utf8_trim_whitespace(column)
        if not self._format:
            if column.null_count == len(column):
                return pa.nulls(len(column), pa.int64())
            self._format = self._detect(column)
        if self._format == "number":
            return self._numbers(self._cast(column, pa.int64()))
        if self._format == "fraction":
            return self._fractions(self._cast(column, pa.float64()))
        if self._format == "zoned":
            return self._cast(column, pa.timestamp("ns", "UTC")).cast(pa.int64())
        days = pc.less_equal(pc.utf8_length(column), _DAY_LETTERS)
        if self._format == "iso":
            return self._stamps(self._cast(column, pa.timestamp("ns")), days)
        parsed = pc.strptime(column, format=self._format, unit="s", error_is_null=True)
        self._check_parsed(column, parsed)
        return self._stamps(parsed.cast(pa.timestamp("ns")), days)

    def _detect(self, column: Any) -> str:
        number, first = next((n, each.as_py()) for n, each in enumerate(column) if each.is_valid)
        sample = pa.array([first])
        for name, kind in (
            ("number", pa.int64()),
            ("fraction", pa.float64()),
            ("iso", pa.timestamp("ns")),
            ("zoned", pa.timestamp("ns", "UTC")),
        ):
            try:
                sample.cast(kind)
            except pa.ArrowException:
                continue
            return "%Y%m%d" if name == "number" and len(first) == 8 and not self._unit else name
        for text in _FORMATS:
            if not pc.strptime(sample, format=text, unit="s", error_is_null=True).null_count:
                return text
        raise DataError(
            f"{self._what} is {first!r} in {self._where(number)}",
            expected="a time such as 2024-01-31 13:00:00, or a number of seconds, milliseconds, ...",
            do="write the year first",
        )

    def _cast(self, column: Any, kind: Any) -> Any:
        try:
            return column.cast(kind)
        except pa.ArrowException as error:
            for number, each in enumerate(column):
                try:
                    pa.array([each.as_py()], pa.string()).cast(kind)
                except pa.ArrowException:
                    raise self._odd(number, each.as_py()) from error
            raise

    def _check_parsed(self, column: Any, parsed: Any) -> None:
        lost = pc.and_(parsed.is_null(), column.is_valid()).to_numpy(zero_copy_only=False)
        if lost.any():
            number = int(lost.argmax())
            raise self._odd(number, column[number].as_py())

    def _odd(self, number: int, seen: str) -> DataError:
        return DataError(
            f"{self._what} is {seen!r} in {self._where(number)}",
            expected="a time written like the ones before it",
            do="correct or remove that row",
        )

    def _numbers(self, column: Any) -> Any:
        values = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        if not valid.any():
            return column
        if not self._unit and self._rows == 0 and _COMPACT_DAY[0] < values[valid][0] < _COMPACT_DAY[1]:
            raise DataError(
                f"{self._what} is {values[valid][0]} in {self._where(0)}",
                expected="a time",
                do="days written as 20240131 have to be text, or name the unit: --time-unit s",
            )
        self._learn(int(values[valid][0]))
        self._check(values, valid)
        made = pc.multiply(column, _FACTORS[self._unit])
        self._count_midnights(made)
        return made

    def _fractions(self, column: Any) -> Any:
        """Numbers with a fraction: to the microsecond, which is what a float of seconds can tell."""
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        valid = np.isfinite(values)
        if not valid.any():
            return pa.nulls(len(column), pa.int64())
        self._learn(int(values[valid][0]))
        self._check(values, valid)
        whole = np.where(valid, np.round(np.where(valid, values, 0.0) * (_FACTORS[self._unit] / 1000)), 0.0)
        made = pc.if_else(pa.array(valid), pa.array(whole.astype(np.int64) * 1000), pa.scalar(None, pa.int64()))
        self._count_midnights(made)
        return made

    def _learn(self, first: int) -> None:
        """The unit of the first number, unless it was told."""
        if not self._unit:
            self._unit = _unit_of(first)
            self._guessed = True

    def _check(self, values: Any, valid: Any) -> None:
        """Raises ``DataError`` for a number that is no time in the column's unit.

        A unit that was told is believed as far as the result is a time: milliseconds of 1965 are few.
        """
        chosen = values[valid]
        for at in {int(chosen.argmin()), int(chosen.argmax()), int(np.abs(chosen).argmin())}:
            number = int(chosen[at])
            seen = _unit_of(number)
            fits = seen == self._unit if self._guessed else _is_time(number * _FACTORS[self._unit])
            fits = fits and abs(number) * _FACTORS[self._unit] < 2**63
            if not fits:
                reads = "is no time of market data"
                if seen != self._unit:
                    reads = f"reads as {_NAMES[seen]}, not {_NAMES[self._unit]}: its time units are mixed, or wrong"
                raise DataError(
                    f"{self._what} is {number} in {self._where(int(np.flatnonzero(valid)[at]))}, which {reads}",
                    expected="one unit in every row",
                    do="convert the column, or name the unit: --time-unit",
                )

    def _count_midnights(self, ns: Any) -> None:
        values = pc.fill_null(ns, 1).to_numpy(zero_copy_only=False)
        self.midnights += int((values % _DAY_NS == 0).sum())

    def _stamps(self, column: Any, days: Any = None) -> Any:
        """``days``: which of the times are days without a time of day."""
        if column.type.tz is not None:
            made = _nanoseconds(column, column.type.tz, self._what).cast(pa.int64())
            self._count_midnights(made)
            return made
        column = _nanoseconds(column, "", self._what)
        local = column.cast(pa.int64())
        if self._by_end and days is not None:
            shift = pc.if_else(days, _DAY_NS, 0)
            self.days += int(pc.sum(days).as_py() or 0)
            column = pc.add(local, shift).cast(pa.timestamp("ns"))
            local = pc.if_else(days, None, local)
        self._count_midnights(local)
        if not self._zone:
            self.naive = True
            return column.cast(pa.int64())
        try:
            early = pc.assume_timezone(column, self._zone, ambiguous="earliest", nonexistent="raise")
            late = pc.assume_timezone(column, self._zone, ambiguous="latest", nonexistent="raise")
        except pa.ArrowException as error:
            raise DataError(
                f"{self._what} has a time that did not exist in {self._zone}: the clock was put forward over it",
                expected=f"times of {self._zone}",
                do="name the zone of the file: --tz UTC",
            ) from error
        self.ambiguous += int(pc.sum(pc.not_equal(early, late)).as_py() or 0)
        return early.cast(pa.int64())


def _unit_of(number: int) -> str:
    size = abs(number)
    return next((unit for least, unit in _SIZES if size >= least), "s")


def _is_time(ns: int) -> bool:
    """Whether data can be of this time: not within a year of 1970, where small numbers of another unit lie."""
    return abs(ns) >= YEAR_NS and -200 * YEAR_NS < ns < 130 * YEAR_NS


def _nanoseconds(column: Any, zone: str, what: str) -> Any:
    try:
        return column.cast(pa.timestamp("ns", zone or None))
    except pa.ArrowException as error:
        raise DataError(f"{what} has a time before 1678 or after 2261", expected="times of market data") from error
