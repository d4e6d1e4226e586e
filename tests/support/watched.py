"""A session on recorded market data as its journal holds it, made by the real core in this process."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from config.assembly import ConfiguredAssembly
from config.load import load
from config.observing import build_observer
from config.schema import Settings
from config.wiring import build_core, resolve
from engine import events as e
from engine.codec import Record
from engine.data.parquet import describe_files, read_events
from engine.instruments import Instrument
from engine.ports import Assignment, Features
from models.bundle import Bundle, load_bundle
from models.observer.observer import Observer
from models.observer.told import Alarmed

BTC = "BTC/USDT@binance_usdm"
# Of the session that is played once and looked at by many tests.
EVENTS = 5_000


class Recorded:
    """Every record in the order of a journal; implements ``engine.ports.Recorder``."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record(self, record: Record) -> int:
        self.records.append(record)
        return len(self.records)


class Altered(ConfiguredAssembly):
    """Its windows reach the model with one column changed: what a defect of the live process would do."""

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:
        buffer: Any = super().features(instrument, assignment)
        if buffer is not None:
            true_window, column = buffer.window, buffer.spec.columns.index("imbalance")

            def window() -> Any:
                changed = true_window().copy()
                changed[:, column] = -changed[:, column]
                return changed

            buffer.window = window
        return buffer


@dataclass
class Played:
    """``settings`` of the session and its records."""

    settings: Settings
    records: list[Record] = field(default_factory=list)

    def observer(self, folder: Path | None = None, *, shadows: Iterable[Bundle] = (), **watch: Any) -> Observer:
        models = self.settings.models
        changed = models.model_copy(update={"watch": models.watch.model_copy(update=watch)})
        return build_observer(
            self.settings.model_copy(update={"models": changed}), folder, shadows=tuple(shadows)
        )  # fmt: skip

    def watched_by(self, observer: Observer) -> Observer:
        for record in self.records:
            observer.take(record)
        return observer


def play(
    data: Path,
    registry: Path,
    events: int,
    *,
    assembly: type[ConfiguredAssembly] = ConfiguredAssembly,
    change: Callable[[int, e.MarketEvent], e.MarketEvent] = lambda _, event: event,
) -> Played:
    """The demo bundle on Bitcoin's perpetual: ``events`` of its quotes and trades, each as ``change`` makes it."""
    files = [data / "ticks" / f"binance_usdm_btcusdt_20240808_{kind}.parquet" for kind in ("quotes", "trades")]
    known = {info.instrument.id: info.instrument for info in describe_files(files)}
    given = {"venue.feed": "replay", "models.registry": str(registry), "models.deadline_us": 1_000_000}
    settings = resolve(load((), overrides=given), list(known))
    recorder = Recorded()
    core = build_core(
        settings, list(known), recorder=recorder, assembly=assembly(settings, time.perf_counter_ns), id_prefix="t"
    )

    def feed(event: e.InputEvent) -> None:
        recorder.records.append(event)
        core.on_event(event)

    market = islice(read_events(files, known), events)
    first = next(market)
    for instrument in known.values():
        feed(e.InstrumentDefined(first.ts_recv_ns, first.ts_recv_ns, instrument))
    feed(e.FeedUp(first.ts_recv_ns, first.ts_recv_ns, "binance_usdm", "market"))
    for number, event in enumerate((first, *market)):
        feed(change(number, event))
    return Played(settings, recorder.records)


def figures(observer: Observer) -> dict[str, dict[str, Any]]:
    return {version: found for instrument, version, found in observer.figures() if instrument == BTC}


def alarmed(observer: Observer) -> list[Alarmed]:
    return [told for told in observer.look() if isinstance(told, Alarmed)]


def variant(artifacts: Path, folder: Path, **changes: Any) -> Bundle:
    """The demo bundle as another version."""
    copy = Path(shutil.copytree(artifacts / "demo-crypto", folder / "demo-crypto"))
    manifest = json.loads((copy / "manifest.json").read_bytes())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "created_ns": manifest["created_ns"] + 1, **changes}))
    return load_bundle(copy)
