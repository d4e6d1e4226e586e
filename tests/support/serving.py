"""Models and assemblies for tests of who serves: real code around answers that are computed from the window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine import events as e
from engine.errors import BundleError
from engine.instruments import Instrument
from engine.ports import Assignment, Features, Model
from tests.support.core import BTC, EveryQuote

FACTS = (("buy", 0.6),)
OFF_LOOP = (*FACTS, ("asynchronous", 1.0))


class Answers:
    """A model of its own version that answers the fractional part of the mid price plus ``offset``.

    ``statuses`` are taken one by one, then ``ok``.  ``asynchronous``: it keeps what it was asked, and ``answer`` makes
    the event of the newest row.
    """

    def __init__(self, version: str = "mid@1", offset: float = 0.0, *, asynchronous: bool = False) -> None:
        self.version = version
        self.offset = offset
        self.asynchronous = asynchronous
        self.statuses: list[e.PredictionStatus] = []
        self.asked: list[tuple[int, int, np.ndarray]] = []
        self.resets: list[tuple[str, str]] = []
        self.weights: list[tuple[float, ...]] = []

    def predict(self, instrument: str, window: np.ndarray, ts_event_ns: int, ts_recv_ns: int) -> e.Prediction | None:
        self.asked.append((ts_event_ns, ts_recv_ns, window.copy()))
        if self.asynchronous:
            return None
        status = self.statuses.pop(0) if self.statuses else e.PredictionStatus.OK
        return e.Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, status, self._values(window))

    def _values(self, window: np.ndarray) -> tuple[float, ...]:
        return (float(window[0, 0]) % 1.0 + self.offset,)

    def answer(
        self, now_ns: int, row: int = -1, status: e.PredictionStatus = e.PredictionStatus.OK, instrument: str = BTC
    ) -> e.PredictionMade:
        row_event_ns, row_ns, window = self.asked[row]
        values = self._values(window) if status in (e.PredictionStatus.OK, e.PredictionStatus.LATE) else ()
        return e.PredictionMade(
            now_ns, now_ns, instrument, self.version, row_event_ns, row_ns, status, values, "" if values else "broken"
        )

    def reset(self, instrument: str, reason: str) -> None:
        self.resets.append((instrument, reason))

    def weigh(self, weights: tuple[float, ...]) -> None:
        self.weights.append(weights)


class Shelf:
    """An assembly with several versions at hand; the first is assigned.  ``specs`` by version, else ``{}``; a buffer of
    another spec is ``other_features()``."""

    def __init__(
        self,
        *models: Answers,
        features: Callable[[], Features | None] = EveryQuote,
        other_features: Callable[[], Features | None] = lambda: EveryQuote(3),
    ) -> None:
        self.models = {one.version: one for one in models}
        self.first = models[0].version
        self.specs: dict[str, str] = {}
        self.facts: dict[str, tuple[tuple[str, float], ...]] = {}
        self._features = features
        self._other_features = other_features
        self.made: list[Features | None] = []

    def facts_of(self, version: str) -> tuple[tuple[str, float], ...]:
        found = self.models.get(version)
        return self.facts.get(version, OFF_LOOP if found is not None and found.asynchronous else FACTS)

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        if not uses_model:
            return Assignment("", "{}", ())
        return Assignment(self.first, self.specs.get(self.first, "{}"), self.facts_of(self.first))

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:
        self.made.append(self._features() if assignment.spec == "{}" else self._other_features())
        return self.made[-1]

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None:
        if not assignment.model:
            return None
        if assignment.model not in self.models:
            raise BundleError(f"bundle {assignment.model} is gone")
        return self.models[assignment.model]

    def offer(
        self, now_ns: int, version: str, role: str = "champion", share: float = 0.0, reason: str = "promoted"
    ) -> e.ModelOffered:
        facts = self.facts_of(version) if version else ()
        return e.ModelOffered(now_ns, now_ns, BTC, role, version, self.specs.get(version, "{}"), facts, share, reason)
