"""A challenger that is better becomes champion by the declared rules alone, on a recorded market."""

from __future__ import annotations

import os
import time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.assembly import ConfiguredAssembly
from config.following import follow_registry
from config.load import load
from config.observing import build_observer
from config.wiring import build_core, resolve
from engine import events as e
from engine.data.parquet import describe_files, read_events
from models.observer.rolling import carry_out
from models.registry import audit
from models.registry.promotion import promote
from models.registry.store import Registry
from tests.support.daemon import ROOT
from tests.support.versions import add_version
from tests.support.watched import BTC, Recorded

LOOK_EVERY = 500
"""Events between two looks of the observer and of who follows the registry."""
NO_FEE = Decimal(0)


class Log:
    def error(self, text: str, **fields: Any) -> None:
        raise AssertionError(f"{text}: {fields}")


@pytest.mark.fault("E7")
def test_a_better_challenger_goes_from_shadow_to_champion_with_no_hand_on_it(market_data: Path, tmp_path: Path) -> None:
    """The champion says down where the shipped bundle says up, and that bundle is its shadow.  Fees are nothing: what
    it sees is a thirtieth of what a round trip costs (its card says so), and rules that promote it at a loss are wrong.
    """
    registry = Registry(tmp_path / "registry")
    spoiled, good = add_version(registry, tmp_path, "spoiled", spoiled=True), add_version(registry, tmp_path, "good")
    who: dict[str, Any] = {"who": "ann", "why": "a test", "now_ns": time.time_ns()}
    promote(registry, "demo-crypto", spoiled.partition("@")[2], **who)
    promote(registry, "demo-crypto", good.partition("@")[2], to="shadow", **who)
    rules = {"automatic": True, "signals_min": 20, "span_s": 1.0, "alpha": 0.2, "profit_max_bps": 10.0, "days_min": 1}
    given = {f"models.rollout.{name}": value for name, value in rules.items()} | {"models.deadline_us": 1_000_000}
    files = [market_data / "ticks" / f"binance_usdm_btcusdt_20240808_{kind}.parquet" for kind in ("quotes", "trades")]
    known = {
        info.instrument.id: msgspec.structs.replace(info.instrument, taker_fee_rate=NO_FEE)
        for info in describe_files(files)
    }
    settings = load((), overrides={"models.registry": str(registry.root), "venue.feed": "live", **given})
    settings = resolve(settings, list(known))
    assembly, recorder = ConfiguredAssembly(settings, time.perf_counter_ns), Recorded()
    core = build_core(settings, list(known), recorder=recorder, assembly=assembly, id_prefix="t")
    observer, read = build_observer(settings, None), 0
    now_ns = 0

    def feed(event: e.InputEvent) -> None:
        recorder.records.append(event)
        core.on_event(event)

    market = read_events(files, known)
    first = next(market)
    now_ns = first.ts_recv_ns
    feed(e.InstrumentDefined(now_ns, now_ns, known[BTC]))
    feed(e.FeedUp(now_ns, now_ns, "binance_usdm", "market"))
    (watcher,) = follow_registry(
        settings, assembly, lambda make: feed(make(now_ns)), ROOT, env=os.environ, log=Log(), core=core
    )
    while core.lanes[BTC].seat.version != good:
        some = list(islice(market, LOOK_EVERY))
        assert some, observer.summary()
        for event in some:
            now_ns = event.ts_recv_ns
            feed(event)
        for record in recorder.records[read:]:
            observer.take(record)
        read = len(recorder.records)
        for told in observer.look(caught_up=True):
            carry_out(told, registry, settings.models.rollout.rules(1e6), now_ns, feed="live", upto_ns=now_ns)
        watcher.look()
    steps = [line for line in audit.lines(registry.root) if line.who == "rollout"]
    assert [(line.action, line.version, line.champion, line.share) for line in steps] == [
        ("canary", good, spoiled, Decimal("0.05")), ("promote", good, good, Decimal(0)),
    ]  # fmt: skip
    assert all(line.why.startswith("promote; log_loss passed") and not line.forced for line in steps)
    served = [(type(one), one.model) for one in recorder.records if isinstance(one, e.ModelAssigned | e.ModelStanding)]
    assert served == [
        (e.ModelAssigned, spoiled), (e.ModelStanding, good), (e.ModelAssigned, good), (e.ModelStanding, good),
    ]  # fmt: skip
    until = next(
        at for at, one in enumerate(recorder.records) if isinstance(one, e.ModelAssigned) and one.model == good
    )
    beside = [one.model for one in recorder.records[:until] if isinstance(one, e.Prediction)]
    assert beside.count(good) > 500, "rows on which the canary spoke beside the champion, in the core itself"
