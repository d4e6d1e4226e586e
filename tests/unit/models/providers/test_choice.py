from __future__ import annotations

import threading

import numpy as np
import pytest

from engine.errors import BundleError
from engine.events import PredictionStatus
from models.onnx_model import OnnxModel, open_model
from models.providers.choice import choose_provider, try_provider
from models.providers.graph import NoProviderError, ProviderError
from models.providers.onnx_runtime import CpuProvider
from models.serving.batches import Ask, Batches
from models.serving.bound import BoundGraph
from tests.support.providers import FakeGpu

CPU = CpuProvider()
ANY_US = 1e9
NEVER_US = 1e-3
"""No inference is that fast."""


def opened(bundle, order, deadline_us=ANY_US):
    model = OnnxModel(bundle, deadline_us=deadline_us, providers=order)
    told = []
    model.graph.on_changed = lambda *change: told.append(change)
    return model, told


@pytest.mark.fault("E5")
@pytest.mark.parametrize(
    "text",
    [
        "CUDA failure 999: unknown error ; GPU=0 ; the driver was reset",
        "Failed to allocate memory for requested buffer of size 1048576",
        "CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_gpu_that_is_lost_while_it_serves_is_followed_by_the_cpu_within_the_same_prediction(bundle, window, text):
    """Predicts, loses the device, and predicts on: no prediction fails, one change is told, the GPU is left alone."""
    gpu = FakeGpu()
    model, told = opened(bundle, [gpu, CPU])
    wanted = OnnxModel(bundle).predict("A", window, 0, 0).values
    assert model.provider == "cuda"
    before = model.predict("A", window, 0, 0)
    gpu.fail(text)
    after = [model.predict("A", window, 0, 0) for _ in range(3)]
    assert [one.status for one in (before, *after)] == [PredictionStatus.OK] * 4
    assert {one.values for one in (before, *after)} == {wanted}
    assert told == [("cuda", "cpu", text)]
    assert (model.provider, model.failed, model.graph.losses) == ("cpu", 0, 1)
    runs = gpu.runs
    model.predict("A", window, 0, 0)
    assert gpu.runs == runs


@pytest.mark.fault("E5")
def test_without_a_cpu_that_is_fast_enough_a_lost_gpu_is_the_end_of_predictions(bundle, window):
    """The CPU misses the deadline from the start: predictions fail and say why; nothing is raised into the core."""
    gpu = FakeGpu()
    model, told = opened(bundle, [gpu, CPU], deadline_us=NEVER_US)
    assert model.provider == "cuda"
    gpu.fail("device lost")
    said = [model.predict("A", window, 0, 0) for _ in range(2)]
    assert [one.status for one in said] == [PredictionStatus.FAILED] * 2
    assert "device lost" in said[0].text
    assert "models.deadline_us is 0.001" in said[1].text
    ((before, after, text),) = told
    assert (before, after, model.provider) == ("cuda", "", "none")
    assert "device lost; cpu: takes" in text


@pytest.mark.fault("E5")
def test_a_loss_is_told_once_by_all_who_share_the_graph(bundle, window):
    """Six threads with buffers of their own meet the loss at the same moment: one is told, all get right answers."""
    gpu = FakeGpu()
    model, told = opened(bundle, [gpu, CPU])
    wanted = model.predict("A", window, 0, 0).values
    twins = [model.twin() for _ in range(6)]
    gpu.fail("device lost")
    meet = threading.Barrier(len(twins))
    said = []

    def predict(twin):
        meet.wait()
        said.append(twin.predict("A", window, 0, 0).values)

    threads = [threading.Thread(target=predict, args=(twin,)) for twin in twins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [wanted] * 6
    assert len(told) == 1


@pytest.mark.fault("E5")
def test_a_batch_on_a_lost_gpu_is_computed_by_the_cpu(bundle, window):
    """The worker's way: buffers of seven windows bound to the model's graph; and such that are bound after the loss."""
    gpu = FakeGpu()
    model, _ = opened(bundle, [gpu, CPU])
    bound = BoundGraph(model.graph, bundle, 7)
    bound.features[:] = window
    gpu.fail("device lost")
    bound.run()
    later = BoundGraph(model.graph, bundle, 7)
    later.features[:] = window
    later.run()
    single = OnnxModel(bundle).predict("A", window, 0, 0).values[0]
    np.testing.assert_allclose(bound.outputs[0], single, atol=1e-6)
    np.testing.assert_array_equal(bound.outputs[0], later.outputs[0])


def test_a_provider_that_is_missing_is_passed_over_with_its_reason(bundle, window):
    """The first is not installed, the second is: it serves, and the reason is kept."""
    order = [FakeGpu("tensorrt", missing="no TensorRT engine"), FakeGpu("cuda"), CPU]
    model, _ = opened(bundle, order)
    assert model.provider == "cuda"
    assert model.graph.passed_over == ("tensorrt: no TensorRT engine",)
    assert model.predict("A", window, 0, 0).status is PredictionStatus.OK


def test_a_gpu_without_room_at_load_is_passed_over(bundle):
    """Out of memory when its buffers are made."""
    graph = choose_provider(bundle, [FakeGpu(memory_batch=0), CPU], ANY_US)
    assert graph.provider == "cpu"
    assert "CUDA out of memory" in graph.passed_over[0]


@pytest.mark.fault("E5")
def test_a_provider_that_raises_words_of_its_own_when_it_is_opened_is_passed_over(bundle):
    """A driver that is older than its libraries: the runtime's types are no errors of ours, and the CPU serves."""
    graph = choose_provider(bundle, [FakeGpu(broken="CUDA driver version is insufficient\nat 0x7f"), CPU], ANY_US)
    assert graph.provider == "cpu"
    (why,) = graph.passed_over
    assert "driver version is insufficient" in why
    assert "0x7f" not in why
    assert "train it again" not in why


@pytest.mark.fault("E5")
def test_a_gpu_without_room_for_other_buffers_gives_way_to_the_cpu(bundle, window):
    """One window fits, two do not: whoever binds batches of the model gets the CPU's, and so do all others from then
    on; it is told also where nobody listened by then."""
    model = OnnxModel(bundle, deadline_us=ANY_US, providers=[FakeGpu(memory_batch=1), CPU])
    batches = Batches(model, model.guard)
    (answer,) = batches.answer([Ask("A", window, 1, 2, 3)])
    assert answer.values == OnnxModel(bundle).predict("A", window, 0, 0).values
    assert model.predict("A", window, 0, 0).status is PredictionStatus.OK
    told = []
    model.graph.tell(lambda *change: told.append(change))
    ((before, after, text),) = told
    assert (before, after, model.provider) == ("cuda", "cpu", "cpu")
    assert "out of memory" in text


@pytest.mark.fault("E6")
def test_a_provider_that_computes_something_else_never_serves(bundle):
    """A device that is off by ten times the tolerance misses the golden tape; one within it serves."""
    graph = choose_provider(bundle, [FakeGpu(off=1e-4), CPU], ANY_US)
    assert graph.provider == "cpu"
    assert "off the golden tape" in graph.passed_over[0]
    assert choose_provider(bundle, [FakeGpu(off=5e-6), CPU], ANY_US).provider == "cuda"


@pytest.mark.fault("E13")
def test_a_device_that_says_something_else_each_time_stays_within_what_the_bundle_tolerates(bundle, window):
    """Kernels that sum in another order at each call: the record has what was said, and what a replay computes again on
    the CPU is within the tolerance of the manifest."""
    model, _ = opened(bundle, [FakeGpu(off=5e-6), CPU])
    said = {model.predict("A", window, 0, 0).values[0] for _ in range(20)}
    again = OnnxModel(bundle).predict("A", window, 0, 0).values[0]
    assert len(said) > 1
    assert max(abs(one - again) for one in said) <= bundle.manifest.tolerance.outputs_abs


@pytest.mark.fault("E5")
def test_a_cpu_that_would_only_be_late_does_not_stand_in_at_load(bundle, window):
    """GPU missing and CPU over the deadline: the model is absent, says so at each row, and its twin as well."""
    order = [FakeGpu(missing="no GPU: nvidia-smi is not installed"), CPU]
    with pytest.raises(NoProviderError, match=r"no GPU.*models\.deadline_us is 0\.001"):
        choose_provider(bundle, order, NEVER_US)
    model = open_model(bundle, deadline_us=NEVER_US, stopwatch=lambda: 0, providers=order, same_max=0)
    for one in (model, model.twin()):
        said = one.predict("A", window, 1, 2)
        assert (said.status, said.values, said.model) == (PredictionStatus.FAILED, (), bundle.version)
        assert "no provider may serve it" in said.text
        assert one.provider == "none"
    assert (model.count, model.failed) == (1, 1)


def test_the_cpu_alone_serves_whatever_it_takes(bundle):
    """Nothing failed before it: late predictions are told one by one, as ever."""
    assert choose_provider(bundle, [CPU], NEVER_US).provider == "cpu"


def test_what_the_cpu_refuses_is_wrong_with_the_bundle(crypto_bundle, replace_file):
    """A damaged graph is no reason to start without a model."""
    from models.bundle import load_bundle

    replace_file(crypto_bundle, "model.onnx", b"\x00\x01 no graph")
    with pytest.raises(BundleError, match="cannot load its graph") as caught:
        choose_provider(load_bundle(crypto_bundle), [FakeGpu(missing="no GPU"), CPU], ANY_US)
    assert not isinstance(caught.value, NoProviderError)


def test_an_empty_order_is_refused(bundle):
    """Nothing to try."""
    with pytest.raises(ProviderError, match="empty"):
        choose_provider(bundle, [])


def test_what_an_inference_costs_is_measured(bundle):
    """The median is of the real graph: more than nothing, and less than a second."""
    assert 0 < try_provider(bundle, CPU).cost_us < 1e6
