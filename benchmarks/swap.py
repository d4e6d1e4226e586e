"""Ticks while models are exchanged: each promotion is checked in its process, opened in its thread, and swapped.

A latency runs from when a tick is due, which another process stamps, to the bytes of its order: a loop that stands
still makes all ticks late that were due meanwhile.  In one run the first part has no swap, the middle part has them one
after another as fast as they come, the last has none again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.figures import Reading, Target, latency, percentile_us
from benchmarks.in_process import finish, warm_up
from benchmarks.rig import ROOT, Market, NullWriter, Rig, running
from config.following import follow_registry
from engine.errors import KestrelError
from engine.events import InputEvent
from models.manifest import load_bundle
from models.registry.standing import scope_of
from models.registry.store import Registry

SWAPS: Final = 20
PACE: Final = 1_000
_PART_S: Final = 4.0
_LIMIT_S: Final = 300.0
_STAMP = struct.Struct("q")
_METRONOME = """
import os, struct, sys, time
interval_ns = int(1e9 / float(sys.argv[1]))
due_ns = time.perf_counter_ns()
while True:
    due_ns += interval_ns
    left_ns = due_ns - time.perf_counter_ns()
    if left_ns > 0:
        time.sleep(left_ns / 1e9)
    elif left_ns < -interval_ns:
        due_ns = time.perf_counter_ns()  # this process was away, which is not the loop's fault
    os.write(1, struct.pack("q", time.perf_counter_ns()))
"""


class Part(NamedTuple):
    """``samples`` in ns, one for each tick; ``stall_ns``: the longest that a tick that was due waited for the loop."""

    samples: list[int]
    stall_ns: int


@contextlib.contextmanager
def _beats() -> Iterator[int]:
    """A descriptor with the time of each tick, 8 bytes each."""
    ours, theirs = os.pipe()
    process = subprocess.Popen([sys.executable, "-S", "-c", _METRONOME, str(PACE)], stdout=theirs)
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def run(quick: bool) -> list[Reading]:
    """One row; its value is the p99 while models are exchanged over that of the parts without."""
    swaps = 3 if quick else SWAPS
    writer = NullWriter()
    with running(writer, model=True) as rig:
        market = Market()
        warm_up(rig, market, writer)
        parts, took_s = asyncio.run(_measured(rig, market, writer, swaps))
        rig.check()
        if rig.core.counters.swaps != swaps:
            raise KestrelError(f"{rig.core.counters.swaps} models were swapped", expected=f"{swaps}")
    before, during, after = parts
    plain_us = median([_p99_us(before), _p99_us(after)])
    return [
        latency(
            "swap",
            during.samples,
            value=_p99_us(during) / plain_us,
            unit="x p99 without",
            targets=(Target("value", 1.5),),
            note=f"{swaps} swaps, {median(took_s):.1f} s each from the promotion to the first prediction (longest "
            f"{max(took_s):.1f} s); longest stall {during.stall_ns / 1e6:.1f} ms, without swaps "
            f"{max(before.stall_ns, after.stall_ns) / 1e6:.1f} ms; p99 without {plain_us:.0f} us",
        )
    ]


def _p99_us(part: Part) -> float:
    return percentile_us(sorted(part.samples), 0.99)


async def _measured(rig: Rig, market: Market, writer: NullWriter, swaps: int) -> tuple[list[Part], list[float]]:
    loop = asyncio.get_running_loop()

    def tell(make: Callable[[int], InputEvent]) -> None:
        loop.call_soon_threadsafe(lambda: rig.publish(make(rig.clock.now_ns())))

    shadow = rig.shadow()
    took_s: list[float] = []
    (watcher,) = follow_registry(rig.settings, rig.assembly, tell, ROOT, env=os.environ, log=_Refusing(), core=rig.core)
    operator = threading.Thread(target=_promote, args=(rig, swaps, took_s), daemon=True)
    shadow.start()
    with _beats() as beats:
        try:
            before = await _part(rig, market, writer, beats, lambda: False)
            watcher.start()
            operator.start()
            during = await _part(rig, market, writer, beats, operator.is_alive)
            await loop.run_in_executor(None, watcher.stop)
            after = await _part(rig, market, writer, beats, lambda: False)
        finally:
            watcher.stop()
            shadow.stop()
    return [before, during, after], took_s


async def _part(rig: Rig, market: Market, writer: NullWriter, beats: int, goes_on: Callable[[], bool]) -> Part:
    """For ``_PART_S`` and as long as it goes on."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    samples: list[int] = []
    stall_ns = 0
    until_s = loop.time() + _PART_S

    def on_beats() -> None:
        nonlocal stall_ns
        try:
            for (due_ns,) in _STAMP.iter_unpack(os.read(beats, 4096)):
                stall_ns = max(stall_ns, time.perf_counter_ns() - due_ns)
                orders = writer.orders
                rig.receive(market.ticker(rig.clock.now_ns()))
                if writer.orders == orders:
                    raise KestrelError("a tick made no order", expected="an order on every tick")
                samples.append(writer.sent_ns - due_ns)
                finish(rig, market, writer)
            if len(samples) % 2_000 == 0:
                rig.tokens.refresh()
            if loop.time() > until_s + _LIMIT_S:
                raise KestrelError(f"the swaps did not end within {_LIMIT_S:.0f} s")
            if loop.time() < until_s or goes_on():
                return
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)
        loop.remove_reader(beats)

    os.read(beats, 65_536)  # what came between two parts was nobody's
    loop.add_reader(beats, on_beats)
    await done
    return Part(samples, stall_ns)


def _promote(rig: Rig, swaps: int, took_s: list[float]) -> None:
    """One version after another, each when the one before serves; a rename each, as the command does at last."""
    registry = Registry(rig.settings.models.registry)
    instrument = rig.instruments[0].id
    for number in range(swaps):
        folder = registry.root.parent / f"version-{number}" / "demo-crypto"
        shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", folder)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"summary": f"version {number}"}))
        bundle = load_bundle(Path(folder))
        version, _ = registry.add(bundle)
        seen = registry.standing(scope_of(bundle.manifest))
        registry.change(seen, "promote", version, who="bench", why="", forced=(), now_ns=time.time_ns())
        promoted_s = time.perf_counter()
        while (seat := rig.core.lanes[instrument].seat) is None or seat.version != version:
            if time.perf_counter() - promoted_s > 60:
                return
            time.sleep(0.01)
        took_s.append(time.perf_counter() - promoted_s)


class _Refusing:
    """A version that may not serve is an error here: the deadline of the shipped model is far away."""

    def error(self, text: str, **fields: Any) -> None:
        print(f"{text}: {fields}", file=sys.stderr)
