"""Counting what is wrong with rows: each defect on rows made to have it, and the same in pieces."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.data.defects import DEFECTS, Examination, Outcome, examined
from engine.data.sessions import Market

HOUR_NS = 3_600 * 10**9
START_NS = 1_704_067_200 * 10**9


def bars(close: list[float], hours: list[int] | None = None, **change: Any) -> Any:
    hours = hours or list(range(len(close)))
    columns = {"ts_ns": pa.array([START_NS + hour * HOUR_NS for hour in hours], pa.int64())}
    columns |= {"open": close, "high": [px + 1 for px in close], "low": [px - 1 for px in close], "close": close}
    return pa.table(columns | {"volume": [1.0] * len(close)} | change)


def quotes(bid: list[float], ask: list[float], **change: Any) -> Any:
    times = pa.array([START_NS + n * 10**9 for n in range(len(bid))], pa.int64())
    return pa.table({"ts_ns": times, "bid": bid, "ask": ask} | change)


def of_bars(table: Any, market: Market = Market.ALWAYS) -> Counter[str]:
    return examined(table, "bars", market, HOUR_NS)


def test_good_rows_have_no_defect() -> None:
    """A hundred bars and as many quotes."""
    assert of_bars(bars([100.0 + n % 3 for n in range(100)])) == {}
    assert examined(quotes([1.0] * 9, [1.1] * 9), "quotes", Market.ALWAYS) == {}


@pytest.mark.parametrize(
    ("change", "defect"),
    [
        ({"high": [5.0, 1.0, 5.0]}, "bad_ohlc"),
        ({"low": [1.0, 3.0, 1.0]}, "bad_ohlc"),
        ({"volume": [1.0, 0.0, 1.0]}, "zero_volume"),
        ({"volume": [1.0, -2.0, 1.0]}, "bad_size"),
        ({"low": [1.0, 0.0, 1.0]}, "not_positive"),
    ],
)
def test_one_bad_bar_is_counted_once(change: dict[str, Any], defect: str) -> None:
    """The middle one of three."""
    assert of_bars(bars([2.0, 2.0, 2.0], **change)) == {defect: 1}


def test_crossed_and_locked_quotes() -> None:
    """Two crossed, one locked, one good."""
    found = examined(quotes([2.0, 1.0, 3.0, 1.0], [1.0, 1.0, 2.0, 1.5]), "quotes", Market.ALWAYS)
    assert (found["crossed"], found["locked"]) == (2, 1)


def test_holes_are_missing_bars_or_long_or_off_the_grid() -> None:
    """Two bars missing, a day missing, one bar at half past."""
    assert of_bars(bars([2.0] * 4, [0, 1, 4, 5])) == {"missing_bars": 2}
    assert of_bars(bars([2.0] * 3, [0, 1, 26])) == {"long_holes": 1}
    times = pa.array([START_NS, START_NS + HOUR_NS // 2, START_NS + HOUR_NS], pa.int64())
    assert of_bars(bars([2.0] * 3, ts_ns=times)) == {"off_grid": 1}


def test_a_closed_market_explains_a_hole() -> None:
    """From Friday 21:00 to Sunday 22:00 UTC: a weekend of currencies, two days missing of crypto."""
    start = int(np.datetime64("2024-01-05T21", "ns").astype(np.int64))
    times = pa.array([start, start + 49 * HOUR_NS], pa.int64())
    table = bars([2.0] * 2, ts_ns=times)
    assert examined(table, "bars", Market.FX, HOUR_NS) == {"session_holes": 1}
    assert of_bars(table) == {"long_holes": 1}
    earlier = table.set_column(0, "ts_ns", pa.array([start - HOUR_NS, start + 49 * HOUR_NS], pa.int64()))
    assert examined(earlier, "bars", Market.FX, HOUR_NS) == {"missing_bars": 1}


def test_silence_counts_open_hours_only() -> None:
    """Two hours without a quote at noon, and a weekend."""
    noon = int(np.datetime64("2024-01-05T12", "ns").astype(np.int64))
    times = pa.array([noon, noon + 2 * HOUR_NS, noon + 2 * HOUR_NS + 1, noon + 57 * HOUR_NS], pa.int64())
    table = pa.table({"ts_ns": times, "price": [1.0] * 4, "size": [1.0, 1.0, 1.0, 2.0]})
    found = examined(table, "trades", Market.FX)
    assert found == {"silences": 2}, "the hours to Friday 17:00 New York are open ones too"
    late = pa.array([noon, noon + 10 * HOUR_NS - 1, noon + 57 * HOUR_NS + HOUR_NS // 2], pa.int64())
    assert examined(table.slice(1).set_column(0, "ts_ns", late), "trades", Market.FX)["silences"] == 1


def test_a_spike_is_an_outlier_and_a_level_that_stays_is_none() -> None:
    """Moves of 0.1 %, one price 20 % off and back; then the same move without the way back; then one of half."""
    quiet = [100.0, 100.1] * 200
    assert of_bars(bars([*quiet, 120.0, *quiet])) == {"outliers": 1}
    assert of_bars(bars([*quiet, *(px * 1.2 for px in quiet)])) == {}
    assert of_bars(bars([*quiet, *(px * 0.5 for px in quiet)])) == {"jumps": 1}


def test_a_jump_across_a_long_hole_is_none() -> None:
    """Between separate recordings a price may be anything."""
    assert of_bars(bars([100.0, 100.0, 900.0], [0, 1, 100])) == {"long_holes": 1}


def test_clocks() -> None:
    """A recorder 1.27 s behind is measured; one ahead is latency; the same time twice is none of the venue's."""
    times = np.array([START_NS + n * 10**9 for n in range(5)])
    for lag_ns, expected in ((-1_270_000_000, {"clock_behind": 5}), (30_000_000, {}), (0, {"no_venue_time": 5})):
        examination = Examination("quotes", Market.ALWAYS)
        examination.add(quotes([1.0] * 5, [1.1] * 5, recv_ns=times + lag_ns))
        assert examination.finish() == expected
        assert examination.lag_ns == lag_ns


def test_full_repeats_are_counted_across_tables() -> None:
    """Five rows of one time, three of them equal, cut at every place; a NaN equals a NaN."""
    rows = {"ts_ns": [1, 2, 2, 2, 2, 2, 3], "price": [5.0, 6.0, 7.0, 6.0, np.nan, 6.0, np.nan]}
    table = pa.table(rows | {"size": [1.0] * 7, "trade_id": ["a", "b", "b", "b", None, "b", None]})
    for cut in range(8):
        examination = Examination("trades", Market.ALWAYS)
        examination.add(table.slice(0, cut))
        examination.add(table.slice(cut))
        assert examination.finish()["duplicates"] == 2
    doubled = pa.concat_tables([table.slice(4, 1)] * 2)
    assert examined(doubled, "trades", Market.ALWAYS)["duplicates"] == 1


def test_a_break_in_the_chain_of_updates() -> None:
    """Three messages of two rows each, by previous id or by first id; the last one is missing its predecessor."""
    ids = {"first_update_id": [1, 1, 5, 5, 9, 9], "last_update_id": [4, 4, 8, 8, 12, 12]}
    rows = {"ts_ns": [1, 1, 2, 2, 3, 3], **ids, "price": [1.0, 2.0] * 3, "size": [1.0] * 6}
    assert examined(pa.table(rows), "book_deltas", Market.ALWAYS) == {}
    told = pa.table(rows | {"prev_update_id": [0, 0, 4, 4, 7, 7]})
    assert examined(told, "book_deltas", Market.ALWAYS) == {"broken_chain": 2 - 1}
    assert examined(pa.table(rows | {"prev_update_id": [-1] * 6}), "book_deltas", Market.ALWAYS) == {}


def test_snapshot_rows_are_no_silence() -> None:
    """Rows flagged 32 lie a day before the others."""
    day = 86_400 * 10**9
    rows = {"ts_ns": [START_NS, START_NS, START_NS + day], "order_id": ["1", "2", "3"], "action": ["add"] * 3}
    plain = pa.table(rows | {"price": [1.0, 2.0, 3.0], "size": [1.0] * 3})
    assert examined(plain, "orders", Market.ALWAYS) == {"silences": 1}
    assert examined(plain.append_column("flags", pa.array([40, 40, 130])), "orders", Market.ALWAYS) == {
        "snapshot_rows": 2
    }


def test_a_value_published_before_its_period_ended_is_flagged() -> None:
    """One of two."""
    rows = {"ts_ns": [10, 20], "period_end_ns": [5, 25], "series": ["CPI"] * 2, "value": [-1.0, 0.0]}
    assert examined(pa.table(rows), "exogenous", Market.ALWAYS) == {"published_early": 1}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 400])
def test_tables_of_any_size_give_the_same_counts(size: int) -> None:
    """Bars with holes, a jump, bad rows and repeats; spikes only where a table has moves enough to measure them by."""
    rng = np.random.default_rng(5)
    hours = np.cumsum(rng.choice([1, 1, 1, 2, 30, 0], 400)).tolist()
    close = (100.0 + rng.normal(0, 0.1, 400)).tolist()
    close[200:] = [px * 2 for px in close[200:]]
    table = bars(close, hours, volume=rng.choice([0.0, 1.0], 400))
    whole = of_bars(table)
    assert {"missing_bars", "long_holes", "zero_volume", "jumps"} <= whole.keys()
    examination = Examination("bars", Market.ALWAYS, HOUR_NS)
    for start in range(0, 400, size):
        examination.add(table.slice(start, size))
    found = examination.finish()
    assert {name: found[name] for name in whole} == dict(whole)


def test_every_defect_says_what_becomes_of_its_rows() -> None:
    """The table that the documents show."""
    assert {defect.outcome for defect in DEFECTS.values()} == set(Outcome)
    assert all(defect.meaning for defect in DEFECTS.values())


def test_the_page_about_data_lists_every_defect() -> None:
    """The table of docs/data.md, row by row."""
    page = (Path(__file__).resolve().parents[4] / "docs" / "data.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (kept|dropped|remark) \| (.*) \|$", page, re.MULTILINE)
    assert rows == [(name, defect.outcome.value, defect.meaning) for name, defect in DEFECTS.items()]
