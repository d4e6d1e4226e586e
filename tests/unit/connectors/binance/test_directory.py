"""Binance's list of symbols as instruments."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.binance.directory import read_directory
from connectors.binance.streams import SPOT, USDM
from engine.data.instruments import known_instrument
from engine.errors import VenueError
from engine.events import InstrumentDefined, InstrumentStatus, TradingStatus
from engine.instruments import AssetClass, Instrument
from tests.support.streams import compact


def row(symbol: str = "BTCUSDT", *, tick: str = "0.01000000", step: str = "0.00001000", **more: Any) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": step},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
    ]
    base = {"symbol": symbol, "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters}
    return {**base, **more}


def read(venue: str, *rows: Any, wanted: tuple[str, ...] = ("BTCUSDT",)) -> tuple[Any, list[Instrument], list[Any]]:
    products, events = read_directory(venue, compact({"timezone": "UTC", "symbols": rows}), wanted, 7)
    defined = [event.definition for event in events if isinstance(event, InstrumentDefined)]
    return products, defined, [event for event in events if isinstance(event, InstrumentStatus)]


def test_spots_rules_are_those_that_recordings_assume() -> None:
    """Steps, limits and fees equal the built-in description of the same pair; other symbols are not looked at, however
    odd they are."""
    products, (found,), (status,) = read(SPOT, {"symbol": "ODD", "filters": 1}, row())
    known = known_instrument(SPOT, "BTCUSDT")
    assert known is not None
    assert products == {"BTCUSDT": (known.id,)}
    for name in ("id", "base", "quote", "settlement", "asset_class", "tick_px", "lot_qty", "max_qty", "min_notional",
                 "maker_fee_rate", "taker_fee_rate", "can_short", "margin_rate"):  # fmt: skip
        assert getattr(found, name) == getattr(known, name), name
    assert found.min_qty == Decimal("0.00001")
    assert status == InstrumentStatus(7, 7, known.id, TradingStatus.TRADING)


def test_futures_are_perpetual_or_dated() -> None:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
    ]
    more = {"filters": filters, "marginAsset": "USDT"}
    rows = (
        row(**more, contractType="PERPETUAL", deliveryDate=4_133_404_800_000),
        row(
            "BTCUSDT_261225", **more, contractType="CURRENT_QUARTER", deliveryDate=1_798_185_600_000, status="SETTLING"
        ),
    )
    _, (perpetual, dated), (trades, settles) = read(USDM, *rows, wanted=("BTCUSDT", "BTCUSDT_261225"))
    assert (perpetual.id, perpetual.asset_class) == ("BTC/USDT@binance_usdm", AssetClass.PERPETUAL)
    assert (perpetual.min_notional, perpetual.expiry_ns, perpetual.can_short) == (Decimal(100), None, True)
    assert (dated.id, dated.asset_class) == ("BTCUSDT_261225/USDT@binance_usdm", AssetClass.FUTURE)
    assert dated.expiry_ns == 1_798_185_600_000_000_000
    assert (trades.status, settles.status) == (TradingStatus.TRADING, TradingStatus.HALTED)


def test_a_state_that_nobody_knows_is_unknown() -> None:
    assert read(SPOT, row(status="REDUCE_ONLY"))[2][0].status is TradingStatus.UNKNOWN


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "BTCUSDT: not listed by the venue"),
        ([row(filters=[])], "BTCUSDT: PRICE_FILTER and LOT_SIZE name no steps"),
        ([row(tick="0.00")], "name no steps"),
        ([row(step="-1")], "name no steps"),
        ([row(tick="NaN")], "name no steps"),
        (
            [row(filters=[*row()["filters"][:1], {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "-1"}])],
            "no steps",
        ),
        ([row(tick="cheap")], "exchangeInfo cannot be read"),
        ([{"name": "BTCUSDT"}], "exchangeInfo cannot be read"),
    ],
)
def test_rules_that_are_none_are_refused_in_one_line(rows: list[Any], said: str) -> None:
    with pytest.raises(VenueError, match=said) as refused:
        read(SPOT, *rows)
    assert "\n" not in str(refused.value)


def test_a_body_that_is_no_list_is_refused() -> None:
    with pytest.raises(VenueError, match="check the address"):
        read_directory(SPOT, b"<html>", ["BTCUSDT"], 7)
