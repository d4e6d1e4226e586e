"""Times and numbers on the wire."""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.coinbase.wire import RestOrder, TimeParser, format_time, plain


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.integers(0, 9), st.integers(0, 999_999_999))  # noqa: DTZ001 -- hypothesis wants naive bounds
def test_times_of_any_precision_are_exact(when: datetime, digits: int, fraction: int) -> None:
    """Against datetime's own calendar; 0 to 9 decimals, one parser for all so that its cache is tested too."""
    text = f"{fraction:09d}"[:digits]
    expected = int(when.replace(microsecond=0, tzinfo=UTC).timestamp()) * 10**9 + int((text or "0").ljust(9, "0"))
    suffix = f".{text}Z" if digits else "Z"
    assert PARSER(f"{when:%Y-%m-%dT%H:%M:%S}{suffix}") == expected


PARSER = TimeParser()


@pytest.mark.parametrize(
    "text",
    ["", "x", "2026-13-20T14:03:07Z", "2026-11-20T24:03:07Z", "2026-11-20T14:03:07", "2026-11-20T14:03:07.Z",
     "2026-11-20T14:03:07.12x4Z", "2026-11-20T14:03:07+01:00", "2026-11-20T14:03:07.1+01:00"],
)  # fmt: skip
def test_what_is_no_such_time_is_zero(text: str) -> None:
    """After a good one of the same second as well."""
    parser = TimeParser()
    assert parser("2026-11-20T14:03:07Z") == 1_795_183_387_000_000_000
    assert parser(text) == 0


def parsed_plainly(text: str) -> int:
    """Member by member, nothing remembered."""
    try:
        numbers = [int(text[a:b]) for a, b in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
        datetime(*numbers[:5], min(numbers[5], 59), tzinfo=UTC)
    except ValueError:
        return 0
    fraction = text[20:-1]
    if fraction.isdecimal() and text[-1] == "Z" and text[19] == ".":
        return timegm(tuple(numbers)) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return timegm(tuple(numbers)) * 10**9 if text[19:] == "Z" else 0


SECONDS = st.sampled_from(["2026-11-20T14:03:07", "2026-11-20T14:03:08", "2026-11-20T14:03:60", "2026-13-20T14:03:07"])
FRACTIONS = st.one_of(
    st.from_regex(r"\.[0-9]{9}", fullmatch=True),
    st.from_regex(r"[.,]?[0-9+_ x\u0661]{0,11}", fullmatch=True),
)


@given(st.lists(st.tuples(SECONDS, FRACTIONS, st.sampled_from(["Z", "Z", "", "z", "ZZ", "+01:00"])), max_size=8))
def test_one_after_the_other_gives_what_each_gives_alone(told: list[tuple[str, str, str]]) -> None:
    """Whatever the parser has kept of the texts before: whole fractions, shorter, longer and broken ones."""
    parser = TimeParser()
    texts = ["".join(parts) for parts in told]
    assert [parser(text) for text in texts] == [parsed_plainly(text) for text in texts]


@given(st.integers(0, 4 * 10**18))
def test_a_formatted_time_reads_back_to_the_microsecond(ts_ns: int) -> None:
    """Rounded down, never up."""
    assert TimeParser()(format_time(ts_ns)) == ts_ns // 1000 * 1000


@pytest.mark.parametrize(("value", "text"), [("1E-8", "0.00000001"), ("1E+3", "1000"), ("0.10", "0.10")])
def test_plain_numbers(value: str, text: str) -> None:
    """No exponent."""
    assert plain(Decimal(value)) == text


@pytest.mark.parametrize(
    ("side", "configuration", "read"),
    [
        ("BUY", {"limit_limit_gtc": {"base_size": "2", "limit_price": "90"}}, (Decimal(2), Decimal(90))),
        ("BUY", {"market_market_ioc": {"base_size": "2"}}, (Decimal(2), None)),
        ("BUY", {"market_market_ioc": {"quote_size": "2"}}, None),
        ("BUY", {"limit_limit_gtc": {"base_size": "2", "limit_price": "x"}}, None),
        (
            "SELL",
            {"trigger_bracket_gtc": {"base_size": "2", "limit_price": "110", "stop_trigger_price": "90"}},
            (Decimal(2), Decimal(110)),
        ),
        (
            "BUY",
            {"trigger_bracket_gtd": {"base_size": "2", "limit_price": "90", "stop_trigger_price": "120"}},
            (Decimal(2), Decimal(126)),
        ),
        ("BUY", {"trigger_bracket_gtc": {"base_size": "2", "limit_price": "90", "stop_trigger_price": "x"}}, None),
    ],
)
def test_an_order_that_somebody_else_has_placed_is_read_at_the_most_it_may_cost(
    side: str, configuration: dict[str, object], read: object
) -> None:
    """Size and price of each kind; None where there is no size in base units, or no number."""
    assert RestOrder("o1", "OPEN", "BTC-USD", side=side, order_configuration=configuration).size_and_price() == read
