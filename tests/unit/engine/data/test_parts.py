"""``engine.data.parts``: names as paths and back, dates, intervals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.parts import (
    Source,
    date_unit,
    dates_of,
    escape,
    interval_ns_of,
    interval_text,
    series_of,
    unescape,
)
from engine.errors import DataError
from tests.support.stored import T0

MINUTE = 60 * 10**9


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_name_comes_back_from_its_segment_which_never_leaves_its_folder(name: str) -> None:
    """Any text but half a surrogate pair: one segment of safe characters, reversible."""
    segment = escape(name)
    assert unescape(segment) == name
    assert set(segment) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-%")
    assert Path("root", f"instrument={segment}").parts[:-1] == ("root",)


@pytest.mark.parametrize(
    ("symbol", "instrument", "folder"),
    [
        ("PEPE/USDT", "PEPE/USDT@test", "venue=test/instrument=PEPE-USDT/kind=quotes"),
        ("BTCUSDT", "BTC/USDT@test", "venue=test/instrument=BTC-USDT/kind=quotes"),
        ("../x", "../X@test", "venue=test/instrument=..-X/kind=quotes"),
        ("BTC 1000$", "BTC 1000$@test", "venue=test/instrument=BTC%201000%24/kind=quotes"),
        ("BTC-30JUL21-4-C", "BTC-30JUL21-4-C@test", "venue=test/instrument=BTC%2D30JUL21%2D4%2DC/kind=quotes"),
        ("比特币", "比特币@test", "venue=test/instrument=%E6%AF%94%E7%89%B9%E5%B8%81/kind=quotes"),
        ("ESH4", "ESH4@test", "venue=test/instrument=ESH4/kind=quotes"),
    ],
)  # fmt: skip
def test_odd_symbols_have_a_folder_of_their_own(symbol: str, instrument: str, folder: str) -> None:
    """The id says base and quote where the symbol does; what is no letter, digit, dot or underscore is escaped."""
    series = series_of("test", symbol, "quotes")
    assert (series.instrument, series.folder) == (instrument, folder)


@pytest.mark.parametrize("symbol", ["a\nb", "x\x1b[31m", "\x00", "x\u202ey", "\x7f"])
def test_a_name_that_would_command_a_terminal_is_refused(symbol: str) -> None:
    """Line ends, escapes and reversed writing: whatever lists the catalogue prints names as they are."""
    with pytest.raises(DataError, match="cannot be a name"):
        series_of("test", symbol, "quotes")


def test_a_dash_in_a_name_and_the_slash_of_a_pair_differ() -> None:
    """BRK-B in dollars is not BRK in B-USD: both are dashes to the eye, one is escaped."""
    folders = {
        series_of("test", "x", "quotes", instrument=f"{pair}@test").folder for pair in ("BRK-B/USD", "BRK/B-USD")
    }
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("venue", "symbol"), [("test", ""), ("test", "  "), ("!!", "BTC-USD"), ("test", "X" * 300), ("test", "\udc80")]
)
def test_names_that_no_file_can_carry_are_refused(venue: str, symbol: str) -> None:
    """Empty, too long, half a surrogate pair (a file name of undecodable bytes), a venue without a letter."""
    with pytest.raises(DataError):
        series_of(venue, symbol, "quotes")


def test_bars_have_an_interval_and_ticks_have_none() -> None:
    with pytest.raises(DataError, match="expected the length of a bar"):
        series_of("test", "BTC-USD", "bars")
    with pytest.raises(DataError, match="only bars have an interval"):
        series_of("test", "BTC-USD", "quotes", MINUTE)
    assert series_of("test", "BTC-USD", "bars", 5 * MINUTE).folder.endswith("/kind=bars/interval=5m")


@given(st.integers(min_value=1, max_value=10**17))
def test_any_interval_comes_back_from_its_text(interval_ns: int) -> None:
    assert interval_ns_of(interval_text(interval_ns)) == interval_ns


@pytest.mark.parametrize(
    ("text", "value"),
    [("1h", 60 * MINUTE), ("90m", 90 * MINUTE), ("1d", 1440 * MINUTE), ("250ms", 250 * 10**6)],
)
def test_intervals_read_as_people_write_them(text: str, value: int) -> None:
    assert interval_ns_of(text) == value
    assert interval_text(value) == text


def test_no_interval_is_an_error() -> None:
    for text in ("", "h", "0h", "1y", "-1m", "1.5h"):
        with pytest.raises(DataError, match="a length such as"):
            interval_ns_of(text)


@pytest.mark.parametrize(
    ("kind", "interval_ns", "date"),
    [
        ("quotes", 0, "2024-06-26"),
        ("book_deltas", 0, "2024-06-26"),
        ("bars", MINUTE // 60, "2024-06-26"),
        ("bars", MINUTE, "2024-06"),
        ("quote_bars", 30 * MINUTE, "2024-06"),
        ("bars", 60 * MINUTE, "2024"),
        ("exogenous", 0, "2024"),
    ],
)
def test_a_folder_spans_a_day_of_ticks_a_month_of_minutes_a_year_of_hours(
    kind: str, interval_ns: int, date: str
) -> None:
    unit = date_unit(series_of("test", "BTC-USD", kind, interval_ns))
    assert str(dates_of(np.array([T0]), unit)[0]) == date


def test_a_source_is_known_by_its_content(tmp_path: Path) -> None:
    """The same bytes under two names have one digest; a file that cannot be read is one line."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(b"1,2\n")
    assert Source.of_file(tmp_path / "a.csv").sha256 == Source.of_file(tmp_path / "b.csv").sha256
    with pytest.raises(DataError, match="cannot be read"):
        Source.of_file(tmp_path / "c.csv")
