"""A verified bundle served inline in the event flow.

Owns its buffers, the deadline and the counters.  Which provider computes is ``models.providers.choice``; which bundle
is loaded and whether it may be used on an instrument is decided before, by ``models.catalogue`` and
``models.bundle``.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from engine.events import Prediction, PredictionStatus
from engine.ports import Float32Array
from models.assets import UNKNOWN
from models.bundle import Bundle
from models.providers.absent import AbsentModel
from models.providers.choice import ServedGraph, choose_provider
from models.providers.graph import NoProviderError, Provider
from models.providers.onnx_runtime import CpuProvider
from models.serving.bound import BoundGraph
from models.serving.guards import PROBE, SAME_MAX, OutputGuard

CPU: tuple[Provider, ...] = (CpuProvider(),)
_OK = PredictionStatus.OK
_LATE = PredictionStatus.LATE
_FAILED = PredictionStatus.FAILED

# That product overflows on purpose; the prediction then says so, and a line on stderr would say it to nobody.
warnings.filterwarnings("ignore", r"(overflow|invalid value) encountered in dot", RuntimeWarning, __name__)


class OnnxModel:
    """Implements ``engine.ports.Model`` for one bundle and any number of instruments.

    ``deadline_us``: a prediction that took longer is marked late (None: never); ``stopwatch`` returns nanoseconds.
    ``same_max``: so many different windows in a row may have the same answer (``models.serving.guards``).
    ``providers``: the order in which they are tried (``models.providers.choice``).
    Not thread-safe: input and output live in buffers that are bound once and reused.

    Raises ``BundleError`` when the graph cannot be opened, differs from the manifest, or misses the golden tape;
    ``NoProviderError`` when only this machine is in the way.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        deadline_us: float | None = None,
        stopwatch: Callable[[], int] = time.perf_counter_ns,
        providers: Sequence[Provider] = CPU,
        same_max: int = SAME_MAX,
    ) -> None:
        self._bind(bundle, choose_provider(bundle, providers, deadline_us), deadline_us, stopwatch, same_max)

    def _bind(
        self,
        bundle: Bundle,
        graph: ServedGraph,
        deadline_us: float | None,
        stopwatch: Callable[[], int],
        same_max: int,
    ) -> None:
        """Counters and buffers of one user of a graph."""
        manifest = bundle.manifest
        self.bundle = bundle
        self.count = 0
        self.late = 0
        self.failed = 0
        self._version = bundle.version
        self._stopwatch = stopwatch
        self._deadline_ns = math.inf if deadline_us is None else deadline_us * 1000
        self.graph = graph
        """Where it is computed; others may bind buffers of their own to it."""
        self._bound = bound = BoundGraph(graph, bundle)
        self._run = bound.run
        self._row = bound.features[0]
        self._dot = bound.features.reshape(-1).dot
        self._probe = np.full(bound.features.size, PROBE, np.float32)
        self._outputs = bound.outputs
        self._read = self._read_one if manifest.output_width == 1 else self._read_all
        self._numbers = {} if bundle.assets is None else bundle.assets.by_instrument
        self._asset = bound.asset
        self._same_max = same_max
        self.guard = OutputGuard(manifest, same_max=same_max)
        self._defect = self.guard.defect

    def bind(self, batch: int) -> BoundGraph:
        """The graph with buffers of its own for so many windows at once."""
        return BoundGraph(self.graph, self.bundle, batch)

    def run_once(self) -> None:
        """One inference on whatever lies in the buffers, for who measures what it takes.  Nothing is counted."""
        self._run()

    def twin(self) -> OnnxModel:
        """The same weights in the same memory, with buffers and counters of its own: what a shadow runs on."""
        twin = OnnxModel.__new__(OnnxModel)
        twin._bind(self.bundle, self.graph, None, self._stopwatch, self._same_max)
        return twin

    @property
    def version(self) -> str:
        """``name@sha12``: the sha256 of the manifest, which holds that of every other file."""
        return self._version

    @property
    def provider(self) -> str:
        """The provider that computes now; ``none`` once it was lost and nothing could take over."""
        return self.graph.provider

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:
        """One inference over ``window`` (W, F) raw features.  Never raises: trouble is a prediction marked failed."""
        self.count += 1
        started_ns = self._stopwatch()
        try:
            self._row[:] = window
            if self._numbers:
                self._asset[0] = self._numbers.get(instrument, UNKNOWN)
            # The graph clips, so a bad input would come out as a plausible number.
            mark = self._dot(self._probe)
            if not -math.inf < mark < math.inf:
                return self._fail(instrument, ts_event_ns, ts_recv_ns, "a feature is not finite or beyond 1e30")
            self._run()
            values = self._read()
            defect = self._defect(instrument, values, mark)
        except Exception as error:  # the port promises that nothing is raised into the core
            return self._fail(instrument, ts_event_ns, ts_recv_ns, f"{type(error).__name__}: {error}"[:200])
        if defect:
            return self._fail(instrument, ts_event_ns, ts_recv_ns, defect)
        if self._stopwatch() - started_ns > self._deadline_ns:
            self.late += 1
            return Prediction(ts_event_ns, ts_recv_ns, instrument, self._version, _LATE, values)
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self._version, _OK, values)

    def _fail(self, instrument: str, ts_event_ns: int, ts_recv_ns: int, text: str) -> Prediction:
        self.failed += 1
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self._version, _FAILED, (), text)

    def _read_one(self) -> tuple[float, ...]:
        return (self._outputs[0].item(),)

    def _read_all(self) -> tuple[float, ...]:
        return tuple([number for output in self._outputs for number in output.ravel().tolist()])


def open_model(
    bundle: Bundle,
    *,
    deadline_us: float,
    stopwatch: Callable[[], int],
    providers: Sequence[Provider],
    same_max: int,
) -> OnnxModel | AbsentModel:
    """The model, or what stands in for it where no provider of this machine may serve it.

    Raises ``BundleError`` for what is wrong with the bundle itself.
    """
    try:
        return OnnxModel(bundle, deadline_us=deadline_us, stopwatch=stopwatch, providers=providers, same_max=same_max)
    except NoProviderError as error:
        return AbsentModel(bundle, str(error))
