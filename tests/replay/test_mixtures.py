"""A session on a mixture with gates: what its members said is on record, and it replays, also computed anew."""

from __future__ import annotations

import json
import shutil
import time
from itertools import islice
from pathlib import Path

import pytest

from config.assembly import ConfiguredAssembly
from config.load import load
from config.observing import build_observer
from config.schema import Settings
from config.wiring import build_core, resolve
from engine import events as e
from engine.commands import NewOrder
from engine.core import TradingCore
from engine.data.parquet import describe_files, read_events
from engine.events import ModelAssigned, Prediction
from models.bundle import load_bundle
from models.mixture.learned import LearnedWeights, write_weights
from models.observer.told import Weighed
from models.registry.store import Registry
from tests.replay.test_sessions import USDM_BTC, head_of, records
from tests.support.daemon import ROOT, paper_session, replay_session
from tests.support.versions import RETURN, add_version
from tests.support.watched import Recorded


def test_a_mixture_trades_behind_its_gates_and_replays_identically(market_data: Path, tmp_path: Path) -> None:
    """Two bundles, learned weights with conformal quantiles, both gates: every prediction holds the members' numbers
    and shares, and entries are beyond the learned thresholds."""
    for name in ("first", "second"):
        place = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "bundles" / name))
        manifest = json.loads((place / "manifest.json").read_bytes())
        (place / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    versions = [load_bundle(tmp_path / "bundles" / name).version for name in ("first", "second")]
    learned = LearnedWeights(
        dict(zip(versions, (0.75, 0.25), strict=True)), 1_000, {}, {"0.8": 0.4, "0.9": 0.55}, (0.45, 0.55)
    )
    write_weights(tmp_path / "weights.json", learned)
    files = [
        head_of(market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet", rows, tmp_path)
        for kind, rows in (("quotes", 4_000), ("trades", 1_500))
    ]
    mixture = {"name": "both", "members": ["first", "second"], "weights_file": str(tmp_path / "weights.json")}
    params = {"cost_multiple": 0, "gates": ["conformal", "spread"], "spread_max": 0.01}
    strategy = {"name": "s", "kind": "threshold", "model": "both", "params": params}
    wanted = {
        "models.directory": str(tmp_path / "bundles"),
        "models.deadline_us": 60_000_000,
        "mixtures": json.dumps([mixture]),
        "strategies": json.dumps([strategy]),
    }
    summary = paper_session(
        tmp_path, files, *(word for key, value in wanted.items() for word in ("--set", f"{key}={value}"))
    )
    written = [one.record for one in records(tmp_path, summary["session"])]
    (assigned,) = {one.model: one for one in written if isinstance(one, ModelAssigned)}.values()
    facts = dict(assigned.facts)
    assert [facts[f"member.{version}"] for version in versions] == [2.0, 3.0]
    said = [one for one in written if isinstance(one, Prediction)]
    assert len(said) == summary["predictions"] > 100
    for one in said:
        mean, spread, first, second, *shares = one.values
        assert (one.model, tuple(shares)) == (assigned.model, (0.75, 0.25))
        assert (mean, spread) == pytest.approx((first, 0.0), abs=1e-6)
        assert first == second
    entries = [one.intent for one in written if isinstance(one, NewOrder) and one.intent.model]
    assert entries
    for one in entries:
        value = float(one.reason.split()[1])
        assert value > 0.55 if one.reason.startswith("long") else value < 0.45
    for again in ((), ("--recompute",)):
        status, result = replay_session(tmp_path, summary["session"], *again)
        assert (status, result["identical"]) == (0, True)


def core_of(settings: Settings, instruments: list[str]) -> tuple[TradingCore, Recorded]:
    recorder = Recorded()
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns)
    return build_core(settings, instruments, recorder=recorder, assembly=assembly, id_prefix="t"), recorder


def test_weights_of_returns_follow_the_better_member_and_replay_identically(market_data: Path, tmp_path: Path) -> None:
    """What the shipped bundle says as a return, and its contrary: declared alike, the contrary soon counts for little,
    and a session that is run again has the same weights at the same predictions."""
    registry = Registry(tmp_path / "registry")
    members = [add_version(registry, tmp_path, name, returns=True, spoiled=name == "bad") for name in ("bad", "good")]
    files = [market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet" for kind in ("quotes", "trades")]
    known = {info.instrument.id: info.instrument for info in describe_files(files)}
    params = {"mode": "return_bps", "output": RETURN, "buy": 0.05, "sell": -0.05, "cost_multiple": 0}
    given = {
        "venue.feed": "replay",
        "models.registry": str(registry.root),
        "models.deadline_us": 60_000_000,
        "mixtures": [{"name": "both", "members": members, "weighing": "recent"}],
        "strategies": [{"name": "s", "kind": "threshold", "model": "both", "params": params}],
    }
    settings = resolve(load((), overrides=given), list(known))
    core, recorder = core_of(settings, list(known))
    observer, inputs, read = build_observer(settings, None), list[e.InputEvent](), 0

    def feed(event: e.InputEvent) -> None:
        inputs.append(event)
        recorder.records.append(event)
        core.on_event(event)

    market = islice(read_events(files, known), 4_000)
    first = next(market)
    for instrument in known.values():
        feed(e.InstrumentDefined(first.ts_recv_ns, first.ts_recv_ns, instrument))
    feed(e.FeedUp(first.ts_recv_ns, first.ts_recv_ns, "binance_usdm", "market"))
    for number, event in enumerate((first, *market)):
        feed(event)
        if number % 500:
            continue
        for record in recorder.records[read:]:
            observer.take(record)
        read = len(recorder.records)
        for told in observer.look():
            if isinstance(told, Weighed):  # over the control socket, in a daemon
                now_ns = event.ts_recv_ns
                feed(e.ModelWeighed(now_ns, now_ns, told.instrument, told.model, told.weights, told.reason))
    said = [one for one in recorder.records if isinstance(one, Prediction) and one.values]
    assert said[0].values[-2:] == (0.5, 0.5)
    assert said[-1].values[-1] > 0.9
    bad, good = said[-1].values[2:4]
    assert bad == pytest.approx(-good)
    assert said[-1].values[0] * good > 0.0, "the forecast is on the better one's side"
    assert any(isinstance(one, e.ModelWeighed) for one in inputs)

    again, repeated = core_of(settings, list(known))
    for event in inputs:
        repeated.records.append(event)
        again.on_event(event)
    assert repeated.records == recorder.records


def test_returns_are_combined_with_the_weights_of_a_file(market_data: Path, tmp_path: Path) -> None:
    """As ``models weigh`` writes it for returns: what the shipped bundle says as a return and its contrary come to half
    of the first, and the intervals of the file are the ones that strategies are told of."""
    registry = Registry(tmp_path / "registry")
    members = [add_version(registry, tmp_path, name, returns=True, spoiled=name == "bad") for name in ("bad", "good")]
    lost = {"equal": 2e-8, "learned": 1e-8}
    write_weights(
        tmp_path / "weights.json",
        LearnedWeights(
            dict(zip(members, (0.25, 0.75), strict=True)), 1_000, conformal={"0.8": 2e-4, "0.9": 3e-4}, mse=lost
        ),
    )
    files = [
        head_of(market_data / "ticks" / f"{USDM_BTC}_{kind}.parquet", rows, tmp_path)
        for kind, rows in (("quotes", 2_000), ("trades", 750))
    ]
    known = {info.instrument.id: info.instrument for info in describe_files(files)}
    params = {"mode": "return_bps", "output": RETURN, "buy": 0.05, "sell": -0.05, "gates": ["conformal"]}
    given = {
        "venue.feed": "replay",
        "models.registry": str(registry.root),
        "models.deadline_us": 60_000_000,
        "mixtures": [{"name": "both", "members": members, "weights_file": str(tmp_path / "weights.json")}],
        "strategies": [{"name": "s", "kind": "threshold", "model": "both", "params": params}],
    }
    core, recorder = core_of(resolve(load((), overrides=given), list(known)), list(known))
    for number, event in enumerate(read_events(files, known)):
        if not number:
            for instrument in known.values():
                core.on_event(e.InstrumentDefined(event.ts_recv_ns, event.ts_recv_ns, instrument))
            core.on_event(e.FeedUp(event.ts_recv_ns, event.ts_recv_ns, "binance_usdm", "market"))
        core.on_event(event)
    said = [one.values for one in recorder.records if isinstance(one, Prediction) and one.values]
    assert len(said) > 100
    for mean, _, bad, good, *shares in said:
        assert tuple(shares) == (0.25, 0.75)
        assert (mean, bad) == pytest.approx((0.5 * good, -good), rel=1e-3, abs=1e-8)
    (facts,) = (dict(one.facts) for one in recorder.records if isinstance(one, ModelAssigned))
    assert (facts["conformal_0.1"], facts["conformal_0.2"]) == (3e-4, 2e-4)
