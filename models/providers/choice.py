"""Which provider serves a bundle: the first of an order that opens its graph and reproduces its golden tape.

Owns the choice at load, and the step to the CPU when a provider is lost while it serves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from engine.errors import BundleError
from engine.ports import Float32Array
from models.assets import UNKNOWN
from models.bundle import Bundle
from models.golden import check_tape
from models.providers.graph import (
    Array,
    NoProviderError,
    OpenedGraph,
    Provider,
    ProviderError,
    Run,
    first_line,
    not_here,
    refused,
    source_of,
)
from models.providers.onnx_runtime import CpuProvider
from models.serving.bound import BoundGraph

OnChanged = Callable[[str, str, str], None]
"""Provider before, provider after (empty: none can), and why."""
_CPU = CpuProvider.name
_WARM_UP_RUNS = 50


class Tried(NamedTuple):
    """A graph that has passed the golden tape, and the median of its warm inferences of one window."""

    graph: OpenedGraph
    cost_us: float


def choose_provider(bundle: Bundle, order: Sequence[Provider], deadline_us: float | None = None) -> ServedGraph:
    """The graph of a bundle on the first provider of ``order`` that may serve it, with the CPU standing by.

    A provider that stands behind one that failed must keep ``deadline_us`` (None: any time will do), else it would only
    make late predictions.  Raises ``BundleError`` for what is wrong with the bundle itself, which the CPU decides,
    ``NoProviderError`` where nothing but this machine is in the way.
    """
    if not order:
        raise ProviderError("the list of providers is empty", expected="cpu, cuda, tensorrt or openvino")
    passed_over: list[str] = []
    for provider in order:
        try:
            tried = try_provider(bundle, provider)
        except BundleError as error:
            if provider.name == _CPU or len(order) == 1:
                raise
            passed_over.append(f"{provider.name}: {error}")
            continue
        if passed_over and _misses(tried, deadline_us):
            passed_over.append(_too_slow(tried, deadline_us))
            continue
        return _served(bundle, order, tried, deadline_us, passed_over)
    raise NoProviderError(
        f"bundle {bundle.version}: no provider may serve it ({' | '.join(passed_over)})",
        do="mend the first of them, or raise models.deadline_us",
    )


def _served(
    bundle: Bundle, order: Sequence[Provider], tried: Tried, deadline_us: float | None, passed_over: list[str]
) -> ServedGraph:
    if tried.graph.provider == _CPU:
        return ServedGraph(tried.graph, None, tuple(passed_over))
    standby, why_none = None, "the order of providers has no cpu"
    for provider in order:
        if provider.name == _CPU:
            behind = try_provider(bundle, provider)  # it is the reference: what it refuses is wrong with the bundle
            if _misses(behind, deadline_us):
                why_none = _too_slow(behind, deadline_us)
            else:
                standby, why_none = behind.graph, ""
    return ServedGraph(tried.graph, standby, tuple(passed_over), why_none)


def try_provider(bundle: Bundle, provider: Provider) -> Tried:
    """Open, golden tape, warm-up.  Raises ``BundleError``, also for what the runtime raises of its own."""
    try:
        graph = provider.open(source_of(bundle))
        bound = BoundGraph(graph, bundle)
        _check_tape(bundle, bound)
        samples_ns = []
        for _ in range(_WARM_UP_RUNS):
            before = time.perf_counter_ns()
            bound.run()
            samples_ns.append(time.perf_counter_ns() - before)
    except BundleError:
        raise
    except Exception as error:  # each runtime has types of its own, also for a device that went away
        if provider.name != _CPU:
            raise not_here(bundle.version, provider.name, error) from error
        raise refused(bundle.version, "run", error) from error
    return Tried(graph, median(samples_ns[_WARM_UP_RUNS // 2 :]) / 1000)


def _check_tape(bundle: Bundle, bound: BoundGraph) -> None:
    def predict(window: Float32Array) -> tuple[float, ...]:
        bound.features[0] = window
        bound.asset[0] = UNKNOWN  # where the graph tells instruments apart: one that nobody has seen
        bound.run()
        return tuple([number for output in bound.outputs for number in output.ravel().tolist()])

    tolerance = bundle.manifest.tolerance
    check_tape(
        bundle.version,
        bundle.spec,
        bundle.golden,
        predict,
        features_rel=tolerance.features_rel,
        outputs_abs=tolerance.outputs_abs,
    )


class ServedGraph:
    """Implements ``OpenedGraph``: the provider that was chosen, and after it is lost the one that stands by.

    ``passed_over``: why providers before it do not serve.  ``no_standby``: why nothing would take over.
    """

    def __init__(
        self, first: OpenedGraph, standby: OpenedGraph | None, passed_over: tuple[str, ...] = (), no_standby: str = ""
    ) -> None:
        self.first = first
        self.standby = standby
        self.passed_over = passed_over
        self.no_standby = no_standby
        self.on_changed: OnChanged = _nobody
        self.lost = ""
        """Why the first one serves no more; empty while it does."""
        self.losses = 0
        self._lock = threading.Lock()

    @property
    def provider(self) -> str:
        if not self.lost:
            return self.first.provider
        return self.standby.provider if self.standby is not None else "none"

    @property
    def device(self) -> str:
        if not self.lost:
            return self.first.device
        return self.standby.device if self.standby is not None else "none"

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> Run:
        if self.first.provider == _CPU:
            return self.first.bind(inputs, outputs)  # nothing stands behind it: no more than the runtime's own call
        behind = self._refuse if self.standby is None else self.standby.bind(inputs, outputs)
        if not self.lost:
            try:
                return _Guarded(self, self.first.bind(inputs, outputs), behind).run
            except Exception as error:  # no memory for these buffers, or a device that has gone since
                self.lose(error)
        return behind

    def tell(self, on_changed: OnChanged) -> None:
        """Of the loss: when it comes, or now, where it came before anybody was to be told."""
        with self._lock:
            self.on_changed, is_lost = on_changed, bool(self.lost)
        if is_lost:
            self._say()

    def lose(self, error: Exception) -> None:
        """The first one serves no more, on any buffers.  It is told once."""
        with self._lock:
            if self.lost:
                return
            self.lost = first_line(error)
            self.losses += 1
        self._say()

    def _say(self) -> None:
        self.on_changed(
            self.first.provider,
            "" if self.standby is None else self.standby.provider,
            self.lost if self.standby is not None else f"{self.lost}; {self.no_standby}",
        )

    def _refuse(self) -> None:
        raise ProviderError(f"the provider {self.first.provider} was lost: {self.lost}; {self.no_standby}")


class _Guarded:
    """One inference on the first provider; when it fails, the same one on what stands by, and all that follow."""

    def __init__(self, served: ServedGraph, first: Run, behind: Run) -> None:
        self._served = served
        self._first = first
        self._behind = behind

    def run(self) -> None:
        if not self._served.lost:
            try:
                self._first()
            except Exception as error:  # a lost GPU, no memory, a reset driver: the runtime's types do not tell which
                self._served.lose(error)
            else:
                return
        self._behind()


def _nobody(before: str, after: str, text: str) -> None:
    del before, after, text


def _misses(tried: Tried, deadline_us: float | None) -> bool:
    return deadline_us is not None and tried.cost_us > deadline_us


def _too_slow(tried: Tried, deadline_us: float | None) -> str:
    return f"{tried.graph.provider}: takes {tried.cost_us:.0f} us a prediction, models.deadline_us is {deadline_us:g}"
