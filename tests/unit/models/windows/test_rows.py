"""Recorded markets to rows: what a session would have, with the prices that labels are made of."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.events import Bar
from engine.features import Candles, FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_candles
from engine.features.sets import SETS
from models.labels import LabelSpec
from models.trainer.recorded import Recorded
from models.windows.rows import in_memory, instrument_rows, ns_of
from models.windows.table import RowTable
from tests.support.candles import MINUTE, START_NS, candle_spec, market
from tests.support.features import instrument, seeded_events
from tests.support.recorded_bars import candles_of, interval_ns

RETURN = {"next": LabelSpec(kind="return", horizon_rows=3)}
DAY_NS = 86_400 * 10**9
TASKS = {
    "daily95": ("us_1d_2000_2024.parquet", 30, 7 * DAY_NS),
    "hybrid11": ("us_1d_2000_2024.parquet", 60, 7 * DAY_NS),
    "hourly28": ("crypto_1h_binance_2024.parquet", 48, DAY_NS),
}
"""Columns of a task, the file that it learns from, window, longest hole."""


def test_a_row_has_the_highest_and_the_lowest_price_of_its_candle() -> None:
    """Bit-equal to the candles, closes too."""
    recorded = market()
    made = instrument_rows(recorded, candle_spec())
    bars = list(recorded.events())
    assert made.high_px.tolist() == [bar.high_px for bar in bars]
    assert made.low_px.tolist() == [bar.low_px for bar in bars]
    assert made.rows.mid_px.tolist() == [bar.close_px for bar in bars]
    assert made.prices.tick_px == recorded.instrument.tick_px


def test_rows_of_ticks_have_a_range_too() -> None:
    """That of the columns high and low, in full digits; the close lies in it."""
    recorded = Recorded(instrument(), lambda: iter(seeded_events(60)), ())
    made = instrument_rows(recorded, FeatureSpec("ticks", ("high", "low"), 3))
    assert len(made.high_px) > 30
    assert made.rows.values.tolist() == np.stack([made.high_px, made.low_px], axis=1).astype(np.float32).tolist()
    assert ((made.low_px <= made.rows.mid_px) & (made.rows.mid_px <= made.high_px)).all()
    assert (made.low_px < made.high_px).any()


def test_instruments_lie_one_after_another_and_labels_stay_with_them() -> None:
    """Two markets of different length: no label of the first reads a row of the second."""
    first, second = market("A/USD@test", 50), market("B/USD@test", 40, seed=2, sha="cd")
    table = in_memory([first, second], candle_spec(), RETURN)
    assert table.starts.tolist() == [0, 50, 90]
    assert [one.id for one in table.instruments] == ["A/USD@test", "B/USD@test"]
    labels = table.labels["next"]
    assert not labels.known[[47, 48, 49, 87, 88, 89]].any()
    assert labels.last[46] == 49
    assert labels.last[50] == 53
    np.testing.assert_allclose(labels.values[50], np.log(table.close_px[53] / table.close_px[50]))
    assert table.sources == (("A.parquet", "ab" * 32), ("B.parquet", "cd" * 32))


def test_a_slice_of_time_is_cut_by_receive_time() -> None:
    """From the 11th candle's end to before the 31st's."""
    begin, end = START_NS + 11 * MINUTE, START_NS + 31 * MINUTE
    made = instrument_rows(market(), candle_spec(), begin, end)
    assert made.rows.ts_recv_ns.tolist() == list(range(begin, end, MINUTE))
    assert ns_of("1970-01-01T00:00:01", "data.start") == 10**9
    with pytest.raises(ConfigError, match=r"data\.end is 'later'"):
        ns_of("later", "data.end")


def recorded(market_data: Path, name: str, rows: int) -> Iterator[tuple[FeatureSpec, Candles]]:
    """The spec of a task, and the last candles of each instrument that it learns from."""
    file, window, hole_ns = TASKS[name]
    path = market_data / "bars" / file
    sampling = Sampling.time_bar(interval_ns(path), price="trade")
    spec = FeatureSpec(name, SETS[name], window, sampling, gap=GapPolicy(window - 1, 0, hole_ns))
    for _, candles in candles_of(path):
        yield spec, Candles(*(column[-rows:] for column in candles))


def bars_of(spec: FeatureSpec, candles: Candles) -> list[Bar]:
    times, *numbers = (column.tolist() for column in candles)
    rows = zip(times, *numbers, strict=True)
    return [Bar(t, t, instrument().id, spec.sampling.interval_ns, *row) for t, *row in rows]


def trained_on(spec: FeatureSpec, candles: Candles) -> RowTable:
    bars = bars_of(spec, candles)
    return in_memory([Recorded(instrument(), lambda: iter(bars), ())], spec, {})


@pytest.mark.parametrize("name", TASKS)
def test_what_a_task_is_trained_on_is_what_it_will_be_served(market_data: Path, name: str) -> None:
    """Recorded candles of two instruments: training rows, the live buffer candle by candle, and the loop over arrays
    are bit-equal in every column, and so is when they are warm."""
    compared = 0
    for spec, candles in islice(recorded(market_data, name, 700), 2):
        bars = bars_of(spec, candles)
        table = trained_on(spec, candles)
        bulk = compute_candles(spec, instrument(), candles)
        buffer = FeatureBuffer(spec, instrument())
        live = [(buffer.window()[-1].copy(), buffer.warm) for bar in bars if buffer.update(bar)]
        assert np.array([row for row, _ in live]).tobytes() == table.values.tobytes() == bulk.values.tobytes()
        assert [warm for _, warm in live] == table.warm.tolist() == bulk.warm.tolist()
        compared += int(table.warm.sum())
    assert compared > 400


@pytest.mark.parametrize("name", TASKS)
def test_no_column_of_a_task_knows_what_comes(market_data: Path, name: str) -> None:
    """The last hundred of 500 recorded candles become nonsense: the rows before them are bit-equal, the next is not."""
    spec, candles = next(recorded(market_data, name, 500))
    poisoned = Candles(*(column.copy() for column in candles))
    for column, value in zip(poisoned[1:], (1e9, 1e12, 1e-9, 7.0, 1e15), strict=True):
        column[400:] = value
    before, after = trained_on(spec, candles), trained_on(spec, poisoned)
    assert before.values[:400].tobytes() == after.values[:400].tobytes()
    assert before.warm[:400].tolist() == after.warm[:400].tolist()
    assert before.warm[399]
    assert before.values[400].tobytes() != after.values[400].tobytes()


def test_a_poisoned_future_changes_nothing_before_it() -> None:
    """Every candle behind the 200th is nonsense: rows, prices and warmth until then are bit-equal, and so is every
    label that ends there; the first row behind it is not."""
    labels = {
        "next": LabelSpec(kind="return", horizon_rows=3),
        "barrier": LabelSpec(kind="barrier", horizon_rows=8, target=Decimal("0.01"), stop=Decimal("0.01")),
        "range": LabelSpec(kind="parkinson_variance", horizon_rows=5),
    }
    sound = market()
    bars = list(sound.events())
    wild = [
        bar if number < 200 else Bar(bar.ts_event_ns, bar.ts_recv_ns, bar.instrument, MINUTE, 7.0, 9e6, 1.0, 8e6, 1e9)
        for number, bar in enumerate(bars)
    ]
    poisoned = Recorded(sound.instrument, lambda: iter(wild), sound.sources)
    before, after = (in_memory([each], candle_spec(), labels) for each in (sound, poisoned))
    for column in ("values", "close_px", "high_px", "low_px", "warm", "ts_ns"):
        assert getattr(before, column)[:200].tobytes() == getattr(after, column)[:200].tobytes(), column
    assert before.values[200].tobytes() != after.values[200].tobytes()
    for name, label in before.labels.items():
        safe = label.known & (label.last < 200)
        assert safe.sum() > 180
        assert label.values[safe].tobytes() == after.labels[name].values[safe].tobytes(), name
