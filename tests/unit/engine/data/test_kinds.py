"""``engine.data.kinds``: what a table must be to be stored, and how old versions are read."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from engine.data import kinds
from engine.data.kinds import KINDS, conform, kind_named, upgrade
from engine.errors import DataError
from tests.support.daemon import ROOT
from tests.support.stored import T0, quotes


def test_missing_optional_columns_become_null_and_others_are_left_out() -> None:
    """Quotes without sizes, with a column that no kind has, in another order of columns."""
    table = pa.table({"order_type": ["limit"], "ask": [2.0], "bid": [1.0], "ts_ns": [T0]})
    made = conform(table, "quotes")
    assert made.schema.equals(KINDS["quotes"].schema)
    assert made.to_pylist() == [
        {"ts_ns": T0, "recv_ns": None, "bid": 1.0, "bid_size": None, "ask": 2.0, "ask_size": None}
    ]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("bid", pa.array([60_000, 60_001], pa.int32())),
        ("bid", pa.array(["60000", "60001"]).cast(pa.decimal128(10, 2))),
        ("ts_ns", pa.array([T0, T0 + 1], pa.timestamp("ns", tz="UTC"))),
        ("ts_ns", pa.array([T0, T0 + 1], pa.timestamp("ns", tz="America/New_York"))),
        ("ts_ns", pa.array([T0, T0 + 1], pa.uint64())),
    ],
)
def test_types_that_say_the_same_are_cast(column: str, values: Any) -> None:
    """Whole numbers, decimals, times with a zone, unsigned nanoseconds: read without loss."""
    table = quotes(2).select(["ts_ns", "bid", "ask"])
    made = conform(table.set_column(table.schema.names.index(column), column, values), "quotes")
    expected = [60_000.0, 60_001.0] if column == "bid" else [T0, T0 + 1]
    assert made.column(column).to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("bid", pa.array([1.5, 2.5], pa.float32()), "type float; expected double"),
        ("bid", pa.array(["1.5", "2.5"]), "type string; expected double"),
        ("bid", pa.array([2**53 + 1, 0], pa.int64()), "no double"),
        ("bid", pa.array([1.0, None]), "1 rows without bid"),
        ("ts_ns", pa.array([T0, None], pa.int64()), "1 rows without ts_ns"),
        ("ts_ns", pa.array([T0, T0], pa.timestamp("ns")), "a time with its zone"),
        ("ts_ns", pa.array([1.0, 2.0]), "type double; expected int64"),
        ("ts_ns", pa.array([T0 // 10**9, T0 // 10**9]), "reads as seconds"),
        ("ts_ns", pa.array([T0, T0 // 10**6]), "reads as milliseconds, among nanoseconds: its time units are mixed"),
        ("ts_ns", pa.array([T0, T0 // 10**3]), "reads as microseconds"),
        ("ts_ns", pa.array([T0, 5 * 10**18]), "no time between 1700 and 2100"),
        ("recv_ns", pa.array([T0, 12], pa.int64()), "recv_ns = 12"),
    ],
)
def test_what_cannot_be_read_without_loss_or_guess_is_refused(column: str, values: Any, said: str) -> None:
    """Each names the source, the column and what was expected, in one line."""
    columns = {"ts_ns": pa.array([T0, T0]), "bid": pa.array([1.0, 2.0]), "ask": pa.array([3.0, 4.0])} | {column: values}
    with pytest.raises(DataError) as caught:
        conform(pa.table(columns), "quotes", what="day.csv")
    assert said in str(caught.value)
    assert str(caught.value).startswith("day.csv has ")
    assert "\n" not in str(caught.value)


def test_days_before_1970_are_times() -> None:
    """Daily prices of 1962, in nanoseconds before the epoch."""
    table = pa.table({"ts_ns": [-240_000_000 * 10**9], "bid": [1.0], "ask": [2.0]})
    assert conform(table, "quotes").column("ts_ns").to_pylist() == [-240_000_000 * 10**9]


def test_a_column_that_is_missing_or_there_twice_is_refused() -> None:
    """No ask; two of them."""
    with pytest.raises(DataError, match="has no column 'ask'"):
        conform(quotes(1).drop(["ask"]), "quotes")
    doubled = pa.Table.from_arrays([*quotes(1).columns, pa.array([1.0])], names=[*quotes(1).schema.names, "ask"])
    with pytest.raises(DataError, match="2 columns named 'ask'"):
        conform(doubled, "quotes")


def test_sides_are_the_words_of_the_kind() -> None:
    """An aggressor buys or sells, a book has bids and asks; anything else is no side, and none is none."""
    trades = {"ts_ns": [T0, T0], "price": [1.0, 2.0], "size": [1.0, 1.0], "side": ["buy", None]}
    assert conform(pa.table(trades), "trades").column("side").to_pylist() == ["buy", None]
    with pytest.raises(DataError, match="has side 'ask'; expected buy or sell"):
        conform(pa.table(trades | {"side": ["bid", "ask"]}), "trades")


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(DataError, match="no kind of data is called 'ticks'; expected one of quotes, side_quotes"):
        kind_named("ticks")


def test_every_kind_takes_an_empty_table_of_its_own() -> None:
    """Schema, column names and options agree with each other, kind by kind."""
    for kind in KINDS.values():
        assert conform(kind.schema.empty_table(), kind.name).schema.equals(kind.schema)
        assert "ts_ns" in kind.required
        assert kind.schema.field("ts_ns").type == pa.int64()


def test_an_older_version_is_migrated_step_by_step_and_a_newer_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind in its third version, whose first was in ticks of a tenth and whose second called the price ``px``."""

    def rescale(table: Any) -> Any:
        prices = [price / 10 for price in table.column("px").to_pylist()]
        return table.set_column(table.schema.names.index("px"), "px", pa.array(prices))

    third = msgspec.structs.replace(
        KINDS["trades"],
        version=3,
        migrations={1: rescale, 2: lambda table: table.rename_columns({"px": "price"})},
    )
    monkeypatch.setitem(kinds.KINDS, "trades", third)
    old = pa.table({"ts_ns": [T0], "px": [605.0], "size": [1.0]})
    assert conform(upgrade(old, "trades", 1), "trades").column("price").to_pylist() == [60.5]
    assert conform(upgrade(old, "trades", 2), "trades").column("price").to_pylist() == [605.0]
    with pytest.raises(DataError, match="trades of schema version 4; expected version 3 or older"):
        upgrade(old, "trades", 4, what="a part")
    with pytest.raises(DataError, match="nothing leads from version 0 to 1"):
        upgrade(old, "trades", 0)


ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| (.*) \| (.*) \|$", re.MULTILINE)


def test_the_page_lists_every_kind_with_its_columns() -> None:
    """The table in docs/data.md against the schemas: names, versions, what is required and what is not."""
    rows = {row[0]: row[1:] for row in ROW.findall((ROOT / "docs" / "data.md").read_text(encoding="utf-8"))}
    assert list(rows) == list(KINDS)
    for name, (version, required, optional) in rows.items():
        kind = KINDS[name]
        assert int(version) == kind.version
        assert {word.strip("`") for word in optional.split(", ") if word} == kind.optional
        listed = [word for word in re.findall(r"`(\w+)`", required) if not word.endswith("_N")]
        levels = [f"{word[:-1]}{level}" for level in range(1, 11) for word in re.findall(r"`(\w+_N)`", required)]
        assert (*listed, *levels) == kind.required
