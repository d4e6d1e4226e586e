"""Lanes without sockets: a frame in memory to order bytes with a writer that keeps them.

Owns pacing and timing.  A latency runs from before the receive stamp to the moment the whole request, token included,
is handed to the writer; the account's answer comes after it and is not timed.

The paced lanes run on the daemon's event loop with the daemon's shadow ticks: another process writes a byte for each
tick that is due, so the loop sleeps and wakes as it does for a socket.  The hot lanes do not wait between ticks.
"""

from __future__ import annotations

import asyncio
import cProfile
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.figures import Reading, Target, describe_profile, latency
from benchmarks.metronome import due_ns, metronome
from benchmarks.rig import Market, NullWriter, Rig, running, settle_memory
from engine.errors import KestrelError
from engine.runtime.polling import BusyPoll

_read = time.perf_counter_ns
WARM_UP = 600
TRADE_EVERY = 4
TIMER_EVERY = 100
THROUGHPUT_EVERY = 100
PACE = 1_000
"""Ticks a second of the paced lanes, as asked; a machine that is away for longer than a tick makes it fewer."""


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


class Paced(NamedTuple):
    """``samples`` are nanoseconds, one for each tick; ``shadow_ticks`` came between them."""

    samples: list[int]
    per_second: float
    shadow_ticks: int


def paced(rig: Rig, market: Market, writer: NullWriter, ticks: int, per_second: int, *, polling: bool = False) -> Paced:
    """Latencies of ``ticks`` ticks that come every ``1 / per_second``, on a loop with shadow ticks that sleeps between
    them, or with ``polling`` does not."""
    from uvloop import new_event_loop

    with metronome(per_second) as beats, asyncio.Runner(loop_factory=new_event_loop) as runner:
        measured = runner.run(_paced(rig, market, writer, ticks, beats, polling))
    rig.check()
    if missing := measured.samples.count(0):
        raise KestrelError(f"{missing} of {ticks} ticks made no order", expected="an order on every tick")
    return measured


async def _paced(rig: Rig, market: Market, writer: NullWriter, ticks: int, beats: int, polling: bool) -> Paced:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    samples: list[int] = []
    failed: list[Exception] = []

    def on_beat() -> None:
        try:
            # Beats that came during a tick are one: the market waits for us.
            due_ns(beats)
            samples.append(tick(rig, market, writer))
            if len(samples) % 10_000 == 0:
                rig.tokens.refresh()
        except Exception as error:
            failed.append(error)
        if (failed or len(samples) >= ticks) and not done.done():
            loop.remove_reader(beats)
            done.set_result(None)

    shadow = rig.shadow()
    shadow.start()
    poll = BusyPoll(loop)
    if polling:
        poll.start()
    start_s = time.perf_counter()
    loop.add_reader(beats, on_beat)
    try:
        await done
        if failed:
            raise failed[0]
        return Paced(samples, ticks / (time.perf_counter() - start_s), shadow.ticks)
    finally:
        poll.stop()
        shadow.stop()


def hot(rig: Rig, market: Market, writer: NullWriter, ticks: int) -> list[int]:
    """Latencies of ticks that come as soon as the answer to the last one was handled."""
    samples = [tick(rig, market, writer) for _ in range(ticks)]
    rig.check()
    return samples


def _lane(name: str, *, model: bool, quick: bool, targets: tuple[Target, ...]) -> list[Reading]:
    ticks = 1_500 if quick else 3_000
    writer = NullWriter()
    with running(writer, model=model) as rig:
        market = Market()
        warm_up(rig, market, writer)
        measured = paced(rig, market, writer, ticks, PACE)
        late = rig.core.counters.late_predictions
        polled = paced(rig, market, writer, ticks, PACE, polling=True)
        flat_out = hot(rig, market, writer, ticks)
    notes = [f"{late} predictions over their deadline"] if late else []
    notes.append(f"{measured.shadow_ticks} shadow ticks found room between {ticks} ticks")
    return [
        latency(
            name,
            measured.samples,
            per_second=measured.per_second,
            asked_per_second=PACE,
            targets=targets,
            note="; ".join(notes),
        ),
        latency(f"{name}_polling", polled.samples, per_second=polled.per_second, asked_per_second=PACE),
        latency(f"{name}_hot", flat_out),
    ]


def cnn(quick: bool) -> list[Reading]:
    """In process, CNN inline, an order on every tick, 1,000 ticks/s; the same with busy polling, and flat out."""
    return _lane("in_process_cnn", model=True, quick=quick, targets=(Target("p50", 60), Target("p99", 150)))


def no_model(quick: bool) -> list[Reading]:
    """The same without a model; features run."""
    return _lane("in_process_no_model", model=False, quick=quick, targets=(Target("p50", 20), Target("p99", 60)))


def throughput(quick: bool) -> list[Reading]:
    """Flat out on one core: a prediction on each tick, an order on every 100th."""
    ticks = 20_000 if quick else 40_000
    chunk = 2_000
    writer = NullWriter()
    rates = []
    with running(writer, model=True, every=THROUGHPUT_EVERY) as rig:
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
            note=f"a prediction on each tick, an order on every {THROUGHPUT_EVERY}th",
        )
    ]


def stages(quick: bool) -> list[Reading]:
    """What the daemon's own probe says about each stage, CNN inline, 1,000 ticks/s."""
    writer = NullWriter()
    with running(writer, model=True) as rig:
        market = Market()
        warm_up(rig, market, writer)
        paced(rig, market, writer, 1_000 if quick else 4_000, PACE)
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


def profile(name: str) -> Sequence[str]:
    """Where the time of the lane of that name goes: the probe's stages at its own pace, then own times, flat out."""
    if name.startswith("throughput"):
        return _profile(model=True, every=THROUGHPUT_EVERY, flat_out=True)
    return _profile(model=name == "in_process_cnn", every=1, flat_out=name == "cost_per_order")


def _profile(*, model: bool, every: int, flat_out: bool) -> list[str]:
    writer = NullWriter()
    with running(writer, model=model, every=every) as rig:
        market = Market()
        warm_up(rig, market, writer)
        ticks = 4_000 if flat_out else 1_000
        if flat_out:
            hot(rig, market, writer, ticks)
        else:
            paced(rig, market, writer, ticks, PACE)
        lines = [f"{ticks:,} ticks, {'flat out' if flat_out else f'{PACE:,} a second asked'}, {_orders(every)}:"]
        lines += stage_lines(rig)
        ticks = 3_000
        profiler = cProfile.Profile(_read, 1e-9)
        for _ in range(ticks):
            frame = market.ticker(rig.clock.now_ns())
            profiler.enable()
            rig.receive(frame)
            profiler.disable()
            finish(rig, market, writer)
    return [*lines, *describe_profile(profiler, ticks, 14)]


def _orders(every: int) -> str:
    return "an order on each" if every == 1 else f"an order on every {every}th"


def stage_lines(rig: Rig) -> list[str]:
    """The probe's stages as text.  A stage of fewer events than others ran on fewer ticks."""
    return [f"{name:<14} p50 {p50:7.2f} us  p99 {p99:7.2f} us  {count:>6,} x" for name, p50, p99, count in rig.stages()]
