"""Options of ``data fetch``: exact times, one clear line for what is wrong, and what is told at the end."""

from __future__ import annotations

from typing import Any

import pytest

from config.data_fetch import Outcome, _request, at, time_ns
from connectors.download import Tally
from engine.errors import ConfigError

NS = 1_000_000_000
DAY = 1_704_067_200
"""2024-01-01."""


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("2024-01-01", DAY * NS),
        ("2024-01-01T12:30", (DAY + 45_000) * NS),
        ("2024-01-01 12:30:15", (DAY + 45_015) * NS),
        ("2024-01-01T00:00:00Z", DAY * NS),
        ("2024-01-01T01:00:00+01:00", DAY * NS),
        ("2024-01-01T00:00:00.000001", DAY * NS + 1_000),
        ("1990-01-01", 631_152_000 * NS),
    ],
)
def test_times_are_utc_and_exact(text: str, expected_ns: int) -> None:
    """Dates, minutes, zones and microseconds, without a float in between."""
    assert time_ns("--start", text) == expected_ns


@pytest.mark.parametrize("text", ["", "tomorrow", "1704067200", "2024-13-01", "0001-01-01", "2024-01-01T25:00"])
def test_what_is_no_time_is_told_with_its_option(text: str) -> None:
    """Seconds since 1970 are none either: whose unit would it be?"""
    with pytest.raises(ConfigError, match=r"^--end .*expected a UTC date or time"):
        time_ns("--end", text)


def request(**given: Any) -> Any:
    options = {"symbols": "BTC/USD", "kind": "bars", "interval": None, "start": "2024-01-01", "end": None}
    return _request(**(options | given), again=False)


def test_symbols_are_taken_in_the_venues_spelling_too_and_each_once() -> None:
    """Lower case, a dash, spaces, a repetition; dashes of a contract's name stay."""
    assert request(symbols="btc-usd, ETH/USD,BTC/USD,").symbols == ("BTC/USD", "ETH/USD")
    assert request(symbols="bip-20dec30-cde/usd").symbols == ("BIP-20DEC30-CDE/USD",)


def test_intervals() -> None:
    """An hour unless said otherwise; none for trades."""
    assert request().interval_ns == 3_600 * NS
    assert request(interval="15m").interval_ns == 900 * NS
    assert request(kind="trades").interval_ns == 0


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"symbols": " , "}, "--symbols is empty"),
        ({"symbols": "BTC"}, "--symbols 'BTC'; expected BASE/QUOTE"),
        ({"symbols": "../../etc"}, "--symbols"),
        ({"kind": "ticks"}, "--kind ticks; expected bars or trades"),
        ({"kind": "trades", "interval": "1h"}, "--interval 1h with --kind trades"),
        ({"interval": "soon"}, "--interval soon; expected a length such as 1m"),
        ({"end": "2024-01-01"}, "--end 2024-01-01 is not after --start 2024-01-01"),
        ({"end": "2023-12-31"}, "--end 2023-12-31 is not after"),
    ],
)
def test_wrong_options_are_one_line(given: dict[str, str], line: str) -> None:
    """Each names the option and what was expected."""
    with pytest.raises(ConfigError) as told:
        request(**given)
    assert str(told.value).startswith(line)
    assert "\n" not in str(told.value)


def test_what_is_told_at_the_end() -> None:
    """Everything the user has to know is a line; what did not happen is none."""
    tally = Tally(rows=5, present=2, revised=1, dropped=3, conflicts=4, cut=6)
    outcome = Outcome(tallies={"BTC/USD": tally}, ends_ns={"BTC/USD": (DAY + 3_661) * NS}, interrupted=True)
    lines = list(outcome.lines(request()))
    assert lines[0] == "BTC/USD bars 1h: 5 rows stored (2 more were there), 2024-01-01 to 2024-01-01 01:01:01"
    for number, word in ((1, "stay"), (4, "first were stored"), (3, "left out"), (6, "not complete"), (5, "goes on")):
        assert any(str(number) in line and word in line for line in lines[1:]), (number, word)
    outcome = Outcome(tallies={"BTC/USD": Tally(rows=5)}, ends_ns={"BTC/USD": (DAY + 86_400) * NS})
    assert list(outcome.lines(request())) == ["BTC/USD bars 1h: 5 rows stored, 2024-01-01 to 2024-01-02"]
    outcome = Outcome(tallies={"BTC/USD": Tally()}, ends_ns={"BTC/USD": DAY * NS})
    assert list(outcome.lines(request())) == ["BTC/USD bars 1h: nothing is finished since 2024-01-01"]


def test_json_counts_all_symbols() -> None:
    """Sums, and resumed if any of them was."""
    outcome = Outcome(tallies={"A/B": Tally(rows=1), "C/D": Tally(rows=2, resumed=True)}, requests=9)
    told = outcome.content("coinbase", request(), "var/catalogue", 1.23456)
    assert {key: told[key] for key in ("venue", "symbols", "kind", "rows", "requests", "resumed", "seconds")} == {
        "venue": "coinbase",
        "symbols": ["BTC/USD"],
        "kind": "bars",
        "rows": 3,
        "requests": 9,
        "resumed": True,
        "seconds": 1.235,
    }


def test_times_are_shown_to_the_second() -> None:
    """Midnight is a date."""
    assert at(DAY * NS) == "2024-01-01"
    assert at((DAY + 61) * NS + 5) == "2024-01-01 00:01:01"
