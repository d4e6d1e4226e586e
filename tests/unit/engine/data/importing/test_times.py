"""Times as numbers, texts and stamps: always the same instant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.data.importing.times import Clock
from engine.errors import DataError

NS = int(np.datetime64("2024-03-01T12:30:00", "ns").astype(np.int64))


def clock(**options: Any) -> Clock:
    return Clock("a.csv column 'time'", lambda row: f"line {row + 2}", **options)


def read(values: Any, kind: Any = None, **options: Any) -> list[int]:
    times, valid = clock(**options).read(pa.array(values, kind))
    assert valid.all()
    return times.tolist()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (NS, pa.int64()),
        (NS // 1000, pa.int64()),
        (NS // 10**6, pa.int64()),
        (NS // 10**9, pa.int64()),
        (NS // 10**9, pa.uint32()),
        (NS / 10**9, pa.float64()),
        (NS / 10**6, pa.float64()),
        (NS, pa.timestamp("ns", "UTC")),
        (NS // 10**6, pa.timestamp("ms", "America/New_York")),
        (NS, pa.timestamp("ns")),
        ("2024-03-01T12:30:00Z", pa.string()),
        ("2024-03-01 12:30:00", pa.string()),
        (" 2024-03-01 12:30 ", pa.large_string()),
        ("2024-03-01T13:30:00+01:00", pa.string()),
        ("20240301 123000", pa.string()),
        ("2024/03/01 12:30", pa.string()),
        (str(NS // 10**6), pa.string()),
        (f"{NS // 10**9}.0", pa.string()),
    ],
)
def test_one_instant_in_every_form(value: Any, kind: Any) -> None:
    """12:30 on the first of March, in units, zones and texts."""
    assert read([value], kind) == [NS]


def test_days_are_midnight() -> None:
    """As a text with and without dashes, as a date."""
    midnight = NS - NS % (86_400 * 10**9)
    assert read(["2024-03-01"]) == read(["20240301"]) == read([midnight // (86_400 * 10**9)], pa.date32())
    assert read(["2024-03-01 01-PM"]) == [midnight + 13 * 3_600 * 10**9]


@pytest.mark.parametrize(
    ("value", "kind"), [("2024-03-01", None), ("20240301", None), ("2024/03/01", None), (19_783, pa.date32())]
)
def test_a_day_can_be_its_end(value: Any, kind: Any) -> None:
    """The next midnight of the zone, also over the 25 hours of a day; a time of day is that time."""
    day = 86_400 * 10**9
    midnight = NS - NS % day
    by_end = clock(by_end=True)
    assert by_end.read(pa.array([value, None], kind))[0].tolist() == [midnight + day, 0]
    assert (by_end.days, by_end.midnights) == (1, 0)
    assert read([value], kind, by_end=True, zone="America/New_York") == [midnight + day + 5 * 3_600 * 10**9]


def test_a_time_of_day_is_no_day() -> None:
    """One that is midnight is counted: it may have been a day."""
    for value in ("2024-03-01 00:00", "2024-03-01 12:30", NS // 10**9):
        by_end = clock(by_end=True)
        read_ns = by_end.read(pa.array([value]))[0].tolist()
        assert read_ns == clock().read(pa.array([value]))[0].tolist()
        assert (by_end.days, by_end.midnights) == (0, int(value == "2024-03-01 00:00"))


def test_a_number_beyond_all_times_is_refused_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    """1e23, as a float, a text and among good ones."""
    for values in ([1e23], ["99999999999999999999999"], [1.7e18, 1e23], [9.3e18, 1.7e18]):
        with pytest.raises(DataError, match="no time of market data"):
            read(values)
    assert not recwarn.list


def test_a_zone_is_that_of_times_without_one() -> None:
    """Noon in New York, in winter and summer; a time with a zone of its own keeps it."""
    winter, summer = read(["2024-01-15 12:00:00", "2024-07-15 12:00:00"], zone="America/New_York")
    assert (winter // 3_600_000_000_000 % 24, summer // 3_600_000_000_000 % 24) == (17, 16)
    assert read(["2024-03-01T12:30:00Z"], zone="America/New_York") == [NS]


def test_the_hour_that_comes_twice_is_taken_first_and_counted_and_the_one_that_never_was_is_refused() -> None:
    """New York, November and March of 2024."""
    local = clock(zone="America/New_York")
    times, _ = local.read(pa.array(["2024-11-03 00:30:00", "2024-11-03 01:30:00", "2024-11-03 02:30:00"]))
    assert np.diff(times).tolist() == [3_600 * 10**9, 2 * 3_600 * 10**9]
    assert local.ambiguous == 1
    with pytest.raises(DataError, match="did not exist in America/New_York"):
        read(["2024-03-10 02:30:00"], zone="America/New_York")


def test_times_without_a_zone_are_told_of() -> None:
    """Only where no zone was given."""
    for options, naive in (({}, True), ({"zone": "UTC"}, False)):
        made = clock(**options)
        made.read(pa.array(["2024-03-01 12:30:00"]))
        assert made.naive is naive


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([NS, NS // 10**6], "line 3, which reads as milliseconds, not nanoseconds"),
        ([NS / 10**9, NS / 10**6], "mixed"),
        (["2024-03-01", "soon"], "'soon' in line 3"),
        (["20240301 123000", "2024-03-01"], "'2024-03-01' in line 3"),
        (["01/03/2024 12:30"], "write the year first"),
        ([20240301], "days written as 20240131 have to be text"),
        ([[1]], "of type list"),
    ],
)
def test_a_time_that_is_unlike_the_others_is_refused(values: list[Any], said: str) -> None:
    """With the line it stands in."""
    with pytest.raises(DataError, match=said):
        read(values)


def test_a_unit_that_is_named_is_believed_and_checked() -> None:
    """Seconds of 1971 are small numbers; milliseconds are no seconds, and 3 is no time at all."""
    assert read([50_000_000], unit="s") == [50_000_000 * 10**9]
    with pytest.raises(DataError, match="3 in line 2, which is no time"):
        read([3], unit="s")
    with pytest.raises(DataError, match="mixed"):
        read([NS // 10**6], unit="s")


def test_missing_times_are_marked() -> None:
    """Null in any form."""
    for values in ([NS, None], ["2024-03-01", None], [float("nan"), NS / 10**9]):
        times, valid = clock().read(pa.array(values))
        assert sorted(valid.tolist()) == [False, True]
        assert times[~valid].tolist() == [0]


def test_what_the_first_rows_say_holds_for_later_ones() -> None:
    """A second batch in another unit."""
    made = clock()
    made.read(pa.array([NS]))
    with pytest.raises(DataError, match="mixed"):
        made.read(pa.array([NS // 10**6]))


def test_a_told_unit_reaches_before_1973_and_is_still_no_license_for_nonsense() -> None:
    """Milliseconds of 1965; nanoseconds among them."""
    assert read([-157_766_400_000, 94_694_400_000], unit="ms") == [-157_766_400 * 10**9, 94_694_400 * 10**9]
    for odd in (NS, 1_700_000_000):
        with pytest.raises(DataError, match="mixed, or wrong"):
            read([-157_766_400_000, odd], unit="ms")


def test_times_that_no_market_had_are_refused() -> None:
    """The year 9999, which some sources write for "never"."""
    for kind in (pa.timestamp("s"), pa.timestamp("ms", "UTC")):
        with pytest.raises(DataError, match="after 2261"):
            read([pa.scalar(253_402_214_400, pa.timestamp("s")).cast(kind)], kind)
