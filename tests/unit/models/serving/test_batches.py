from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engine.errors import BundleError
from models.bundle import Bundle
from models.onnx_model import OnnxModel
from models.serving.batches import SIZES, Ask, Batches
from models.serving.guards import OutputGuard


class Bent:
    """The demo model, with one lane of one size bent after each run: a provider that computes batches wrongly."""

    def __init__(self, bundle, size, bend):
        self._model = OnnxModel(bundle)
        self.bundle = bundle
        self.version = bundle.version
        self._size = size
        self._bend = bend

    def bind(self, batch):
        bound = self._model.bind(batch)
        if batch == self._size:
            run = bound.run
            bound.run = lambda: (run(), self._bend(bound))
        return bound


def open_batches(model):
    return Batches(model, OutputGuard(model.bundle.manifest))


@pytest.mark.fault("E6")
@pytest.mark.parametrize("size", SIZES)
def test_each_lane_of_each_size_is_held_to_the_golden_tape(bundle, size):
    """A lane that is off by a little more than is tolerated, and the same lane off by less."""
    tolerance = bundle.manifest.tolerance.outputs_abs
    for lane in range(size):
        for off in (1.5 * tolerance, np.nan):

            def bend(bound, lane=lane, off=off):
                bound.outputs[0][lane] += off

            with pytest.raises(BundleError, match=f"in a batch of {size} a prediction is .* off the golden tape"):
                open_batches(Bent(bundle, size, bend))
    open_batches(Bent(bundle, size, lambda bound: np.add(bound.outputs[0], 0.5 * tolerance, out=bound.outputs[0])))


@pytest.mark.parametrize("size", SIZES[1:])
def test_lanes_that_are_exchanged_are_found(bundle, size):
    """Right numbers in the wrong order would be another instrument's prediction."""

    def exchange(bound):
        bound.outputs[0][:] = bound.outputs[0][::-1].copy()

    with pytest.raises(BundleError, match=f"in a batch of {size}"):
        open_batches(Bent(bundle, size, exchange))


def test_what_the_runtime_raises_of_a_batch_is_an_error_of_the_bundle_in_one_line(bundle):
    """No memory for eight windows, say."""

    def fail(bound):
        raise RuntimeError(f"no memory for {bound.batch}\nat 0x7f")

    with pytest.raises(BundleError, match="cannot run batches of its graph: no memory for 8") as caught:
        open_batches(Bent(bundle, 8, fail))
    assert "\n" not in str(caught.value)


def test_a_graph_that_takes_one_scale_for_a_batch_is_run_one_by_one(bundle, windows):
    """An int8 bundle: batches of one are all that there is, so nobody's answer depends on who waits beside it."""
    manifest = msgspec.structs.replace(bundle.manifest, precision="int8")
    assert open_batches(OnnxModel(bundle)).sizes == SIZES
    whole = object.__new__(Bundle)
    whole.__dict__.update(bundle.__dict__, manifest=manifest)
    batches = open_batches(OnnxModel(whole))
    assert batches.sizes == (1,)
    (answer,) = batches.answer([Ask("A", windows[0], 1, 1, 1)])
    assert answer.values == OnnxModel(bundle).predict("A", windows[0], 1, 1).values


def test_the_first_run_for_nothing_is_one_of_each_size(bundle):
    """The thread that answers is another one than that which opened them; later on one window is enough."""
    batches, ran = open_batches(OnnxModel(bundle)), []
    for size, bound in batches._bound.items():
        bound.run = lambda size=size: ran.append(size)
    for _ in range(3):
        batches.warm()
    assert ran == [*SIZES, 1, 1]
