from __future__ import annotations

import pytest

from engine.errors import BundleError
from models.bundle import load_bundle
from models.onnx_model import OnnxModel
from models.providers.onnx_runtime import CpuProvider
from models.serving import opening as served
from models.serving.off_loop import OffLoopModel
from models.serving.opening import Opening
from models.serving.step import StepModel
from models.serving.worker import Worker
from tests.support.providers import FakeGpu
from tests.unit.models.serving.gru import write_gru_bundle


def an_opening(**wanted):
    return Opening(deadline_us=1_000_000, **wanted)


@pytest.mark.parametrize(("time_us", "kind"), [(49.0, OnnxModel), (51.0, OffLoopModel)])
def test_a_slow_model_goes_on_the_worker_and_a_short_one_does_not(bundle, monkeypatch, time_us, kind):
    """The demo CNN on machines on which it takes 49 and 51 us; why is told once."""
    monkeypatch.setattr(served, "measure_us", lambda _run: time_us)
    monkeypatch.setattr(served, "usable_cores", lambda: 2)
    told = []
    opening = an_opening()
    opening.use(Worker())
    model = opening.place(opening.open(bundle))
    opening.tell_schedules(lambda version, schedule: told.append((version, schedule.text)))
    assert type(model) is kind
    assert model.version == bundle.version
    ((version, text),) = told
    assert version == bundle.version
    assert f" on cpu: takes {time_us:.0f} us" in text
    assert opening.schedules[version].time_us == time_us


def test_without_a_worker_a_model_runs_in_the_loop_whatever_the_settings_say(bundle):
    """A session that plays files, or is run again."""
    opening = an_opening(schedule="worker")
    assert type(opening.place(opening.open(bundle))) is OnnxModel
    assert opening.schedules == {}


def test_measuring_and_warming_up_leave_no_trace(bundle, windows):
    """Opened, measured, warmed up: nothing is counted, and the first answer is that of a model that did none of it."""
    opening = an_opening(schedule="inline")
    opening.use(Worker())
    model = opening.place(opening.open(bundle))
    assert (model.count, model.late, model.failed) == (0, 0, 0)
    assert model.predict("A", windows[0], 1, 2) == OnnxModel(bundle).predict("A", windows[0], 1, 2)
    worker = Worker()
    opening.use(worker)
    an_opening(schedule="worker").place(model)
    assert set(worker.counts.values()) == {0}


def test_a_bundle_that_is_named_is_served_by_steps(tmp_path, bundle):
    """``models.by_step`` names the GRU; another bundle goes its usual way, and one without steps is refused."""
    gru = load_bundle(write_gru_bundle(tmp_path / "gru"))
    opening = an_opening(by_step=["demo-crypto"])
    assert type(opening.open(gru)) is StepModel
    assert opening.schedules[gru.version].text == "inline: served by steps (models.by_step)"
    opening.use(Worker())
    opening.open(gru)
    assert "by steps (models.by_step); takes " in opening.schedules[gru.version].text
    assert (opening.schedules[gru.version].time_us or 0.0) > 0.5, "a run of the graph, told where it is too slow"
    assert type(an_opening(by_step=["another"]).open(gru)) is OnnxModel
    with pytest.raises(BundleError, match="no graph of single steps"):
        opening.open(bundle)


@pytest.mark.fault("E5")
def test_a_provider_that_is_passed_over_or_lost_is_told_with_its_version(bundle, windows):
    """One is missing at load, the next is lost while it serves: what was before anybody listened is told then."""
    gpu = FakeGpu("cuda")
    opening = an_opening(providers=(FakeGpu("tensorrt", missing="no TensorRT engine"), gpu, CpuProvider()))
    model = opening.open(bundle)
    told = []
    opening.tell_providers(lambda *change: told.append(change))
    assert told == [(bundle.version, "tensorrt", "cuda", "tensorrt: no TensorRT engine")]
    gpu.fail("the GPU fell off the bus")
    model.predict("A", windows[0], 1, 2)
    assert told[1:] == [(bundle.version, "cuda", "cpu", "the GPU fell off the bus")]


@pytest.mark.fault("E5")
def test_a_gpu_that_has_no_room_for_batches_is_told_and_the_session_begins_on_the_cpu(bundle, monkeypatch):
    """A model for the worker whose single window fits and whose batches do not: passed over, then lost."""
    monkeypatch.setattr(served, "measure_us", lambda _run: 51.0)
    monkeypatch.setattr(served, "usable_cores", lambda: 2)
    opening = an_opening(providers=(FakeGpu("tensorrt", missing="no engine"), FakeGpu(memory_batch=1), CpuProvider()))
    opening.use(Worker())
    told = []
    opening.tell_providers(lambda *change: told.append(change[1:3]))
    assert type(opening.place(opening.open(bundle))) is OffLoopModel
    assert told == [("tensorrt", "cuda"), ("cuda", "cpu")]


def test_a_model_that_nobody_may_serve_is_told(bundle):
    """No provider, and a CPU that is over the deadline."""
    opening = Opening(deadline_us=1e-3, providers=(FakeGpu(missing="no GPU"), CpuProvider()))
    told = []
    opening.tell_providers(lambda *change: told.append(change))
    opening.open(bundle)
    ((version, before, after, text),) = told
    assert (version, before, after) == (bundle.version, "cuda", "")
    assert "no GPU" in text
