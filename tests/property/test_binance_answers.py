"""Binance's answers of any shape: rows, rules and prices, or one clear error, whatever came."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from connectors.binance import klines
from connectors.binance.directory import read_directory
from connectors.market_stream import UNREADABLE
from engine.errors import VenueError
from engine.events import InstrumentDefined, InstrumentStatus
from tests.support.binance import listed
from tests.support.streams import compact

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
GOOD: dict[str, Any] = {"symbols": [listed("ETHUSDT"), listed("BTCUSDT")]}
PLACES = [
    *(("symbols",), ("symbols", 1)),
    *(("symbols", 1, key) for key in GOOD["symbols"][1]),
    *(("symbols", 1, "filters", at, key) for at in (0, 1, 2) for key in GOOD["symbols"][1]["filters"][at]),
]


def changed(whole: Any, place: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(whole)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


@given(st.sampled_from(PLACES), anything)
def test_a_list_of_symbols_with_one_odd_place_defines_it_or_is_one_error(place: tuple[Any, ...], value: Any) -> None:
    """Any JSON in any place of a good answer."""
    try:
        products, events = read_directory("binance_spot", compact(changed(GOOD, place, value)), {"BTCUSDT"}, 7)
    except VenueError as error:
        refused = str(error)
    else:
        refused = ""
        assert [*products] == ["BTCUSDT"]
        assert [type(event) for event in events] == [InstrumentDefined, InstrumentStatus]
    assert "\n" not in refused


@given(st.integers(0, 8), anything)
def test_a_candle_with_one_odd_field_is_a_sound_bar_or_none(field: int, value: Any) -> None:
    row = [60_000, "1.0", "3.0", "0.5", "2.0", "7.5", 119_999, "15.0", 4, "1", "2", "0"]
    row[field] = value
    try:
        found = klines.decode_candles(compact([row]))
    except UNREADABLE:
        return
    for bar in klines.bars_of(found, "BTC/USDT@binance_spot", 60_000_000_000, 7):
        assert 0 < bar.low_px <= min(bar.open_px, bar.close_px) <= max(bar.open_px, bar.close_px) <= bar.high_px
        assert bar.volume_qty >= 0
        assert bar.ts_event_ns % 60_000_000_000 == 0


@given(anything)
def test_an_answer_that_is_something_else_is_unreadable(value: Any) -> None:
    for decode in (klines.decode_candles, klines.decode_trades):
        try:
            rows = decode(compact(value))
        except UNREADABLE:
            continue
        assert value == [] or all(isinstance(row, msgspec.Struct) for row in rows)
