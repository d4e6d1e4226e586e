"""A recurrent model served row by row: the state of each instrument is kept here, and each new row moves it on.

Implements ``engine.ports.Model``, in the loop's thread.  One row through a GRU costs a fraction of a window.  From a
state of zeros the rows of a window give what the window gives, which is checked at the opening; carried on beyond that
it is another function than the one that was tested, so a manifest has to allow it (``Step.carried``): where the export
has found that it loses nothing on long runs of validation rows (``models.trainer.carrying``).

The state is made anew from the whole window after ``reset`` (a gap, a session's opening, a swap), and wherever the rows
since the last ask are not in the window.  Rows that nobody asked about are made up for: they are in the window.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import BundleError
from engine.events import Prediction, PredictionStatus
from engine.ports import Float32Array
from models.assets import UNKNOWN
from models.bundle import Bundle
from models.golden import check_tape
from models.manifest import ASSET, FEATURES
from models.manifest_sections import SideGraph
from models.providers.graph import OpenedGraph, Source, first_line
from models.providers.onnx_runtime import CpuProvider
from models.serving.guards import PROBE, SAME_MAX, OutputGuard

_WARM_UP_RUNS = 50
_OK, _LATE, _FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED
Array = npt.NDArray[Any]


# That product overflows on purpose, as in ``models.onnx_model``.
warnings.filterwarnings("ignore", r"(overflow|invalid value) encountered in dot", RuntimeWarning, __name__)


class _State:
    """Of one instrument: the states behind its newest row, the bytes of that row, and what was said of it."""

    __slots__ = ("arrays", "row", "values")

    def __init__(self, arrays: list[Array]) -> None:
        self.arrays = arrays
        self.row = b""
        self.values: tuple[float, ...] = ()


class StepModel:
    """One bundle on any number of instruments.  Parameters are those of ``models.onnx_model.OnnxModel``.

    Raises ``BundleError`` when the bundle has no graph of single steps, does not allow it to be carried on, or when the
    steps give something else than the golden tape says of its windows.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        deadline_us: float | None = None,
        stopwatch: Callable[[], int] = time.perf_counter_ns,
        same_max: int = SAME_MAX,
    ) -> None:
        graph = step_graph(bundle)
        content = bundle.side_graphs[graph.file]
        source = Source(bundle.version, content, graph.inputs, graph.outputs, bundle.manifest.precision)
        self._bind(bundle, graph, CpuProvider().open(source), deadline_us, stopwatch, same_max)
        manifest = bundle.manifest
        check_tape(
            self._version,
            bundle.spec,
            bundle.golden,
            self._from_zeros,
            features_rel=manifest.tolerance.features_rel,
            outputs_abs=manifest.tolerance.outputs_abs,
        )
        for _ in range(_WARM_UP_RUNS):
            self._run()

    def _bind(
        self,
        bundle: Bundle,
        graph: SideGraph,
        opened: OpenedGraph,
        deadline_us: float | None,
        stopwatch: Callable[[], int],
        same_max: int,
    ) -> None:
        self.bundle = bundle
        self.count = self.late = self.failed = 0
        self._graph = graph
        self._opened = opened
        self._same_max = same_max
        self._version = bundle.version
        self._stopwatch = stopwatch
        self._deadline_ns = math.inf if deadline_us is None else deadline_us * 1000
        self._numbers = {} if bundle.assets is None else bundle.assets.by_instrument
        self._probe = np.full(bundle.spec.window * len(bundle.spec.columns), PROBE, np.float32)
        self._guard = OutputGuard(bundle.manifest, same_max=same_max)
        self._states: dict[str, _State] = {}
        given = {tensor.name: _zeros(tensor.shape, tensor.dtype) for tensor in graph.inputs}
        made = {tensor.name: _zeros(tensor.shape, tensor.dtype) for tensor in graph.outputs}
        self._row = given[FEATURES][0, 0]
        self._asset = given.get(ASSET, np.zeros(1, np.int64))
        names = [name for name in given if name not in (FEATURES, ASSET)]
        self._before = [given[name] for name in names]
        self._after = [made[f"{name}_next"] for name in names]
        self._outputs = [made[tensor.name] for tensor in bundle.manifest.outputs]
        self._run = opened.bind(list(given.values()), list(made.values()))

    def twin(self) -> StepModel:
        """The same weights in the same memory, with states of its own: what a shadow runs on."""
        twin = StepModel.__new__(StepModel)
        twin._bind(self.bundle, self._graph, self._opened, None, self._stopwatch, self._same_max)
        return twin

    @property
    def version(self) -> str:
        return self._version

    @property
    def provider(self) -> str:
        return self._opened.provider

    def reset(self, instrument: str, reason: str) -> None:  # noqa: ARG002
        """What was carried is of no use any more; the next window begins anew."""
        self._states.pop(instrument, None)

    def run_once(self) -> None:
        """A row on whatever lies in the buffers, for who measures what it takes.  Nothing is counted or carried."""
        self._run()

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:
        """One step for each new row of ``window`` (W, F).  Never raises: trouble is a prediction marked failed."""
        self.count += 1
        started_ns = self._stopwatch()
        try:
            mark = float(window.reshape(-1).dot(self._probe))
            if not -math.inf < mark < math.inf:
                return self._fail(instrument, ts_event_ns, ts_recv_ns, "a feature is not finite or beyond 1e30")
            values = self._advance(instrument, window)
            defect = self._guard.defect(instrument, values, mark)
        except Exception as error:  # the port promises that nothing is raised into the core
            return self._fail(instrument, ts_event_ns, ts_recv_ns, f"{type(error).__name__}: {error}"[:200])
        if defect:
            return self._fail(instrument, ts_event_ns, ts_recv_ns, defect)
        status = _OK
        if self._stopwatch() - started_ns > self._deadline_ns:
            self.late += 1
            status = _LATE
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self._version, status, values)

    def _fail(self, instrument: str, ts_event_ns: int, ts_recv_ns: int, text: str) -> Prediction:
        """A state that may hold what failed is not carried on."""
        self.failed += 1
        self._states.pop(instrument, None)
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self._version, _FAILED, (), text)

    def _advance(self, instrument: str, window: Float32Array) -> tuple[float, ...]:
        state = self._states.get(instrument)
        first = 0 if state is None else _first_new(window, state.row)
        if state is None or first == 0:
            state = self._states[instrument] = _State([np.zeros_like(array) for array in self._before])
        self._asset[0] = self._numbers.get(instrument, UNKNOWN)
        for row in window[first:]:
            self._step(state, row)
        if first < len(window):
            state.values = self._read()
        state.row = window[-1].tobytes()
        return state.values

    def _step(self, state: _State, row: npt.NDArray[np.float32]) -> None:
        self._row[:] = row
        for bound, carried in zip(self._before, state.arrays, strict=True):
            bound[:] = carried
        self._run()
        for carried, bound in zip(state.arrays, self._after, strict=True):
            carried[:] = bound

    def _read(self) -> tuple[float, ...]:
        return tuple([number for output in self._outputs for number in output.ravel().tolist()])

    def _from_zeros(self, window: Float32Array) -> tuple[float, ...]:
        """What the steps say of a whole window, of an instrument that nobody has seen.

        Raises ``BundleError`` for a graph that loads and cannot be run.
        """
        self._asset[0] = UNKNOWN
        state = _State([np.zeros_like(array) for array in self._before])
        try:
            for row in window:
                self._step(state, row)
        except Exception as error:  # the runtime raises its own types
            raise BundleError(
                f"bundle {self._version}: its steps do not run: {first_line(error)}", do="train it again"
            ) from error
        return self._read()


def step_graph(bundle: Bundle) -> SideGraph:
    """The graph of single steps.  Raises ``BundleError`` when there is none, or when it may not be carried on."""
    step = bundle.manifest.step
    if step is None or step.graph is None:
        why = "was made before there were any" if step is None else step.why_not
        raise BundleError(
            f"bundle {bundle.version} has no graph of single steps: {why}",
            expected="a recurrent network of one direction",
            do="take it out of models.by_step",
        )
    if not step.carried:
        raise BundleError(
            f"bundle {bundle.version} was trained and judged on windows; with a state that is carried on it is another "
            f"model{step.why_not and ': '}{step.why_not}",
            expected="step.carried in its manifest, of a network that loses nothing that way",
            do="take it out of models.by_step: it is served by windows",
        )
    return step.graph


def _first_new(window: Float32Array, row: bytes) -> int:
    """Index of the first row behind ``row``; 0 where it is not in the window.  Newest first, as that is nearly always
    the one: in a market that stands still rows are alike, and one row came since the last ask."""
    for index in range(len(window) - 2, -1, -1):
        if window[index].tobytes() == row:
            return index + 1
    return len(window) if window[-1].tobytes() == row else 0


def _zeros(shape: Sequence[int], dtype: str) -> Array:
    """With a batch of one."""
    return np.zeros([1 if size < 0 else size for size in shape], dtype)
