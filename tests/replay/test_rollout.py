"""Challengers become champions, and champions go, by the declared rules alone, on a recorded market."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
from engine.codec import Record
from engine.data.parquet import describe_files, read_events
from models.observer.rolling import carry_out
from models.observer.told import Alarmed
from models.registry import audit
from models.registry.promotion import promote
from models.registry.store import Registry
from tests.support.daemon import ROOT
from tests.support.versions import RETURN, add_version
from tests.support.watched import BTC, Recorded

LOOK_EVERY = 500
"""Events between two looks of the observer and of who follows the registry."""
NO_FEE = Decimal(0)


class Log:
    def error(self, text: str, **fields: Any) -> None:
        raise AssertionError(f"{text}: {fields}")


class LiveMarket:
    """A session on a recorded market at the speed of the machine: the core, who watches its models, who follows the
    registry, and what the rules make of it there.  Nobody else changes anything.

    Fees are nothing: what the shipped bundle sees is a thirtieth of what a round trip costs (its card says so).
    """

    def __init__(self, registry: Registry, data: Path, strategy: dict[str, Any] | None = None, **rules: Any) -> None:
        given = {f"models.{name.replace('__', '.')}": value for name, value in rules.items()}
        if strategy is not None:
            given["strategies"] = [{"name": "s", "kind": "threshold", "params": strategy}]
        files = [data / "ticks" / f"binance_usdm_btcusdt_20240808_{kind}.parquet" for kind in ("quotes", "trades")]
        known = {
            info.instrument.id: msgspec.structs.replace(info.instrument, taker_fee_rate=NO_FEE)
            for info in describe_files(files)
        }
        named = {"models.registry": str(registry.root), "venue.feed": "live", "models.deadline_us": 1_000_000}
        self.registry = registry
        self.settings = settings = resolve(load((), overrides=named | given), list(known))
        assembly, self._recorder = ConfiguredAssembly(settings, time.perf_counter_ns), Recorded()
        self._core = build_core(settings, list(known), recorder=self._recorder, assembly=assembly, id_prefix="t")
        self._observer, self._read = build_observer(settings, None), 0
        self._market = read_events(files, known)
        first = next(self._market)
        self._now_ns = now_ns = first.ts_recv_ns
        self._feed(e.InstrumentDefined(now_ns, now_ns, known[BTC]))
        self._feed(e.FeedUp(now_ns, now_ns, "binance_usdm", "market"))
        (self._watcher,) = follow_registry(
            settings, assembly, self._tell, ROOT, env=os.environ, log=Log(), core=self._core
        )

    @property
    def records(self) -> list[Record]:
        return self._recorder.records

    def _feed(self, event: e.InputEvent) -> None:
        self.records.append(event)
        self._core.on_event(event)

    def _tell(self, make: Callable[[int], e.InputEvent]) -> None:
        self._feed(make(self._now_ns))

    def play_until(self, version: str) -> None:
        """That is champion in the core."""
        while self._core.lanes[BTC].seat.version != version:
            some = list(islice(self._market, LOOK_EVERY))
            assert some, self._observer.summary()
            for event in some:
                self._now_ns = event.ts_recv_ns
                self._feed(event)
            self._look()

    def _look(self) -> None:
        now_ns, rules = self._now_ns, self.settings.models.rollout.rules(1e6)
        for record in self.records[self._read :]:
            self._observer.take(record)
        self._read = len(self.records)
        for told in self._observer.look(caught_up=True):
            if isinstance(told, Alarmed):  # over the control socket, in a daemon
                self._feed(e.ModelAlarmed(now_ns, now_ns, *told))
            carry_out(told, self.registry, rules, now_ns, feed="live", upto_ns=now_ns)
        self._watcher.look()

    def served(self) -> list[tuple[type, str]]:
        return [(type(one), one.model) for one in self.records if isinstance(one, e.ModelAssigned | e.ModelStanding)]

    def steps(self) -> list[audit.Line]:
        """What nobody but the rules did."""
        return [line for line in audit.lines(self.registry.root) if line.who == "rollout"]


Versions = tuple[Registry, str, str]


def made(folder: Path, **kind: Any) -> Versions:
    """A registry with a version that says down where the shipped bundle says up, and one that is that bundle."""
    registry = Registry(folder / "registry")
    return (
        registry,
        add_version(registry, folder, "bad", spoiled=True, **kind),
        add_version(registry, folder, "good", **kind),
    )


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return made(tmp_path)


@pytest.fixture
def returns(tmp_path: Path) -> Versions:
    """The same of the return that its probability stands for."""
    return made(tmp_path, returns=True)


RULES = {"automatic": True, "signals_min": 20, "span_s": 1.0, "alpha": 0.2, "profit_max_bps": 10.0, "days_min": 1}
ON_RETURNS = {"mode": "return_bps", "output": RETURN, "buy": 0.1, "sell": -0.1, "cost_multiple": 0}


def by_hand(registry: Registry, version: str, **to: Any) -> None:
    promote(registry, "demo-crypto", version.partition("@")[2], who="ann", why="", now_ns=time.time_ns(), **to)


@pytest.mark.fault("E7")
def test_a_better_challenger_goes_from_shadow_to_champion_with_no_hand_on_it(
    market_data: Path, versions: Versions
) -> None:
    goes_from_shadow_to_champion(market_data, versions)


@pytest.mark.fault("E7")
def test_a_better_challenger_that_forecasts_returns_goes_that_way_too(market_data: Path, returns: Versions) -> None:
    """By the output and the thresholds that the strategy names.  Losses of returns may differ by twice as much as those
    of probabilities, so half as sure is as soon."""
    market = goes_from_shadow_to_champion(market_data, returns, ON_RETURNS, alpha=0.4)
    assert all("nats a row" in line.why and "bps a signal after cost" in line.why for line in market.steps())


def goes_from_shadow_to_champion(
    data: Path, versions: Versions, strategy: dict[str, Any] | None = None, **changed: Any
) -> LiveMarket:
    registry, spoiled, good = versions
    by_hand(registry, spoiled)
    by_hand(registry, good, to="shadow")
    market = LiveMarket(
        registry, data, strategy, **{f"rollout__{name}": value for name, value in (RULES | changed).items()}
    )
    market.play_until(good)
    assert [(line.action, line.version, line.champion, line.share) for line in market.steps()] == [
        ("canary", good, spoiled, Decimal("0.05")), ("promote", good, good, Decimal(0)),
    ]  # fmt: skip
    assert all(line.why.startswith("promote; log_loss passed") and not line.forced for line in market.steps())
    assert market.served() == [
        (e.ModelAssigned, spoiled), (e.ModelStanding, good), (e.ModelAssigned, good), (e.ModelStanding, good),
    ]  # fmt: skip
    kinds = [(type(one), getattr(one, "model", "")) for one in market.records]
    beside = kinds[: kinds.index((e.ModelAssigned, good))]
    assert beside.count((e.Prediction, good)) > 500, "rows on which the canary spoke beside the champion, in the core"
    return market


@pytest.mark.fault("E10")
def test_a_champion_that_errs_is_stopped_and_gives_way_to_the_one_before_it_with_no_hand_on_it(
    market_data: Path, versions: Versions
) -> None:
    """Promoted by somebody who should not have; its probabilities mean nothing, which is an alarm that stops it."""
    registry, spoiled, good = versions
    by_hand(registry, good)
    by_hand(registry, spoiled)
    rules = {"rollout__automatic": True, "watch__calibration": "stop", "watch__ece_max": 0.3}
    market = LiveMarket(registry, market_data, **rules)
    market.play_until(good)
    (step,) = market.steps()
    assert (step.action, step.champion_before, step.champion) == ("rollback", spoiled, good)
    assert step.why.startswith(f"calibration on {BTC}: ")
    (alarm,) = [one for one in market.records if isinstance(one, e.ModelAlarmed) and one.action == "stop"]
    assert (alarm.model, alarm.source) == (spoiled, "calibration")
    assert market.served() == [(e.ModelAssigned, spoiled), (e.ModelStanding, spoiled), (e.ModelAssigned, good)]
    (stopped,) = [one for one in market.records if isinstance(one, e.ModelStanding)]
    assert stopped.state == "stopped"


@pytest.mark.fault("E10")
def test_a_champion_of_returns_whose_intervals_are_wrong_gives_way_as_well(market_data: Path, tmp_path: Path) -> None:
    """Of the same forecasts its bundle says that nine in ten are right to a ten-thousandth of what they are."""
    registry = Registry(tmp_path / "registry")
    good = add_version(registry, tmp_path, "good", returns=True)
    sure = add_version(registry, tmp_path, "sure", returns=True, error_max=1e-9)
    by_hand(registry, good)
    by_hand(registry, sure)
    rules = {"rollout__automatic": True, "watch__calibration": "stop", "watch__ece_max": 0.3}
    market = LiveMarket(registry, market_data, ON_RETURNS, **rules)
    market.play_until(good)
    (step,) = market.steps()
    assert (step.action, step.champion_before, step.champion) == ("rollback", sure, good)
    assert "of late came within what nine in ten did on validation rows" in step.why
