"""A verified bundle served by ONNX Runtime, inline in the event flow.

Owns the session, its buffers, the deadline and the counters.  Which bundle is loaded and whether it may be used on an
instrument is decided before, by ``models.catalogue`` and ``models.manifest``.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from engine.errors import BundleError
from engine.events import Prediction, PredictionStatus
from engine.ports import Float32Array
from models.assets import UNKNOWN
from models.golden import check_tape
from models.manifest import Bundle
from models.manifest_sections import Tensor
from models.serving.bound import BoundGraph
from models.serving.guards import SAME_MAX, OutputGuard

CPU = ("CPUExecutionProvider",)
_WARM_UP_RUNS = 50
_PROBE = 1e8
"""A window is refused when its sum times this overflows float32: when a feature is not finite or over about 1e30, where
the sums of the normaliser would lose their range.  One pass of 0.5 us; isfinite and all take 1.7."""
_OK = PredictionStatus.OK
_LATE = PredictionStatus.LATE
_FAILED = PredictionStatus.FAILED

# That product overflows on purpose; the prediction then says so, and a line on stderr would say it to nobody.
warnings.filterwarnings("ignore", r"(overflow|invalid value) encountered in dot", RuntimeWarning, __name__)


class OnnxModel:
    """Implements ``engine.ports.Model`` for one bundle and any number of instruments.

    ``deadline_us``: a prediction that took longer is marked late (None: never); ``stopwatch`` returns nanoseconds.
    ``same_max``: so many different windows in a row may have the same answer (``models.serving.guards``).
    Not thread-safe: input and output live in buffers that are bound once and reused.

    Raises ``BundleError`` when the graph cannot be opened, differs from the manifest, or misses the golden tape.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        deadline_us: float | None = None,
        stopwatch: Callable[[], int] = time.perf_counter_ns,
        providers: Sequence[str] = CPU,
        same_max: int = SAME_MAX,
    ) -> None:
        self._bind(bundle, _open(bundle, providers), deadline_us, stopwatch, same_max)
        manifest = bundle.manifest
        check_tape(
            self._version,
            bundle.spec,
            bundle.golden,
            self._predict_one,
            features_rel=manifest.tolerance.features_rel,
            outputs_abs=manifest.tolerance.outputs_abs,
        )
        for _ in range(_WARM_UP_RUNS):
            self._run()

    def _bind(
        self, bundle: Bundle, session: Any, deadline_us: float | None, stopwatch: Callable[[], int], same_max: int
    ) -> None:
        """Counters and buffers of one user of a session."""
        manifest = bundle.manifest
        self.bundle = bundle
        self.count = 0
        self.late = 0
        self.failed = 0
        self._version = bundle.version
        self._stopwatch = stopwatch
        self._deadline_ns = math.inf if deadline_us is None else deadline_us * 1000
        self._session = session
        self._bound = bound = BoundGraph(session, bundle)
        self._run = bound.run
        self._row = bound.features[0]
        self._dot = bound.features.reshape(-1).dot
        self._probe = np.full(bound.features.size, _PROBE, np.float32)
        self._outputs = bound.outputs
        self._read = self._read_one if manifest.output_width == 1 else self._read_all
        self._numbers = {} if bundle.assets is None else bundle.assets.by_instrument
        self._asset = bound.asset
        self._same_max = same_max
        self._defect = OutputGuard(manifest, same_max=same_max).defect

    def twin(self) -> OnnxModel:
        """The same weights in the same memory, with buffers and counters of its own: what a shadow runs on."""
        twin = OnnxModel.__new__(OnnxModel)
        twin._bind(self.bundle, self._session, None, self._stopwatch, self._same_max)
        return twin

    @property
    def version(self) -> str:
        """``name@sha12``: the sha256 of the manifest, which holds that of every other file."""
        return self._version

    @property
    def provider(self) -> str:
        """The execution provider that is really used."""
        return str(self._session.get_providers()[0])

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

    def _predict_one(self, window: Float32Array) -> tuple[float, ...]:
        """One golden vector, of an instrument that nobody has seen where the graph tells them apart.

        Raises ``BundleError`` for a graph that loads and cannot be run.
        """
        self._row[:] = window
        self._asset[0] = UNKNOWN
        try:
            self._run()
        except Exception as error:
            raise _refused(self.bundle, "run", error) from error
        return self._read()


def _open(bundle: Bundle, providers: Sequence[str]) -> Any:
    missing = sorted(set(providers) - set(ort.get_available_providers()))
    if missing or not providers:
        raise BundleError(
            f"execution provider {', '.join(missing) or 'list is empty'} is not installed",
            expected=f"one of {', '.join(ort.get_available_providers())}",
        )
    return open_graph(bundle, bundle.graph, bundle.manifest.inputs, bundle.manifest.outputs, providers)


def open_graph(
    bundle: Bundle, graph: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor], providers: Sequence[str] = CPU
) -> Any:
    """A session of one of the bundle's graphs.  Raises ``BundleError`` when its ends are not those declared."""
    options = ort.SessionOptions()
    # One thread, no spinning: at 130 k parameters a second thread costs more in waking than it saves, and a spinning
    # pool would take the core that the event loop runs on.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(graph, options, providers=list(providers))
    except Exception as error:  # the runtime raises its own types, one per status code
        raise _refused(bundle, "load", error) from error
    for kind, declared, found in (
        ("input", inputs, session.get_inputs()),
        ("output", outputs, session.get_outputs()),
    ):
        wanted = [(tensor.name, list(tensor.shape), tensor.dtype) for tensor in declared]
        seen = [(node.name, _shape(node.shape), _dtype(node.type)) for node in found]
        if wanted != seen:
            raise BundleError(
                f"bundle {bundle.version}: its graph has {kind}s {seen}", expected=f"{wanted}", do="train it again"
            )
    return session


def _refused(bundle: Bundle, what: str, error: Exception) -> BundleError:
    text = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return BundleError(f"bundle {bundle.version}: the runtime cannot {what} its graph: {text}", do="train it again")


def _shape(shape: Sequence[int | str | None]) -> list[int]:
    """Symbolic dimensions (the batch) as -1."""
    return [size if isinstance(size, int) else -1 for size in shape]


def _dtype(name: str) -> str:
    return {"tensor(float)": "float32", "tensor(int64)": "int64"}.get(name, name)
