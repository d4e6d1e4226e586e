"""A bundle that tells the spread of its forecast with it: the graph that serves, and the one beside it that explains.

Owns the second session.  It costs as many passes as the spread has samples, on each prediction: it is opened only where
the session asks for it (``models.uncertainty``).  Where both graphs run, by the call or on the worker in batches, is
``models.serving.opening``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.events import Prediction, PredictionStatus
from engine.ports import Float32Array
from models.assets import UNKNOWN
from models.bundle import Bundle
from models.facts import SPREAD, Facts
from models.manifest import ASSET, FEATURES
from models.manifest_sections import SideGraph
from models.onnx_model import OnnxModel
from models.providers.graph import Source
from models.providers.onnx_runtime import bound_run, open_session
from models.serving.bound import Bound
from models.serving.guards import SpreadGuard
from models.side_graphs import check_explanation

_OK, _LATE, _FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED


def spread_graph(bundle: Bundle) -> SideGraph | None:
    """The graph that tells the deviation of every output; None where the bundle has none."""
    explanation = bundle.manifest.explanation
    if explanation is None or explanation.graph is None:
        return None
    wanted = [f"{tensor.name}{SPREAD}" for tensor in bundle.manifest.outputs]
    told = {tensor.name for tensor in explanation.graph.outputs}
    return explanation.graph if told.issuperset(wanted) else None


def spread_facts(bundle: Bundle) -> Facts:
    """Where the deviations are: behind the forecasts, in their order.  None where there is no such graph."""
    if spread_graph(bundle) is None:
        return ()
    width, place = bundle.manifest.output_width, 0
    found = []
    for tensor in bundle.manifest.outputs:
        found.append((f"spread.{tensor.name}", float(width + place)))
        place += math.prod(tensor.shape[1:])
    return tuple(found)


class BoundSpread:
    """As ``models.serving.bound.Bound``: both graphs over the same windows.  ``outputs``: the forecasts, and behind
    them the deviation of each."""

    def __init__(self, bound: Bound, bundle: Bundle, graph: SideGraph, session: Any) -> None:
        self.batch = bound.batch
        self.features = bound.features
        self.asset = bound.asset
        shapes = {tensor.name: tensor.shape[1:] for tensor in graph.outputs}
        names = [f"{tensor.name}{SPREAD}" for tensor in bundle.manifest.outputs]
        spreads = [np.zeros((self.batch, *shapes[name]), np.float32) for name in names]
        self.outputs = [*bound.outputs, *spreads]
        inputs = {FEATURES: self.features, ASSET: self.asset}
        binding = session.io_binding()
        for tensor in graph.inputs:
            array = inputs[tensor.name]
            binding.bind_input(tensor.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        # Only what is asked for: such a graph may tell attention weights as well.
        for name, array in zip(names, spreads, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._forecast = bound.run
        self.run_spread = bound_run(session, binding)
        self.spreads = spreads

    def run(self) -> None:
        self._forecast()
        self.run_spread()


class SpreadModel:
    """Implements ``engine.ports.Model``: the answer of ``model``, and behind its numbers the deviation of each.

    ``deadline_us``: for both graphs (None: never).  ``session``: of the second one, where another user has opened it.
    Raises ``BundleError`` when it cannot be opened or misses the golden tape, ``ValueError`` for a bundle without one.
    """

    def __init__(
        self, model: OnnxModel, *, deadline_us: float | None, stopwatch: Callable[[], int], session: Any = None
    ) -> None:
        graph = spread_graph(model.bundle)
        if graph is None:
            raise ValueError(f"{model.version} has no graph of spreads")
        self.model = model
        self.late = 0
        self.failed = 0
        self._graph = graph
        self._deadline_ns = math.inf if deadline_us is None else deadline_us * 1000
        self._stopwatch = stopwatch
        bundle = model.bundle
        source = Source(
            bundle.version, bundle.side_graphs[graph.file], graph.inputs, graph.outputs, bundle.manifest.precision
        )
        self.session = session
        if session is None:
            self.session = open_session(source)
            check_explanation(bundle, graph, self.session)
        self.guard = SpreadGuard(bundle.manifest, model.guard)
        self._numbers = {} if bundle.assets is None else bundle.assets.by_instrument
        self._bound = self.bind(1)

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def bundle(self) -> Bundle:
        return self.model.bundle

    @property
    def provider(self) -> str:
        return self.model.provider

    def bind(self, batch: int) -> BoundSpread:
        """Both graphs, with buffers of their own for so many windows at once."""
        return BoundSpread(self.model.bind(batch), self.bundle, self._graph, self.session)

    def run_once(self) -> None:
        """Both graphs once on whatever lies in the buffers, for who measures what it takes.  Nothing is counted."""
        self._bound.run()

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:
        """Never raises.  A forecast whose spread is none is failed: who asked for it must not trade without."""
        started_ns = self._stopwatch()
        said = self.model.predict(instrument, window, ts_event_ns, ts_recv_ns)
        if said.status is _FAILED:
            return said
        try:
            spreads = self._spreads(instrument, window)
        except Exception as error:  # the runtime raises its own types
            return self._fail(said, f"the spread: {type(error).__name__}: {error}"[:200])
        if defect := self.guard.spread_defect(spreads):
            return self._fail(said, defect)
        status = said.status
        if self._stopwatch() - started_ns > self._deadline_ns:
            self.late += status is not _LATE
            status = _LATE
        values = (*said.values, *spreads)
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, status, values, said.text)

    def _spreads(self, instrument: str, window: Float32Array) -> list[float]:
        bound = self._bound
        bound.features[0] = window
        bound.asset[0] = self._numbers.get(instrument, UNKNOWN)
        bound.run_spread()
        return [number for one in bound.spreads for number in one.ravel().tolist()]

    def _fail(self, said: Prediction, text: str) -> Prediction:
        self.failed += 1
        return Prediction(said.ts_event_ns, said.ts_recv_ns, said.instrument, self.version, _FAILED, (), text)
