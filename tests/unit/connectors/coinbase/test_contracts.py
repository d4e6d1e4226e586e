"""Contracts: terms, positions, the margin account, and what is known before the venue has said anything."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase import product_wire, wire
from connectors.coinbase.contracts import (
    foreseen,
    read_positions,
    session_of,
    with_margin_account,
)
from connectors.coinbase.directory import check_identity, make_instrument, trading_status
from engine.errors import VenueError
from engine.events import BalanceReported, PositionReported, TradingStatus
from engine.instruments import AssetClass, Instrument

D = Decimal
SYMBOL = "BIP-20DEC30-CDE/USD"
ID = f"{SYMBOL}@coinbase"
TERMS: dict[str, Any] = {
    "contract_expiry": "2030-12-20T16:00:00Z",
    "contract_size": "0.01",
    "contract_root_unit": "BTC",
    "contract_expiry_type": "EXPIRING",
    "funding_rate": "0.00001",
    "intraday_margin_rate": {"long_margin_rate": "0.1", "short_margin_rate": "0.12"},
    "overnight_margin_rate": {"long_margin_rate": "0.25", "short_margin_rate": "0.3"},
}
PRODUCT: dict[str, Any] = {
    "product_id": "BIP-20DEC30-CDE",
    "base_increment": "1",
    "price_increment": "5",
    "quote_increment": "0.01",
    "quote_min_size": "0",
    "base_min_size": "1",
    "base_max_size": "10000",
    "base_currency_id": "",
    "quote_currency_id": "USD",
    "status": "",
    "product_type": "FUTURE",
    "future_product_details": TERMS,
    "fcm_trading_session_details": {"is_session_open": True},
}


def product(terms: dict[str, Any] | None = None, **change: Any) -> product_wire.Product:
    raw = {**PRODUCT, **change}
    if terms is not None:
        raw["future_product_details"] = {**TERMS, **terms}
    return msgspec.json.decode(json.dumps(raw), type=product_wire.Product, strict=False)


def made(one: product_wire.Product) -> Instrument:
    return make_instrument("coinbase", SYMBOL, one, D("0.001"), D("0.002"))


def test_a_contract_has_its_size_expiry_and_the_dearest_margin() -> None:
    """Sizes are contracts of 0.01 BTC; it may be sold short; the tick is its own."""
    one = made(product())
    assert (one.id, one.base, one.quote, one.settlement) == (ID, "BTC", "USD", "USD")
    assert (one.multiplier, one.lot_qty, one.tick_px, one.min_notional) == (D("0.01"), 1, 5, 0)
    assert (one.margin_rate, one.can_short, one.asset_class) == (D("0.3"), True, AssetClass.PERPETUAL)
    assert one.expiry_ns == 1_924_012_800 * 10**9
    assert one.notional(D(3), D(60_000)) == 1800
    check_identity("coinbase", SYMBOL, product())


def test_without_funding_it_is_a_future() -> None:
    """The venue lists both as expiring, some with the rate null."""
    for rate in ("", None):
        assert made(product({"funding_rate": rate})).asset_class is AssetClass.FUTURE
    assert made(product({"contract_expiry_type": "PERPETUAL", "contract_expiry": None})).expiry_ns is None
    assert made(product({"overnight_margin_rate": None, "intraday_margin_rate": None})).margin_rate is None


@pytest.mark.fault("D10")
@pytest.mark.parametrize(
    ("terms", "changes"),
    [
        ({"contract_size": ""}, {}),
        ({"contract_size": "0"}, {}),
        ({"contract_size": "NaN"}, {}),
        ({"contract_expiry": "", "funding_rate": ""}, {}),
        (None, {"future_product_details": None}),
        (None, {"base_increment": "0"}),
        (None, {"product_type": "SPOT"}),
    ],
)
def test_terms_that_are_not_known_are_no_instrument(terms: Any, changes: dict[str, Any]) -> None:
    """An order of unknown size must not leave."""
    with pytest.raises(VenueError):
        made(product(terms, **changes))


def test_a_closed_session_takes_no_order() -> None:
    """Contracts have no status of their own; a session that nobody speaks of is open."""
    assert trading_status(product()) is TradingStatus.TRADING
    assert trading_status(product(fcm_trading_session_details={"is_session_open": False})) is TradingStatus.HALTED
    assert trading_status(product(fcm_trading_session_details=None)) is TradingStatus.TRADING


@pytest.mark.parametrize(
    ("details", "terms", "expected"),
    [
        (
            {"is_session_open": True, "open_time": "1970-01-01T00:00:01Z", "close_time": "1970-01-01T00:00:09Z"},
            {},
            (1, 9),
        ),
        ({"is_session_open": True, "open_time": None, "close_time": "1970-01-01T00:00:09Z"}, {}, (0, 9)),
        (
            {"is_session_open": True, "open_time": "1970-01-01T00:00:08Z", "close_time": "1970-01-01T00:00:09Z"},
            {},
            (5, 9),
        ),
        ({"is_session_open": True, "close_time": "1970-01-01T00:00:04Z"}, {}, (0, 0)),
        ({"is_session_open": True, "close_time": "soon"}, {}, (0, 0)),
        ({"is_session_open": False, "close_time": "1970-01-01T00:00:09Z"}, {}, (0, 0)),
        ({"is_session_open": True, "close_time": "1970-01-01T00:00:09Z"}, {"twenty_four_by_seven": True}, (0, 0)),
        (None, {}, (0, 0)),
    ],
)
def test_the_end_of_a_session_is_what_the_venue_says(
    details: dict[str, Any] | None, terms: dict[str, Any], expected: tuple[int, int]
) -> None:
    """At second 5: of a session that is open and ends later; a time that is over or cannot be read closes nothing."""
    found = session_of(product(terms, fcm_trading_session_details=details), 5 * 10**9)
    assert found == tuple(second * 10**9 for second in expected)


def positions(*rows: dict[str, Any]) -> wire.ContractPositions:
    return msgspec.json.decode(json.dumps({"positions": rows}), type=wire.ContractPositions, strict=False)


def row(side: str, count: Any, price: Any = "61000", product_id: str = "BIP-20DEC30-CDE") -> dict[str, Any]:
    return {"product_id": product_id, "side": side, "number_of_contracts": count, "avg_entry_price": price}


@pytest.mark.parametrize(
    ("side", "count", "qty"),
    [("LONG", "3", 3), ("SHORT", "3", -3), ("FUTURES_POSITION_SIDE_SHORT", 2, -2), ("UNKNOWN", "0", 0)],
)
def test_a_position_is_signed(side: str, count: Any, qty: int) -> None:
    """Shorts below zero, however the venue spells the side; other contracts are named, not mixed in."""
    told = positions(row(side, count), row("LONG", "1", product_id="ET-31JAN31-CDE"))
    found, strange = read_positions("coinbase", told, {"BIP-20DEC30-CDE": ID}, 5)
    assert found == [PositionReported(5, 5, "coinbase", ID, D(qty), D(61_000))]
    assert strange == ["ET-31JAN31-CDE"]


def test_no_position_is_told_as_nothing() -> None:
    """What the venue does not list is not held."""
    found, strange = read_positions("coinbase", positions(), {"BIP-20DEC30-CDE": ID}, 5)
    assert (found, strange) == ([PositionReported(5, 5, "coinbase", ID, D(0), D(0))], [])


@pytest.mark.fault("C13")
@pytest.mark.parametrize("bad", [row("BOTH", "1"), row("LONG", "-1"), row("LONG", "x"), row("LONG", "1", "")])
def test_a_position_that_cannot_be_read_is_not_guessed(bad: dict[str, Any]) -> None:
    """Neither its side nor its size nor its price."""
    with pytest.raises(VenueError, match="cannot be read"):
        read_positions("coinbase", positions(bad), {"BIP-20DEC30-CDE": ID}, 5)


def balance(currency: str, total: str) -> BalanceReported:
    return BalanceReported(1, 1, "coinbase", currency, D(total), D(total))


def summary(**amounts: str) -> wire.MarginSummary:
    raw = {name: {"value": value, "currency": "USD"} for name, value in amounts.items()}
    return msgspec.json.decode(json.dumps(raw), type=wire.MarginSummary, strict=False)


def test_dollars_are_those_of_both_accounts() -> None:
    """The listing shows one of them, or both to the last digit while the summary is rounded."""
    listed = [balance("BTC", "1"), balance("USD", "700.123")]
    apart = with_margin_account("coinbase", listed, summary(total_usd_balance="1000", available_margin="900"), 5)
    assert {one.currency: (one.total, one.available) for one in apart} == {"BTC": (1, 1), "USD": (1000, 900)}
    assert with_margin_account("coinbase", listed, summary(total_usd_balance="700.12"), 5) == listed
    for bad in (summary(), summary(total_usd_balance="NaN")):
        with pytest.raises(VenueError, match="dollars"):
            with_margin_account("coinbase", listed, bad, 5)


def test_what_is_foreseen_is_what_the_name_says() -> None:
    """A pair is owned, a contract is on margin, and the far expiry is that of the perpetual style."""
    symbols = ("BTC/USD", "BIT-24APR26-CDE/USD", SYMBOL)
    made = [make_instrument("coinbase", symbol, foreseen(symbol), D(0), D(0)) for symbol in symbols]
    assert [one.asset_class for one in made] == [AssetClass.SPOT, AssetClass.FUTURE, AssetClass.PERPETUAL]
    assert (made[2].id, [one.can_short for one in made]) == (ID, [False, True, True])
