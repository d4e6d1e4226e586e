"""The spread of a forecast, served with it."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from config.assembly import ConfiguredAssembly
from config.load import load
from engine.errors import BundleError
from engine.events import PredictionStatus
from engine.instruments import AssetClass
from models.bundle import load_bundle
from models.life import checking
from models.life.checking import Task, examine
from models.mixture.spread import BoundSpread, SpreadModel, spread_facts, spread_graph
from models.onnx_model import OnnxModel
from models.serving import opening as served
from models.serving.batches import Ask, Batches
from models.serving.off_loop import OffLoopModel, WarmModel
from models.serving.opening import Opening
from models.serving.worker import Worker
from tests.support.training import tiny_dataset, tiny_settings, write_quotes, write_settings

OK, LATE, FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory):
    """A bundle of two seeds that tells instruments apart, windows of its rows, and the torch networks' own answers."""
    torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
    pytest.importorskip("onnxscript", reason="the trainer is not installed")
    from models.trainer.fit import forecasts
    from models.trainer.run import fit_normaliser_of, load_fitted, run_training
    from models.trainer.run_bundle import bundle_run
    from models.trainer.settings import load_settings

    del torch
    folder = write_quotes(tmp_path_factory.mktemp("quotes"))
    changes = {"network": {"name": "mlp", "sizes": [8]}, "assets": {}}
    plain = tiny_settings(**changes)
    plain["fit"]["seeds"] = [1, 2]
    settings, _ = load_settings(write_settings(folder, plain))
    run = run_training(settings, folder=folder / "runs" / "two", data=folder, commit="c" * 40).folder
    bundle = bundle_run(run, data=folder, seeds="all")
    rows = tiny_dataset(folder, **changes)
    part = rows.validation.every(20)
    normaliser = fit_normaliser_of(settings, rows)
    each = [forecasts(load_fitted(run, settings, rows, normaliser, seed), rows, part)[0][:, 1] for seed in (1, 2)]
    return bundle, rows.instruments[0].id, rows.windows(part.position), np.stack(each)


def test_the_deviation_of_the_seeds_comes_behind_the_forecast(averaged) -> None:
    """What torch's networks say of validation rows, and the fact that says where it is."""
    bundle, name, windows, each = averaged
    model = SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
    said = [model.predict(name, window, 1, 2) for window in windows]
    assert {one.status for one in said} == {OK}
    np.testing.assert_allclose([one.values[0] for one in said], each.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose([one.values[1] for one in said], each.std(axis=0), atol=1e-5)
    assert np.ptp(each.std(axis=0)) > 1e-5
    assert spread_facts(bundle) == (("spread.p_up", 1.0),)
    assert model.version == bundle.version


@pytest.mark.fault("E6")
def test_a_graph_of_spreads_that_computes_something_else_here_is_not_opened(averaged) -> None:
    """The tape holds what torch said of the golden window."""
    bundle, *_ = averaged
    (kept,) = bundle.golden.spreads
    assert kept > 0
    other = copy.copy(bundle)
    other.golden = msgspec.structs.replace(bundle.golden, spreads=(kept + 1e-3,))
    with pytest.raises(BundleError, match=r"explain\.onnx tells a deviation that is 0\.001 off the golden tape"):
        SpreadModel(OnnxModel(other), deadline_us=None, stopwatch=lambda: 0)


def test_both_graphs_are_checked_before_a_session_opens_them(averaged, monkeypatch) -> None:
    """In the process that checks: a graph of spreads that is slow, or off, is found there."""
    bundle, *_ = averaged
    monkeypatch.setattr(checking, "_PAUSE_S", 0.0)
    task = Task(str(bundle.path), bundle.version, 1e6, spread=True)
    assert examine(task).problem == ""
    model, _ = checking._opened(task, bundle)
    assert isinstance(model, SpreadModel)

    def slowed(real):
        def run(self, *given):
            until_ns = time.process_time_ns() + 2_000_000
            while time.process_time_ns() < until_ns:
                pass
            return real(self, *given)

        return run

    monkeypatch.setattr(BoundSpread, "run", slowed(BoundSpread.run))
    monkeypatch.setattr(SpreadModel, "_spreads", slowed(SpreadModel._spreads))
    monkeypatch.setattr(checking, "_TIMED_RUNS", 3)
    assert "models.deadline_us (1500)" in examine(msgspec.structs.replace(task, deadline_us=1500.0)).problem
    assert examine(msgspec.structs.replace(task, deadline_us=1500.0, spread=False)).problem == ""


def test_both_graphs_have_one_deadline_and_a_failure_is_one(averaged) -> None:
    """Time that passes between; a window that is no number."""
    bundle, name, windows, _ = averaged
    times = iter(range(0, 10**12, 600_000))
    late = SpreadModel(OnnxModel(bundle, stopwatch=lambda: 0), deadline_us=500.0, stopwatch=lambda: next(times))
    assert (late.predict(name, windows[0], 1, 2).status, late.late) == (LATE, 1)
    model = SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
    assert model.predict(name, np.full_like(windows[0], np.nan), 1, 2).status is FAILED


@pytest.mark.fault("E1")
@pytest.mark.parametrize(
    ("spread", "said"), [(np.nan, "not finite"), (np.inf, "not finite"), (-1e-6, "below 0"), (0.6, "over a half")]
)
def test_a_spread_that_is_none_is_a_failed_prediction_in_the_loop_and_in_a_batch(averaged, spread, said) -> None:
    """The graph of spreads bent after each run."""
    bundle, name, windows, _ = averaged
    model = SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
    batches = Batches(model, model.guard)
    for bound in (model._bound, batches._bound[1]):
        run = bound.run_spread
        bound.run_spread = lambda bound=bound, run=run: (run(), bound.spreads[0].fill(spread))
    found = model.predict(name, windows[0], 1, 2)
    assert (found.status, model.failed) == (FAILED, 1)
    (answer,) = batches.answer([Ask(name, windows[0], 1, 2, 0)])
    assert answer.status is FAILED
    assert said in found.text
    assert answer.text == found.text


def test_a_model_with_its_spread_goes_on_the_worker_where_both_take_long(averaged, monkeypatch) -> None:
    """Measured is what both take; in batches the answers are those of the loop."""
    bundle, name, windows, _ = averaged
    monkeypatch.setattr(served, "usable_cores", lambda: 2)
    monkeypatch.setattr(served, "measure_us", lambda run: (run(), 51.0)[1])
    opening = Opening(deadline_us=1e6)
    opening.use(Worker())
    model = SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
    placed = opening.place(model)
    assert isinstance(placed, OffLoopModel)
    assert opening.schedules[bundle.version].on_worker
    assert (model.model.count, model.failed) == (0, 0)
    asks = [Ask(each, window, 1, 2, 0) for each, window in zip((name, "X/Y@test") * 4, windows, strict=False)]
    assert len(asks) == 8
    for ask, answer in zip(asks, placed._runner.batches.answer(asks), strict=True):
        alone = model.predict(ask.instrument, ask.window, 1, 2)
        assert answer.status is OK
        np.testing.assert_allclose(answer.values, alone.values, atol=1e-6)


@pytest.mark.fault("E6")
@pytest.mark.parametrize("size", [2, 8])
def test_spreads_of_each_lane_are_held_to_those_one_by_one(averaged, monkeypatch, size) -> None:
    """Lanes of the second graph that are exchanged would be another instrument's spread."""
    bundle, *_ = averaged
    model = SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
    bind = SpreadModel.bind

    def bent(self, batch):
        bound = bind(self, batch)
        if batch == size:
            run = bound.run_spread
            off = 2 * bundle.manifest.tolerance.outputs_abs
            bound.run_spread = lambda: (run(), np.add(bound.spreads[0][-1:], off, out=bound.spreads[0][-1:]))
        return bound

    monkeypatch.setattr(SpreadModel, "bind", bent)
    with pytest.raises(BundleError, match=f"in a batch of {size} a prediction is"):
        Batches(model, model.guard)


@pytest.mark.parametrize("schedule", ["worker", "inline"])
def test_a_session_serves_a_spread_where_its_schedule_says_and_the_shadow_with_it(averaged, schedule) -> None:
    """The record tells where answers come from, and where the deviation is."""
    bundle, name, *_ = averaged
    settings = load(
        env={},
        overrides={
            "models.directory": bundle.path.parent,
            "models.registry": bundle.path.parent / "none",
            "models.uncertainty": True,
            "models.schedule": schedule,
            "models.deadline_us": 1_000_000,
        },
    )
    assembly = ConfiguredAssembly(settings, time.perf_counter_ns)
    assembly.use(Worker())
    instrument = msgspec.structs.replace(bundle.golden.instrument, id=name, asset_class=AssetClass.FX, venue="oanda")
    assigned = assembly.assign(instrument, True)
    assert dict(assigned.facts)["spread.p_up"] == 1.0
    assert (("asynchronous", 1.0) in assigned.facts) is (schedule == "worker")
    model, twin = (one.model(instrument, assigned) for one in (assembly, assembly.twin()))
    kinds = (OffLoopModel, WarmModel) if schedule == "worker" else (SpreadModel, SpreadModel)
    assert (type(model), type(twin)) == kinds


def test_a_bundle_without_such_a_graph_has_no_spread(artifacts: Path) -> None:
    """The shipped ones are of schema 1."""
    bundle = load_bundle(artifacts / "demo-crypto")
    assert spread_graph(bundle) is None
    assert spread_facts(bundle) == ()
    with pytest.raises(ValueError, match="has no graph of spreads"):
        SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
