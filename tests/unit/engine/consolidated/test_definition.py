"""What may be consolidated: the same thing on several venues, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.consolidated import ConsolidatedDefinition, check_members, consolidated_instrument
from engine.errors import ConfigError
from tests.support.consolidated import NAME, define, rules
from tests.support.fake_view import make_instrument

D = Decimal


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"instrument": "BTC/USD@coinbase"}, "BTC/USD@consolidated"),
        ({"members": ("BTC/USD@v0",)}, "two or more"),
        ({"members": ("BTC/USD@v0", "BTC/USD@v0")}, "each once"),
        ({"members": ("BTC/USD@v0", NAME)}, "no consolidated"),
        ({"stale_ns": 0}, "stale limit"),
        ({"wild_bps": 0.0}, "wild_bps"),
        ({"wild_bps": 600.0}, "wild_bps <= band_bps"),
        ({"band_bps": float("nan")}, "band_bps"),
        ({"bar_ns": -1}, "correct"),
    ],
)
def test_a_definition_that_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    """One wrong field each; the message says what is expected."""
    with pytest.raises(ConfigError, match=words):
        ConsolidatedDefinition(**{"instrument": NAME, "members": ("BTC/USD@v0", "BTC/USD@v1"), **fields})


@pytest.mark.fault("D10")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base": "ETH"}, "BTC/USD@v1, which is ETH/USD"),
        ({"quote": "EUR"}, "BTC/USD@v1, which is BTC/EUR"),
        ({"tick_px": D("100")}, "BTC/USD@v0 .0.01. and BTC/USD@v1 .100. are not comparable"),
        ({"allows_negative_px": True}, "BTC/USD@v1, which may have negative prices"),
        ({"strike_px": D(1)}, "BTC/USD@v1, which is an option"),
    ],
)
def test_members_that_are_not_the_same_thing_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    """The second of two venues is changed in one respect; the error names it."""
    one, other = rules(2)[0], make_instrument("BTC/USD@v1", **changes)
    with pytest.raises(ConfigError, match=words):
        check_members(define(2), {one.id: one, other.id: other})


def test_a_member_that_is_not_there_is_refused_with_the_nearest_that_is() -> None:
    """A venue's name mistyped."""
    there = {instrument.id: instrument for instrument in rules(2)}
    wrong = ConsolidatedDefinition(NAME, ("BTC/USD@v0", "BTC/USD@vv1"))
    with pytest.raises(ConfigError, match="BTC/USD@vv1, which this session does not have; expected BTC/USD@v1"):
        check_members(wrong, there)


def test_symbols_map_by_the_currencies_that_are_declared_to_be_the_same() -> None:
    """XBT/USDT beside BTC/USD: refused as it is, taken with both equivalents declared."""
    pair = [make_instrument("BTC/USD@coinbase"), make_instrument("XBT/USDT@kraken")]
    known = {instrument.id: instrument for instrument in pair}
    with pytest.raises(ConfigError, match=r"consolidated\.equivalent"):
        check_members(ConsolidatedDefinition(NAME, tuple(known)), known)
    same = ConsolidatedDefinition(NAME, tuple(known), equivalent={"USDT": "USD", "XBT": "BTC"})
    assert check_members(same, known) == pair


def test_the_instrument_has_the_finest_steps_and_only_what_every_member_gives() -> None:
    """Ticks of 0.1 and 0.01, one venue without sizes, the other without trades."""
    members = [
        make_instrument("BTC/USD@v0", tick_px=D("0.1"), has_quote_sizes=False),
        make_instrument("BTC/USD@v1", has_trades=False),
    ]
    made = consolidated_instrument(define(2), members)
    assert (made.id, made.venue, made.base, made.quote) == (NAME, "consolidated", "BTC", "USD")
    assert (made.tick_px, made.has_quote_sizes, made.has_trades) == (D("0.01"), False, True)


@pytest.mark.parametrize(
    ("calendars", "expected"),
    [(("XNYS", "XNYS"), "XNYS"), (("XNYS", "CME_FX"), None), (("XNYS", None), None), ((None, None), None)],
)
def test_trading_hours_are_those_that_all_members_have(calendars: tuple[str | None, ...], expected: str | None) -> None:
    """Two members with the same hours, with others, and one or both that never close."""
    members = [msgspec.structs.replace(one, session_calendar=own) for one, own in zip(rules(2), calendars, strict=True)]
    assert consolidated_instrument(define(2), members).session_calendar == expected
