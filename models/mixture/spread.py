"""A bundle that tells the spread of its forecast with it: the graph that serves, and the one beside it that explains.

Owns the second session.  It costs as many passes as the spread has samples, on each prediction: it is opened only where
the session asks for it (``models.uncertainty``).
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
from models.providers.onnx_runtime import open_session
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
        self._names = [f"{tensor.name}{SPREAD}" for tensor in bundle.manifest.outputs]
        self._numbers = {} if bundle.assets is None else bundle.assets.by_instrument
        self._takes_asset = any(tensor.name == ASSET for tensor in graph.inputs)

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def bundle(self) -> Bundle:
        return self.model.bundle

    def run_once(self) -> None:
        """Both graphs once on whatever lies in the buffers, for who measures what it takes.  Nothing is counted."""
        self.model.run_once()
        spec = self.bundle.spec
        self._spreads("", np.zeros((spec.window, len(spec.columns)), np.float32))

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:
        """Never raises.  A forecast whose spread is not a number is failed: who asked for it must not trade without."""
        started_ns = self._stopwatch()
        said = self.model.predict(instrument, window, ts_event_ns, ts_recv_ns)
        if said.status is _FAILED:
            return said
        try:
            spreads = self._spreads(instrument, window)
        except Exception as error:  # the runtime raises its own types
            return self._fail(said, f"the spread: {type(error).__name__}: {error}"[:200])
        if not all(math.isfinite(one) and one >= 0.0 for one in spreads):
            return self._fail(said, "the spread is not finite or below 0")
        status = said.status
        if self._stopwatch() - started_ns > self._deadline_ns:
            self.late += status is not _LATE
            status = _LATE
        values = (*said.values, *spreads)
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, status, values, said.text)

    def _spreads(self, instrument: str, window: Float32Array) -> list[float]:
        feeds: dict[str, Any] = {FEATURES: np.ascontiguousarray(window[None], np.float32)}
        if self._takes_asset:
            feeds[ASSET] = np.array([self._numbers.get(instrument, UNKNOWN)], np.int64)
        return [float(number) for one in self.session.run(self._names, feeds) for number in one.ravel()]

    def _fail(self, said: Prediction, text: str) -> Prediction:
        self.failed += 1
        return Prediction(said.ts_event_ns, said.ts_recv_ns, said.instrument, self.version, _FAILED, (), text)
