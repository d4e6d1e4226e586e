"""What 34 indicators cost a candle: ``technical40`` from Python, in one loop, for a million, at the first start.

Beside it, in the same run, the common way: a pandas frame of the last candles in which TA-Lib computes all of them anew
at each candle.  Also ``python -m benchmarks.candles``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, own_times, time_each
from benchmarks.market import INSTRUMENT, NAME
from benchmarks.rig import ROOT
from engine.errors import ConfigError
from engine.events import Bar
from engine.features import Candles, FeatureBuffer, FeatureSpec, Sampling, compute_candles, tape
from engine.features.sets import named_spec

INTERVAL_NS: Final = 60_000_000_000
SET: Final = "technical40"
LOOP_ROWS: Final = 4_000
MILLIONS: Final = 7
FRAME_ROWS: Final = 500
"""Candles that the recomputation looks at: the fewest that such programs keep."""

START: Final = """
import json, time
begin_s = time.perf_counter()
from benchmarks.market import INSTRUMENT
from engine.features import FeatureBuffer
from engine.features.sets import named_spec
imported_s = time.perf_counter()
FeatureBuffer(named_spec("technical40"), INSTRUMENT)
print(json.dumps([imported_s - begin_s, time.perf_counter() - imported_s]))
"""


def spec() -> FeatureSpec:
    return named_spec(SET, sampling=Sampling.time_bar(INTERVAL_NS, price="trade"))


def candles(n: int) -> Candles:
    """A seeded walk of finished candles, one a minute."""
    random = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 1e-3, n)))
    start = np.r_[100.0, close[:-1]]
    high = np.maximum(start, close) * (1.0 + random.exponential(3e-4, n))
    low = np.minimum(start, close) * (1.0 - random.exponential(3e-4, n))
    return Candles((np.arange(n) + 1) * INTERVAL_NS, start, high, low, close, random.exponential(3.0, n))


def bars(given: Candles) -> list[Bar]:
    times, *columns = (column.tolist() for column in given)
    return [Bar(t, t, NAME, INTERVAL_NS, *numbers) for t, *numbers in zip(times, *columns, strict=True)]


def _loop_ns(given: Candles) -> list[float]:
    """Nanoseconds a row of each stretch, without Python between its rows."""
    buffer = FeatureBuffer(spec(), INSTRUMENT)
    buffer.update(bars(given)[0])
    numbers = np.column_stack(given[1:])
    kinds = np.full(len(numbers), tape.HISTORY_BAR, np.int64)
    width = len(buffer.spec.columns)
    values, exact = np.empty((LOOP_ROWS, width), np.float32), np.empty((0, width))
    out = (values, exact, np.empty(LOOP_ROWS, np.int64), np.empty(LOOP_ROWS, np.bool_), np.empty(LOOP_ROWS))
    found, at = [], 1
    while at + LOOP_ROWS < len(numbers):
        begin_ns = time.perf_counter_ns()
        at, rows = buffer.feed((kinds, numbers, given.end_ns), at, out)
        found.append((time.perf_counter_ns() - begin_ns) / rows)
    return found


def _start_s(cache: str) -> list[float]:
    """Seconds that the imports and the kernel take in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", START],
        env={**os.environ, "KESTREL_NUMBA_CACHE": cache},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"a start failed: {done.stderr.strip().splitlines()[-1]}", expected="a compiled kernel")
    found: list[float] = json.loads(done.stdout)
    return found


def recompute(frame: Any) -> Any:
    """All columns of ``technical40`` over a frame of candles, as programs with TA-Lib write it."""
    import talib

    open_, high, low, close, volume = (frame[name] for name in ("open", "high", "low", "close", "volume"))
    frame["ret_1"] = np.log(close / close.shift(1))
    for n in (10, 20, 50):
        frame[f"sma_{n}"] = talib.SMA(close, n)
    for n in (12, 26):
        frame[f"ema_{n}"] = talib.EMA(close, n)
    frame["macd_line"], frame["macd_signal"], frame["macd_histogram"] = talib.MACD(close, 12, 26, 9)
    frame["rsi_14"] = talib.RSI(close, 14)
    frame["stoch_k"], frame["stoch_d"] = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    frame["cci_20"] = talib.CCI(high, low, close, 20)
    frame["roc_10"] = talib.ROC(close, 10)
    frame["trix_15"] = talib.TRIX(close, 15)
    frame["atr_14"] = talib.ATR(high, low, close, 14)
    upper, middle, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    frame["bb_upper"], frame["bb_middle"], frame["bb_lower"] = upper, middle, lower
    frame["bb_width"] = (upper - lower) / middle
    frame["bb_position"] = (close - lower) / (upper - lower)
    frame["keltner_middle"] = talib.EMA(close, 20)
    reach = 2.0 * talib.ATR(high, low, close, 10)
    frame["keltner_upper"], frame["keltner_lower"] = frame["keltner_middle"] + reach, frame["keltner_middle"] - reach
    frame["obv"] = talib.OBV(close, volume)
    frame["ad_line"] = talib.AD(high, low, close, volume)
    frame["mfi_14"] = talib.MFI(high, low, close, volume, 14)
    typical = (high + low + close) / 3.0
    frame["vwap"] = (typical * volume).rolling(20).sum() / volume.rolling(20).sum()
    frame["simple_ret_1"] = close.pct_change()
    frame["high_low_ratio"] = high / low - 1.0
    frame["open_close_ratio"] = open_ / close - 1.0
    frame["volume_sma_20"] = talib.SMA(volume, 20)
    frame["volume_ratio"] = volume.rolling(5).mean() / volume.rolling(50).mean()
    frame["adx_14"] = talib.ADX(high, low, close, 14)
    frame["willr_14"] = talib.WILLR(high, low, close, 14)
    return frame


def as_frame(given: Candles) -> Any:
    import pandas as pd  # type: ignore[import-untyped]

    return pd.DataFrame(dict(zip(("open", "high", "low", "close", "volume"), given[1:], strict=True)))


def _recomputed(given: Candles, updates: int) -> list[int]:
    """Nanoseconds a candle: the oldest row goes, the newest comes, all columns are computed."""
    frame, found = as_frame(given), []
    for i in range(updates):
        begin_ns = time.perf_counter_ns()
        recompute(frame.iloc[i : i + FRAME_ROWS].copy())
        found.append(time.perf_counter_ns() - begin_ns)
    return found


def _beside(given: Candles, update: Reading, quick: bool) -> list[Reading]:
    """The recomputation, and how often our update fits into it."""
    try:
        import pandas as pd  # noqa: F401
        import talib  # noqa: F401
    except ImportError as error:
        return [Reading("candles_recomputed", note=f"not measured: {error}")]
    other = latency("candles_recomputed", _recomputed(given, 20 if quick else 200))
    assert other.p50 is not None
    assert update.p50
    ratio = other.p50 / update.p50
    return [other, Reading("candles_ratio", value=ratio, unit="times", note="candles_recomputed / candles_update, p50")]


def profile(name: str) -> Sequence[str]:
    """The compiled kernel and the call around it, a candle at a time; of the other readings what there is to say."""
    if name != "candles_update":
        return ["compiled code or a compiler all the way: no Python function has a share"]
    buffer = FeatureBuffer(spec(), INSTRUMENT)
    coming = iter(bars(candles(21_000)))
    return own_times(lambda: buffer.update(next(coming)), 20_000, top=5)


def run(quick: bool) -> list[Reading]:
    """Update, loop, a million, state, starts, and the recomputation beside."""
    count = 40_000 if quick else 200_000
    given = candles(count)
    buffer = FeatureBuffer(spec(), INSTRUMENT)
    samples = time_each(buffer.update, [(bar,) for bar in bars(given)], clock_cost_ns())
    update = latency("candles_update", samples, targets=(Target("p50", 1.0),))
    stretches = _loop_ns(given)
    loop = Reading(
        "candles_loop",
        value=median(stretches),
        unit="ns a row",
        targets=(Target("value", 200.0),),
        note=f"best stretch of {LOOP_ROWS:,} rows {min(stretches):.0f} ns",
    )
    million = candles(count if quick else 1_000_000)
    runs_s = []
    for _ in range(1 if quick else MILLIONS):
        begin_s = time.perf_counter()
        rows = len(compute_candles(spec(), INSTRUMENT, million).values)
        runs_s.append((time.perf_counter() - begin_s) * 1e6 / rows)
    state = buffer.state_bytes
    with tempfile.TemporaryDirectory(prefix="kestrel-bench-") as cache:
        first, later = _start_s(cache), _start_s(cache)
    return [
        update,
        loop,
        Reading(
            "candles_million",
            value=median(runs_s),
            unit="s",
            targets=(Target("value", 0.5),),
            note=f"{len(runs_s)} runs, {min(runs_s):.2f}-{max(runs_s):.2f} s",
        ),
        Reading("candles_state", value=state / 1e3, unit="kB", targets=(Target("value", 64.0),)),
        Reading(
            "candles_first_start",
            value=first[1],
            unit="s",
            targets=(Target("value", 10.0),),
            note=f"imports before it {first[0]:.2f} s",
        ),
        Reading("candles_later_start", value=sum(later), unit="s", targets=(Target("value", 1.0),)),
        *_beside(given, update, quick),
    ]


if __name__ == "__main__":
    from benchmarks.suite import run_suite

    run_suite(["candles"])
