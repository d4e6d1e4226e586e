"""Windows of several instruments through one graph at once, in batches of fixed sizes with buffers of their own.

Owns what happens off the loop between a window and its answer: the copy into the bound buffers, the check of the
input, the run, the check of the output.  Nothing here knows threads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from engine.errors import BundleError
from engine.events import PredictionStatus
from engine.ports import Float32Array
from models.assets import UNKNOWN
from models.bundle import Bundle
from models.golden import run_tape
from models.providers.graph import refused
from models.serving.bound import Bound
from models.serving.guards import PROBE, Guard

SIZES = (1, 2, 4, 8)
"""Fixed shapes are what providers can capture and pin; beyond 8 windows a CPU gains little, and the first one waits."""
ONE_BY_ONE = frozenset({"int8"})
"""Dynamic quantisation takes one scale for all that goes into a layer: in a batch, what a model says of an instrument
would depend on who else is in it."""
_WARM_UP_RUNS = 5
_OK, _FAILED = PredictionStatus.OK, PredictionStatus.FAILED


# That product overflows on purpose, as in ``models.onnx_model``.
warnings.filterwarnings("ignore", r"(overflow|invalid value) encountered in dot", RuntimeWarning, __name__)


class Bindable(Protocol):
    """A model that is open (``models.onnx_model.OnnxModel``, ``models.mixture.spread.SpreadModel``)."""

    @property
    def bundle(self) -> Bundle: ...

    @property
    def version(self) -> str: ...

    def bind(self, batch: int) -> Bound:
        """The graph with buffers for so many windows."""
        ...


class Ask(NamedTuple):
    """One window ``(W, F)`` of an instrument, the times of its row, and when the model was asked (stopwatch, ns)."""

    instrument: str
    window: Float32Array
    row_event_ns: int
    row_ns: int
    asked_ns: int


class Answer(NamedTuple):
    """``values`` in the manifest's order, empty for one that failed; ``text`` says why."""

    ask: Ask
    status: PredictionStatus
    values: tuple[float, ...]
    text: str = ""


class Batches:
    """Of one model.  For one thread; the thread that makes it may be another one.

    Raises ``BundleError`` where a batch of any size misses the golden tape, or the runtime cannot run it.
    """

    def __init__(self, model: Bindable, guard: Guard) -> None:
        bundle = model.bundle
        self._guard = guard
        self._numbers = {} if bundle.assets is None else bundle.assets.by_instrument
        self.sizes = SIZES[:1] if bundle.manifest.precision in ONE_BY_ONE else SIZES
        self._probe = np.full(bundle.spec.window * len(bundle.spec.columns), PROBE, np.float32)
        self._to_warm = self.sizes
        try:
            self._bound = {size: model.bind(size) for size in self.sizes}
            single = self._bound[self.sizes[0]]
            for bound in self._bound.values():
                for _ in range(_WARM_UP_RUNS):
                    bound.run()
                _check_tape(bundle, bound, single)
        except BundleError:
            raise
        except Exception as error:  # each runtime has types of its own
            raise refused(bundle.version, "run batches of", error) from error

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """One run for ``asks``, as many as one of ``sizes``.  Never raises."""
        try:
            return self._answer(asks)
        except Exception as error:  # the runtime raises its own types
            return failed(asks, f"{type(error).__name__}: {error}")

    def warm(self) -> None:
        """One run on whatever lies in the buffers; the first time one of each size, as what was prepared in the thread
        that opened them may have to be prepared in this one (launches on a GPU).  Nobody is told what comes out."""
        sizes, self._to_warm = self._to_warm, self.sizes[:1]
        try:
            for size in sizes:
                self._bound[size].run()
        except Exception:  # the next prediction says what is wrong
            return

    def _answer(self, asks: Sequence[Ask]) -> list[Answer]:
        bound = self._bound[len(asks)]
        for number, ask in enumerate(asks):
            bound.features[number] = ask.window
            if self._numbers:
                bound.asset[number] = self._numbers.get(ask.instrument, UNKNOWN)
        marks = bound.features.reshape(bound.batch, -1).dot(self._probe).tolist()
        bound.run()
        columns = [output.reshape(bound.batch, -1).tolist() for output in bound.outputs]
        answers: list[Answer] = []
        for number, (ask, mark) in enumerate(zip(asks, marks, strict=True)):
            # The graph clips, so a bad input would come out as a plausible number.
            if not -math.inf < mark < math.inf:
                answers += failed((ask,), "a feature is not finite or beyond 1e30")
                continue
            values = tuple([value for column in columns for value in column[number]])
            defect = self._guard.defect(ask.instrument, values, mark)
            answers.append(Answer(ask, _FAILED, (), defect) if defect else Answer(ask, _OK, values))
        return answers


def _check_tape(bundle: Bundle, bound: Bound, single: Bound) -> None:
    """The last windows of the golden tape, as many as the largest batch has, next to each other in each lane.  What
    comes behind the forecasts is not on the tape for each window: it is held to what windows say one by one."""
    windows: list[Float32Array] = []

    def keep(window: Float32Array) -> tuple[float, ...]:
        windows.append(window.copy())
        return ()

    # With the machine code that has just made them for the check of single windows: under a millisecond.
    run_tape(bundle.spec, bundle.golden.instrument, bundle.golden.events, keep)
    wanted = np.array(bundle.golden.outputs).reshape(len(windows), -1)
    bound.asset[:] = UNKNOWN
    outputs_abs, width = bundle.manifest.tolerance.outputs_abs, bundle.manifest.output_width
    last = range(len(windows) - SIZES[-1], len(windows))
    for begin in last[:: bound.batch]:
        rows = [(begin + lane) % len(windows) for lane in range(bound.batch)]
        for lane, row in enumerate(rows):
            bound.features[lane] = windows[row]
        bound.run()
        said = np.concatenate([output.reshape(bound.batch, -1) for output in bound.outputs], axis=1)
        off = np.abs(said[:, :width] - wanted[rows]).max(axis=1)
        if said.shape[1] > width:
            off = np.maximum(off, np.abs(said - [_alone(single, windows[row]) for row in rows]).max(axis=1))
        if not (worst := float(off.max())) <= outputs_abs:  # NaN is none either
            raise BundleError(
                f"bundle {bundle.version}: in a batch of {bound.batch} a prediction is {worst:.2g} off the golden tape",
                expected=f"at most {outputs_abs:.2g}",
                do="set models.schedule to inline, or use another execution provider",
            )


def _alone(single: Bound, window: Float32Array) -> Float32Array:
    """All that is said of one window, in a batch of one."""
    single.features[0] = window
    single.asset[:] = UNKNOWN
    single.run()
    return np.concatenate([output.ravel() for output in single.outputs])


def failed(asks: Sequence[Ask], text: str) -> list[Answer]:
    """The same answer to all of them."""
    return [Answer(ask, _FAILED, (), text[:200]) for ask in asks]
