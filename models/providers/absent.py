"""What stands in for a model that no provider may serve: it says at every row why there is no prediction.

The strategy is there, its exits work, and it gets no signal; the session says so at its start and in its journal.
"""

from __future__ import annotations

from engine.events import Prediction, PredictionStatus
from engine.ports import Float32Array
from models.bundle import Bundle


class AbsentModel:
    """Implements ``engine.ports.Model``.  ``text``: why it does not serve."""

    provider = "none"

    def __init__(self, bundle: Bundle, text: str) -> None:
        self.bundle = bundle
        self.text = text[:200]
        self.count = 0
        self.late = 0
        self.failed = 0

    @property
    def version(self) -> str:
        return self.bundle.version

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:
        del window
        self.count += 1
        self.failed += 1
        failed = PredictionStatus.FAILED
        return Prediction(ts_event_ns, ts_recv_ns, instrument, self.version, failed, (), self.text)

    def twin(self) -> AbsentModel:
        return AbsentModel(self.bundle, self.text)
