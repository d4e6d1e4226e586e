"""Ticks while models are exchanged: each promotion is checked in its process, opened in its thread, and swapped.

A latency runs from when a tick is due, which another process stamps, to the bytes of its order: a loop that stands
still makes all ticks late that were due meanwhile.  In one run each exchange, from the promotion to the first
prediction, is followed by as long a time without one: a neighbour on the machine disturbs both alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

from benchmarks.figures import Reading, Target, latency, percentile_us
from benchmarks.in_process import finish, warm_up
from benchmarks.metronome import due_ns, metronome
from benchmarks.rig import ROOT, Market, NullWriter, Rig, running
from config.following import follow_registry
from engine import processors
from engine.errors import KestrelError
from engine.events import InputEvent
from models.bundle import Bundle, load_bundle
from models.registry.store import Registry

SWAPS: Final = 20
PACE: Final = 1_000
_PLAIN_S: Final = 2.0
_SWAP_S: Final = 60.0
_LIMIT_S: Final = 400.0


class Ticks:
    """``swapping`` and ``plain``: latencies in ns of ticks that were due while a model was exchanged, and of others."""

    def __init__(self) -> None:
        self.swapping: list[int] = []
        self.plain: list[int] = []


class Exchange:
    """Promotes one version after another, each when the one before serves; ``is_on`` from a promotion to its effect.

    Another process promotes, as the command is one; the versions are made before.
    """

    def __init__(self, rig: Rig, swaps: int) -> None:
        self.took_s: list[float] = []
        self.is_on = False
        self._rig = rig
        self._registry = Registry(rig.settings.models.registry)
        self._bundles = [self._version(number) for number in range(swaps)]
        with processors.beside():
            self._operator = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.promoter", str(self._registry.root)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._operator.stdout is not None
        assert self._operator.stdin is not None
        self._orders = self._operator.stdin.fileno()
        self._operator.stdout.readline()  # it is there, and takes no core from what is measured
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        with processors.beside():
            self._thread.start()

    def stop(self) -> None:
        self._operator.kill()
        self._operator.communicate()

    def _version(self, number: int) -> Bundle:
        """The shipped bundle under another card."""
        folder = self._registry.root.parent / f"version-{number}" / "demo-crypto"
        shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", folder)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"summary": f"version {number}"}))
        bundle = load_bundle(folder)
        self._registry.add(bundle)
        return bundle

    def _run(self) -> None:
        time.sleep(_PLAIN_S)
        for bundle in self._bundles:
            begun_s = time.perf_counter()
            self.is_on = True
            os.write(self._orders, f"{bundle.version}\n".encode())
            while not self._serves(bundle.version):
                if time.perf_counter() - begun_s > _SWAP_S:
                    return
                time.sleep(0.01)
            self.is_on = False
            self.took_s.append(time.perf_counter() - begun_s)
            time.sleep(self.took_s[-1])

    def _serves(self, version: str) -> bool:
        seat = self._rig.core.lanes[self._rig.instruments[0].id].seat
        return seat is not None and seat.version == version


def run(quick: bool) -> list[Reading]:
    """A row for a loop that runs where the system puts it, and one for a loop with a processor of its own; the value is
    the p99 while models are exchanged over that of the time between."""
    cpus = sorted(os.sched_getaffinity(0))
    rows = [_row("swap", 3 if quick else SWAPS, None)]
    return rows if len(cpus) < 2 else [*rows, _row("swap_on_its_own_cpu", 3 if quick else SWAPS, cpus[-1])]


def _row(name: str, swaps: int, cpu: int | None) -> Reading:
    """``cpu``: as ``engine.cpu``."""
    from uvloop import new_event_loop

    writer = NullWriter()
    with processors.loop_on(cpu), running(writer, model=True) as rig:
        market = Market()
        warm_up(rig, market, writer)
        exchange = Exchange(rig, swaps)
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                ticks = runner.run(_measured(rig, market, writer, exchange))
        finally:
            exchange.stop()
        rig.check()
        if rig.core.counters.swaps != swaps:
            raise KestrelError(f"{rig.core.counters.swaps} models were swapped", expected=f"{swaps}")
    plain_us = percentile_us(sorted(ticks.plain), 0.99)
    return latency(
        name,
        ticks.swapping,
        value=percentile_us(sorted(ticks.swapping), 0.99) / plain_us,
        unit="x p99 without",
        targets=(Target("value", 1.5),),
        note=f"{swaps} swaps, {median(exchange.took_s):.1f} s each from the promotion to serving (longest "
        f"{max(exchange.took_s):.1f} s); longest wait of a tick {max(ticks.swapping) / 1e6:.1f} ms, between swaps "
        f"{max(ticks.plain) / 1e6:.1f} ms; p99 between swaps {plain_us:.0f} us",
    )


async def _measured(rig: Rig, market: Market, writer: NullWriter, exchange: Exchange) -> Ticks:
    loop = asyncio.get_running_loop()

    def tell(make: Callable[[int], InputEvent]) -> None:
        loop.call_soon_threadsafe(lambda: rig.publish(make(rig.clock.now_ns())))

    shadow = rig.shadow()
    (watcher,) = follow_registry(rig.settings, rig.assembly, tell, ROOT, env=os.environ, log=_Refusing(), core=rig.core)
    shadow.start()
    watcher.start()
    exchange.start()
    with metronome(PACE) as beats:
        try:
            return await _ticked(rig, market, writer, beats, exchange)
        finally:
            watcher.stop()
            shadow.stop()


async def _ticked(rig: Rig, market: Market, writer: NullWriter, beats: int, exchange: Exchange) -> Ticks:
    """As long as models are exchanged."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    ticks = Ticks()
    until_s = loop.time() + _LIMIT_S

    def on_beats() -> None:
        try:
            samples = ticks.swapping if exchange.is_on else ticks.plain
            for due in due_ns(beats):
                orders = writer.orders
                rig.receive(market.ticker(rig.clock.now_ns()))
                if writer.orders == orders:
                    raise KestrelError("a tick made no order", expected="an order on every tick")
                samples.append(writer.sent_ns - due)
                finish(rig, market, writer)
                if market.ticks % 5_000 == 0:
                    rig.tokens.refresh()
            if loop.time() > until_s:
                raise KestrelError(f"the swaps did not end within {_LIMIT_S:.0f} s")
            if exchange.goes_on:
                return
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)
        loop.remove_reader(beats)

    loop.add_reader(beats, on_beats)
    await done
    return ticks


class _Refusing:
    """A version that may not serve is an error here: the deadline of the shipped model is far away."""

    def error(self, text: str, **fields: Any) -> None:
        print(f"{text}: {fields}", file=sys.stderr)
