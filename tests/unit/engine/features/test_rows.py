"""Offline rows are the live rows, bit for bit; nothing in a row depends on what comes later."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.events import MarketEvent, Quote, Trade
from engine.features import (
    FeatureBuffer,
    FeatureSpec,
    GapPolicy,
    Rows,
    Sampling,
    Ticks,
    compute_rows,
    compute_ticks,
    core40_spec,
    quote40_spec,
    tape,
)
from engine.instruments import Instrument
from tests.support.features import SECOND, instrument, recorded_events, seeded_events

CASES = [
    ("binance_usdm_btcusdt_20240808", core40_spec()),
    ("binance_usdm_btcusdt_20240808", core40_spec(sampling=Sampling.tick_bar(7))),
    ("binance_usdm_btcusdt_20240808", core40_spec(sampling=Sampling.time_bar(SECOND // 4))),
    ("oanda_eurusd", quote40_spec()),
]


def live_rows(spec: FeatureSpec, of: Instrument, events: list[MarketEvent]) -> tuple[list[bytes], list[bool]]:
    """What a daemon would show its model, row by row."""
    buffer = FeatureBuffer(spec, of)
    values, warm = [], []

    def row() -> None:
        values.append(buffer.window()[-1].tobytes())
        warm.append(buffer.warm)

    by_time = spec.sampling.kind == "time_bar"
    if by_time:
        buffer.on_bar = row
    for event in events:
        if buffer.update(event) and not by_time:
            row()
    return values, warm


@pytest.mark.fault("E9")
@pytest.mark.parametrize(("stem", "spec"), CASES, ids=["tick", "tick bar", "time bar", "quotes only"])
def test_batch_equals_live_bit_for_bit_on_real_data(market_data: Path, stem: str, spec: FeatureSpec) -> None:
    """5,000 recorded events through both."""
    of, events = recorded_events(market_data, stem, 5000)
    rows = compute_rows(spec, of, events)
    values, warm = live_rows(spec, of, events)
    assert rows.values.tobytes() == b"".join(values)
    assert rows.warm.tolist() == warm
    assert rows.warm.any()
    assert len(rows.ts_event_ns) == len(rows.ts_recv_ns) == len(rows.mid_px) == len(rows.values)


def test_a_warm_row_ends_a_window_without_nan_and_carries_its_time_and_price(market_data: Path) -> None:
    """Every warm row of a recording: its last W rows are finite; mid and times are those of its quote."""
    of, events = recorded_events(market_data, CASES[0][0], 3000)
    spec = core40_spec(window=30)
    rows = compute_rows(spec, of, events)
    for i in np.flatnonzero(rows.warm):
        assert np.isfinite(rows.values[i - 29 : i + 1]).all()
    quotes = {(q.ts_event_ns, q.ts_recv_ns, 0.5 * (q.bid_px + q.ask_px)) for q in events if isinstance(q, Quote)}
    assert set(zip(rows.ts_event_ns.tolist(), rows.ts_recv_ns.tolist(), rows.mid_px.tolist(), strict=True)) <= quotes
    np.testing.assert_array_equal(rows.values[:, spec.columns.index("close")], rows.mid_px.astype(np.float32))


@pytest.mark.parametrize("spec", [case[1] for case in CASES[:3]], ids=["tick", "tick bar", "time bar"])
def test_the_future_does_not_reach_back(spec: FeatureSpec) -> None:
    """Everything after event 700 is overwritten with nonsense: rows made until then are bit-equal."""
    events = seeded_events(900)
    poisoned = events[:700] + [
        type(event)(event.ts_event_ns, event.ts_recv_ns, event.instrument, 1.0, 9e9, 9e9, 9e9)
        if isinstance(event, Quote)
        else Trade(event.ts_event_ns, event.ts_recv_ns, "x", 1.0, 9e9, 1, "")
        for event in events[700:]
    ]
    before, after = compute_rows(spec, instrument(), events), compute_rows(spec, instrument(), poisoned)
    known = len(compute_rows(spec, instrument(), events[:700]).values)
    assert known > 50
    assert before.values[:known].tobytes() == after.values[:known].tobytes()
    assert before.values[known + 1 :].tobytes() != after.values[known + 1 :].tobytes()


def test_columns_without_memory_do_not_depend_on_where_the_recording_starts() -> None:
    """Two recordings, one begun 300 events later: bit-equal in every column but the recursive ones."""
    events = seeded_events(900)
    spec = core40_spec()
    recursive = {"ema_12", "rsi_14", "atr_14", "obv", "macd_line", "macd_signal", "macd_histogram"}
    kept = [i for i, name in enumerate(spec.columns) if name not in recursive]
    long, short = compute_rows(spec, instrument(), events), compute_rows(spec, instrument(), events[300:])
    n = int(short.warm.sum())
    assert n > 200
    assert long.values[-n:, kept].tobytes() == short.values[-n:, kept].tobytes()


def test_several_bars_completed_by_one_event_are_all_there() -> None:
    """Two minutes without a quote: rows at each boundary, flat, in order."""
    minute = 60 * SECOND
    spec = FeatureSpec(
        name="bars",
        columns=("close",),
        window=3,
        sampling=Sampling.time_bar(minute),
        gap=GapPolicy(flat_rows_max=2),
    )
    events = [
        Quote(t, t + 5, "x", px, 1.0, px, 1.0) for t, px in ((0, 10.0), (3 * minute + 1, 20.0), (4 * minute, 30.0))
    ]
    rows = compute_rows(spec, instrument(), events)
    assert rows.ts_event_ns.tolist() == [minute, 2 * minute, 3 * minute, 4 * minute]
    assert rows.ts_recv_ns.tolist() == [3 * minute + 6] * 3 + [4 * minute + 5]
    assert rows.mid_px.tolist() == [10.0, 10.0, 10.0, 20.0]
    assert rows.warm.tolist() == [False, False, True, True]


def test_arrays_that_cannot_be_written_to_are_as_good_as_any() -> None:
    """As data frames give them: the same rows."""
    quotes = np.array([[100.0 + i % 3, 1.0, 100.5 + i % 3, 1.0] for i in range(60)])
    times = np.arange(1, 61) * 1_000_000
    made = []
    for frozen in (False, True):
        given = Ticks(np.zeros(60, np.int64) + tape.QUOTE, quotes.copy(), times.copy(), times.copy())
        for column in given:
            column.flags.writeable = not frozen
        made.append(compute_ticks(quote40_spec(), instrument(), given).values)
    assert len(made[0]) > 0
    np.testing.assert_array_equal(made[0], made[1])


def test_no_events_make_no_rows() -> None:
    """Shapes of nothing."""
    rows = compute_rows(core40_spec(), instrument(), [])
    assert rows.values.shape == (0, 40)
    assert len(rows.warm) == 0


def digest(rows: Rows) -> str:
    return hashlib.sha256(b"".join(part.tobytes() for part in rows)).hexdigest()


@pytest.mark.parametrize(("stem", "spec"), [CASES[0], CASES[3]], ids=["core40", "quote40"])
def test_plain_python_equals_numba_bit_for_bit_on_real_data(market_data: Path, stem: str, spec: FeatureSpec) -> None:
    """3,000 recorded events; the second run has numba switched off, in a process of its own."""
    code = (
        "import hashlib, sys\n"
        "from pathlib import Path\n"
        "from engine.features import FeatureSpec, compute_rows, jit\n"
        "from tests.support.features import recorded_events\n"
        "of, events = recorded_events(Path(sys.argv[1]), sys.argv[2], 3000)\n"
        "rows = compute_rows(FeatureSpec.from_json(sys.argv[3]), of, events)\n"
        "print(jit.enabled(), hashlib.sha256(b''.join(part.tobytes() for part in rows)).hexdigest())\n"
    )
    arguments = [str(market_data), stem, spec.to_json().decode()]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, "KESTREL_NUMBA": "0"},
        cwd=Path(__file__).resolve().parents[4],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    of, events = recorded_events(market_data, stem, 3000)
    assert done.stdout.split() == ["False", digest(compute_rows(spec, of, events))]
