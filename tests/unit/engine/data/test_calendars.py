"""Compiled trading calendars: the hours that are known, real candles, and the library they are made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.data import calendars
from engine.data.calendars import Calendar, calendar, names, read_calendar, write_calendar
from engine.errors import DataError
from tests.support.scripts import load_script

ROOT = Path(__file__).resolve().parents[4]
HOUR_NS = 3_600 * 10**9


def ns(text: str) -> int:
    """A UTC time."""
    return int(np.datetime64(text).astype("datetime64[ns]").astype(np.int64))


def sessions(name: str, first: str, last: str) -> list[tuple[str, str]]:
    """Sessions that begin from the one time to the other, to the minute, UTC."""
    hours = calendar(name)
    chosen = (hours.opens_ns >= ns(first)) & (hours.opens_ns <= ns(last))
    minutes = [part[chosen].astype("datetime64[ns]").astype("datetime64[m]") for part in hours[1:]]
    return [(str(begin), str(end)) for begin, end in zip(*minutes, strict=True)]


def test_the_new_york_stock_exchange_closes_early_before_independence_day() -> None:
    """Published hours of 2024: 3 July ends at 13:00, 4 July is a holiday, 5 July is a whole day."""
    assert sessions("XNYS", "2024-07-02", "2024-07-05T23:59") == [
        ("2024-07-02T13:30", "2024-07-02T20:00"),
        ("2024-07-03T13:30", "2024-07-03T17:00"),
        ("2024-07-05T13:30", "2024-07-05T20:00"),
    ]


@pytest.mark.parametrize(
    ("first", "last"),
    [("2001-09-11", "2001-09-14"), ("2012-10-29", "2012-10-30"), ("2018-12-05", "2018-12-05"), ("2025-01-09",) * 2],
)
def test_closings_that_no_rule_foretells_are_there(first: str, last: str) -> None:
    """Attacks, a hurricane, days of mourning."""
    assert sessions("XNYS", first, f"{last}T23:59") == []


def test_globex_rests_for_an_hour_a_day_and_opens_on_christmas_evening() -> None:
    """17:00 to 16:00 Chicago; on 2023-12-25 trading opened at 23:00 UTC."""
    assert sessions("CMES", "2023-12-21", "2023-12-27T12:00") == [
        ("2023-12-21T23:00", "2023-12-22T22:00"),
        ("2023-12-25T23:00", "2023-12-26T22:00"),
        ("2023-12-26T23:00", "2023-12-27T22:00"),
    ]


def test_currencies_trade_from_sunday_to_friday_and_follow_new_yorks_clock() -> None:
    """The week in which summer time began, 2024-03-10: Sunday's opening is an hour earlier in UTC."""
    week = sessions("FX", "2024-03-07T12:00", "2024-03-12")
    assert week[0] == ("2024-03-07T22:00", "2024-03-08T22:00")
    assert week[1] == ("2024-03-10T21:00", "2024-03-11T21:00")


def test_the_days_of_recorded_shares_are_the_sessions(market_data: Path) -> None:
    """24 years of daily candles of IBM: the same days, none more and none less."""
    recorded = pq.read_table(market_data / "bars" / "us_1d_2000_2024.parquet", filters=[("symbol", "=", "IBM")])
    days = recorded["ts_ns"].to_numpy() // (24 * HOUR_NS)
    opened = calendar("XNYS").opens_ns // (24 * HOUR_NS)
    np.testing.assert_array_equal(days, opened[(opened >= days[0]) & (opened <= days[-1])])


@pytest.mark.parametrize(
    ("stem", "name", "outside", "empty"),
    [
        # After early closes, and on holidays on which some brokers quoted on; the week that is missing in the files.
        ("us_1h_spy", "XNYS", 47, 0),
        ("fx_1h_oanda_eurusd", "FX", 44, 7),
        ("fx_1m_fxcm_gbpusd_201202", "FX", 0, 0),
    ],
)
def test_recorded_candles_lie_in_sessions(market_data: Path, stem: str, name: str, outside: int, empty: int) -> None:
    """Candles that overlap no session, and sessions without a candle, are counted over each file."""
    starts = pq.read_table(market_data / "bars" / f"{stem}.parquet")["ts_ns"].to_numpy()
    step = HOUR_NS if "_1h_" in stem else HOUR_NS // 60
    hours = calendar(name)
    ends = np.minimum(np.searchsorted(hours.closes_ns, starts, "right"), len(hours.closes_ns) - 1)
    assert int((hours.opens_ns[ends] >= starts + step).sum()) == outside
    within = (hours.opens_ns >= starts[0]) & (hours.closes_ns <= starts[-1])
    first = np.searchsorted(starts, hours.opens_ns[within] - step + 1)
    assert int((first == np.searchsorted(starts, hours.closes_ns[within])).sum()) == empty


@pytest.mark.parametrize("name", names())
def test_the_committed_files_are_what_the_library_gives(name: str) -> None:
    """Compiled anew, where exchange_calendars is installed: every session of 46 years."""
    pytest.importorskip("exchange_calendars")
    module = load_script(ROOT / "docs" / "make_calendars.py")
    made, kept = module.compile_calendar(name), calendar(name)
    np.testing.assert_array_equal(made.opens_ns, kept.opens_ns)
    np.testing.assert_array_equal(made.closes_ns, kept.closes_ns)
    assert set(module.CALENDARS) == set(names())


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Two sessions; the same ones give the same bytes."""
    made = Calendar(
        "X", np.array([ns("2024-01-01T10:00"), ns("2024-01-02T10:00")]), np.array([ns("2024-01-01T11:30")] * 2)
    )
    made.closes_ns[1] = ns("2024-01-03")
    path = write_calendar(made, tmp_path, source="a test")
    first = path.read_bytes()
    kept = read_calendar(path)
    assert (kept.opens_ns.tolist(), kept.closes_ns.tolist()) == (made.opens_ns.tolist(), made.closes_ns.tolist())
    assert write_calendar(made, tmp_path, source="a test").read_bytes() == first


def test_a_calendar_that_does_not_exist_names_the_nearest() -> None:
    """One line."""
    with pytest.raises(DataError, match=r"unknown trading calendar 'XNYC'.*did you mean 'XNYS'"):
        calendar("XNYC")


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    """Cut short, of another kind, and with sessions that overlap."""
    cut = tmp_path / "cut.npz"
    cut.write_bytes((calendars.FOLDER / "FX.npz").read_bytes()[:300])
    other = tmp_path / "other.npz"
    np.savez(other, a=np.zeros(3))
    write_calendar(
        Calendar("twice", np.array([0, HOUR_NS]), np.array([2 * HOUR_NS, 3 * HOUR_NS])), tmp_path, source="x"
    )
    for name, said in (("cut", "no trading calendar"), ("other", "no trading calendar"), ("twice", "overlap")):
        with pytest.raises(DataError, match=said) as caught:
            read_calendar(tmp_path / f"{name}.npz")
        assert "\n" not in str(caught.value)


def test_open_means_from_the_opening_until_before_the_close() -> None:
    """Four moments of one session; a time that the calendar does not reach is an error, not closed."""
    moments = ["2024-07-03T13:29:59", "2024-07-03T13:30", "2024-07-03T16:59:59", "2024-07-03T17:00"]
    held = calendar("XNYS").is_open(np.array([ns(moment) for moment in moments]))
    assert held.tolist() == [False, True, True, False]
    with pytest.raises(DataError, match="1990-01-02 to 2035-12-31"):
        calendar("XNYS").is_open(np.array([ns("2036-02-01")]))
