"""The spread of a forecast, served with it."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import BundleError
from engine.events import PredictionStatus
from models.bundle import load_bundle
from models.life import checking
from models.life.checking import Task, examine
from models.mixture.spread import SpreadModel, spread_facts, spread_graph
from models.onnx_model import OnnxModel
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

    def slow(self, instrument, window):
        until_ns = time.process_time_ns() + 2_000_000
        while time.process_time_ns() < until_ns:
            pass
        return [0.0]

    monkeypatch.setattr(SpreadModel, "_spreads", slow)
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

    class Broken:
        def run(self, names, feeds):
            return [np.array([np.nan], np.float32)]

    broken = SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0, session=Broken())
    said = broken.predict(name, windows[0], 1, 2)
    assert (said.status, said.text, broken.failed) == (FAILED, "the spread is not finite or below 0", 1)


def test_what_a_spread_takes_in_the_loop_is_told(averaged) -> None:
    """There is a worker, and a model with its spread is not for it; measuring counts nothing."""
    bundle, *_ = averaged
    opening = Opening(deadline_us=1e6)
    model = SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
    opening.note_spread(bundle.version, model.run_once)
    assert opening.schedules == {}
    opening.use(Worker())
    opening.note_spread(bundle.version, model.run_once)
    schedule = opening.schedules[bundle.version]
    assert not schedule.on_worker
    assert schedule.time_us > 0
    assert schedule.text.endswith("us with its spread (models.uncertainty), which is computed in the loop")
    assert (model.model.count, model.failed) == (0, 0)


def test_a_bundle_without_such_a_graph_has_no_spread(artifacts: Path) -> None:
    """The shipped ones are of schema 1."""
    bundle = load_bundle(artifacts / "demo-crypto")
    assert spread_graph(bundle) is None
    assert spread_facts(bundle) == ()
    with pytest.raises(ValueError, match="has no graph of spreads"):
        SpreadModel(OnnxModel(bundle), deadline_us=None, stopwatch=lambda: 0)
