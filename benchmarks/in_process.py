"""Lanes without sockets: a frame in memory to order bytes with a writer that keeps them.

Owns pacing and timing.  A latency runs from before the receive stamp to the moment the whole request, token included,
is handed to the writer; the account's answer comes after it and is not timed.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.figures import Reading, Target, latency
from benchmarks.rig import Market, NullWriter, Rig, running, settle_memory
from engine.errors import KestrelError

_read = time.perf_counter_ns
WARM_UP = 600
TRADE_EVERY = 4
TIMER_EVERY = 100


def tick(rig: Rig, market: Market, writer: NullWriter) -> int:
    """One tick and its answer; nanoseconds from the frame to the order's bytes, 0 when no order came."""
    frame = market.ticker(rig.clock.now_ns())
    before = writer.orders
    start_ns = _read()
    rig.receive(frame)
    took_ns = writer.sent_ns - start_ns if writer.orders > before else 0
    finish(rig, market, writer)
    return took_ns


def finish(rig: Rig, market: Market, writer: NullWriter) -> None:
    """What follows a tick: the account's answer, now and then a trade and the daemon's timer."""
    if writer.answer():
        rig.fill_accepted()
    if market.ticks % TRADE_EVERY == 0:
        rig.receive(market.trade(rig.clock.now_ns()))
    if market.ticks % TIMER_EVERY == 0:
        rig.timer()


def warm_up(rig: Rig, market: Market, writer: NullWriter, ticks: int = WARM_UP) -> None:
    for number in range(ticks):
        tick(rig, market, writer)
        if number == 0:
            rig.timer()  # values the account, which risk wants to know before the first order
    rig.tokens.refresh()
    rig.check()
    settle_memory()
    rig.forget_stages()


def paced(rig: Rig, market: Market, writer: NullWriter, ticks: int, per_second: int) -> list[int]:
    """Latencies of ``ticks`` ticks that come every ``1 / per_second``; the process sleeps between them."""
    interval_ns = 1_000_000_000 // per_second
    samples = []
    due_ns = _read()
    for number in range(ticks):
        due_ns += interval_ns
        left_ns = due_ns - _read()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)
        elif left_ns < -interval_ns:
            due_ns = _read()  # the machine was away: ticks do not pile up in a market that waits for us
        took_ns = tick(rig, market, writer)
        if took_ns:
            samples.append(took_ns)
        if number % 10_000 == 9_999:
            rig.tokens.refresh()
    rig.check()
    if len(samples) != ticks:
        raise KestrelError(f"{ticks - len(samples)} of {ticks} ticks made no order", expected="an order on every tick")
    return samples


def _lane(name: str, *, model: bool, quick: bool, targets: tuple[Target, ...]) -> list[Reading]:
    ticks = 1_500 if quick else 4_000
    writer = NullWriter()
    with running(writer, model=model) as rig:
        market = Market()
        warm_up(rig, market, writer)
        start_s = time.perf_counter()
        samples = paced(rig, market, writer, ticks, 1_000)
        rate = ticks / (time.perf_counter() - start_s)
        late = rig.core.counters.late_predictions
    note = f"{late} predictions over their deadline" if late else ""
    return [latency(name, samples, per_second=rate, targets=targets, note=note)]


def cnn(quick: bool) -> list[Reading]:
    """In process, CNN inline, an order on every tick, 1,000 ticks/s."""
    return _lane("in_process_cnn", model=True, quick=quick, targets=(Target("p50", 60), Target("p99", 150)))


def no_model(quick: bool) -> list[Reading]:
    """The same without a model; features run."""
    return _lane("in_process_no_model", model=False, quick=quick, targets=(Target("p50", 20), Target("p99", 60)))


def throughput(quick: bool) -> list[Reading]:
    """Flat out on one core: a prediction on each tick, an order on every 100th."""
    ticks = 20_000 if quick else 60_000
    chunk = 2_000
    writer = NullWriter()
    rates = []
    with running(writer, model=True, every=100) as rig:
        market = Market()
        warm_up(rig, market, writer)
        before = rig.core.counters.predictions
        for _ in range(ticks // chunk):
            now_ns = rig.clock.now_ns()
            frames = [market.ticker(now_ns + 1_000 * number) for number in range(chunk)]
            start_ns = _read()
            for number, frame in enumerate(frames):
                rig.receive(frame)
                if writer.answer():
                    rig.fill_accepted()
                if number % TIMER_EVERY == 0:
                    rig.timer()
            rates.append(chunk * 1e9 / (_read() - start_ns))
            rig.receive(market.trade(rig.clock.now_ns()))
        rig.check()
        if rig.core.counters.predictions - before < ticks:
            raise KestrelError("not every tick was predicted on")
    rate = median(rates)
    return [
        Reading(
            "throughput_cnn",
            per_second=rate,
            p50=1e6 / rate,
            n=ticks,
            targets=(Target("per_second", 20_000, at_least=True),),
            note="a prediction on each tick, an order on every 100th",
        )
    ]


def stages(quick: bool) -> list[Reading]:
    """What the daemon's own probe says about each stage, CNN inline, 1,000 ticks/s."""
    writer = NullWriter()
    with running(writer, model=True) as rig:
        market = Market()
        warm_up(rig, market, writer)
        paced(rig, market, writer, 1_000 if quick else 4_000, 1_000)
        return [Reading(f"stage_{name}", p50, p99, n=count) for name, p50, p99, count in rig.stages()]


def cost_per_order(quick: bool) -> list[Reading]:
    """Tick, order, answer and fill, 50,000 times: does an order cost more when many came before it?"""
    orders, edge = (10_000, 1_000) if quick else (50_000, 5_000)
    writer = NullWriter()
    samples = []
    with running(writer, model=False) as rig:
        market = Market()
        warm_up(rig, market, writer)
        for number in range(orders):
            frame = market.ticker(rig.clock.now_ns())
            start_ns = _read()
            rig.receive(frame)
            if writer.answer():
                rig.fill_accepted()
            samples.append(_read() - start_ns)
            if number % TRADE_EVERY == 0:
                rig.receive(market.trade(rig.clock.now_ns()))
            if number % TIMER_EVERY == 0:
                rig.timer()
            if number % 10_000 == 0:
                rig.tokens.refresh()
        rig.check()
        if rig.core.counters.fills < orders:
            raise KestrelError(f"{rig.core.counters.fills} fills of {orders} orders")
    first, last = median(samples[:edge]) / 1e3, median(samples[-edge:]) / 1e3
    return [
        latency(
            "cost_per_order",
            samples,
            per_second=1e9 / median(samples),
            value=last / first,
            unit="last / first",
            targets=(Target("value", 1.2),),
            note=f"with answer and fill, no model: first {edge:,} {first:.1f} us, last {edge:,} {last:.1f} us",
        )
    ]


def profile(quick: bool, *, model: bool) -> Sequence[str]:
    """The probe's stages, and the functions that took most time of their own, flat out."""
    writer = NullWriter()
    with running(writer, model=model) as rig:
        market = Market()
        warm_up(rig, market, writer)
        paced(rig, market, writer, 1_000, 1_000)
        lines = [f"{name:<14} p50 {p50:7.2f} us  p99 {p99:7.2f} us" for name, p50, p99, _ in rig.stages()]
        ticks = 1_000 if quick else 3_000
        profiler = cProfile.Profile(_read, 1e-9)
        for _ in range(ticks):
            frame = market.ticker(rig.clock.now_ns())
            profiler.enable()
            rig.receive(frame)
            profiler.disable()
            finish(rig, market, writer)
    text = io.StringIO()
    stats = pstats.Stats(profiler, stream=text)
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:14]  # type: ignore[attr-defined]
    lines.append("own time a tick under cProfile (which adds its own to each call):")
    for (path, line, function), (_, calls, own_s, _, _) in rows:
        where = f"{path.rpartition('/')[2]}:{line} " if line else ""
        lines.append(f"  {own_s * 1e6 / ticks:6.2f} us  {calls / ticks:5.1f} calls  {where}{function}")
    return lines
