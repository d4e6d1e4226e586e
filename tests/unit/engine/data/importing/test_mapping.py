"""Which column is which: the names that sources use, the user's word, and what is not guessed at."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.importing.mapping import map_columns
from engine.data.importing.options import make_options
from engine.errors import DataError

FILE = Path("a.csv")


@pytest.mark.parametrize(
    ("names", "kind", "columns"),
    [
        (
            ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"],  # Yahoo
            "bars",
            {"ts_ns": "Date", "close": "Close", "adj_close": "Adj Close", "volume": "Volume"},
        ),
        (["date", "open", "high", "low", "close", "volume"], "bars", {"ts_ns": "date"}),  # freqtrade
        (
            ["timestamp", "id", "type", "side", "price", "amount", "cost"],  # freqtrade's trades
            "trades",
            {"ts_ns": "timestamp", "trade_id": "id", "size": "amount", "side": "side"},
        ),
        (
            ["agg_trade_id", "price", "quantity", "transact_time", "is_buyer_maker", "timestamp"],
            "trades",
            {"size": "quantity", "trade_id": "agg_trade_id", "is_buyer_maker": "is_buyer_maker"},
        ),
        (["ts", "bidPrice", "askPrice", "bidQty", "askQty"], "quotes", {"bid": "bidPrice", "ask_size": "askQty"}),
        (["ts_ns", "level", "side", "price", "size"], "book_snapshots", {"level": "level"}),
        (["ts_ns", "side", "price", "size", "exchange"], "side_quotes", {"exchange": "exchange"}),
        (["unix", "symbol", "open", "high", "low", "close", "Volume USDT", "volume"], "bars", {"symbol": "symbol"}),
        (["series_id", "realtime_start", "period_end", "value"], "exogenous", {"ts_ns": "realtime_start"}),
    ],
)
def test_names_of_common_sources_are_known(names: list[str], kind: str, columns: dict[str, str]) -> None:
    """The kind, and some of the columns."""
    found = map_columns(FILE, names, make_options())
    assert found.kind == kind
    assert {name: found.columns.get(name) for name in columns} == columns


def test_the_users_word_counts_more_than_names() -> None:
    """A file whose 'close' is not the close; what is taken so is not taken twice."""
    names = ["t", "open", "high", "low", "close", "settle", "volume"]
    found = map_columns(FILE, names, make_options(columns="close=settle,ts=t"))
    assert found.columns["close"] == "settle"
    assert found.unused == ("close",)


def test_a_time_of_publication_is_never_guessed() -> None:
    """A date beside a value is the end of its period, which nobody knew then; naming the column decides it."""
    names = ["date", "series", "value"]
    with pytest.raises(DataError, match="does not say when its values were published"):
        map_columns(FILE, names, make_options(kind="exogenous"))
    names.append("released")
    found = map_columns(FILE, names, make_options(kind="exogenous", columns="period_end=date"))
    assert (found.columns["ts_ns"], found.columns["period_end_ns"]) == ("released", "date")
    named = map_columns(FILE, ["date", "asof", "series", "value"], make_options(columns="ts=asof,period_end=date"))
    assert (named.kind, named.columns["ts_ns"]) == ("exogenous", "asof")


def test_columns_that_are_not_stored_are_named() -> None:
    """A file of trades with two more."""
    found = map_columns(FILE, ["ts_ns", "price", "size", "order_type", "x"], make_options())
    assert found.unused == ("order_type", "x")
