"""A model whose answers are computed on the worker and come back as events.

Implements ``engine.ports.Model``: asked, it has no answer yet.  The thread is ``models.serving.worker``'s.
"""

from __future__ import annotations

from typing import Any, Protocol

from engine.events import Prediction, PredictionStatus
from engine.ports import Float32Array
from models.serving.batches import Batches, Bindable
from models.serving.guards import Guard
from models.serving.worker import Mailbox, Runner, Worker

_OK, _FAILED = PredictionStatus.OK, PredictionStatus.FAILED


class Hosted(Bindable, Protocol):
    """What is put on the worker: an open model that is left alone otherwise."""

    @property
    def guard(self) -> Guard: ...

    @property
    def provider(self) -> str: ...

    def run_once(self) -> object:
        """All of one prediction, for who measures what it takes."""
        ...


class OffLoopModel:
    """One bundle on any number of instruments.  ``time_us``: of one prediction, as measured."""

    def __init__(self, model: Hosted, worker: Worker, deadline_us: float | None, time_us: float) -> None:
        self._model = model
        self._worker = worker
        self._runner = Runner(model.version, Batches(model, model.guard), deadline_us, time_us)
        spec = model.bundle.spec
        self._shape = (spec.window, len(spec.columns))
        self._boxes: dict[str, Mailbox] = {}
        worker.host()

    @property
    def bundle(self) -> Any:
        return self._model.bundle

    @property
    def version(self) -> str:
        return self._model.version

    @property
    def provider(self) -> str:
        return self._model.provider

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> None:
        """Asks; the answer is a ``PredictionMade``.  ``window`` is copied."""
        box = self._boxes.get(instrument)
        if box is None:
            box = self._boxes[instrument] = Mailbox(self._runner, instrument, self._shape)
        self._worker.ask(box, window, ts_event_ns, ts_recv_ns)

    def reset(self, instrument: str, reason: str) -> None:  # noqa: ARG002
        """The rows before have a gap: what is pending is of no use any more."""
        if box := self._boxes.get(instrument):
            self._worker.forget(box)

    def twin(self) -> WarmModel:
        """What a shadow runs on."""
        return WarmModel(self._worker, self._runner)


class WarmModel:
    """Keeps a model on the worker warm for a shadow, and answers at once with what it said last.

    The shadow walks the rest of its path with that.  No ask is made, nothing is counted and nobody is told.
    """

    def __init__(self, worker: Worker, runner: Runner) -> None:
        self._worker = worker
        self._runner = runner

    @property
    def version(self) -> str:
        return self._runner.version

    def twin(self) -> WarmModel:
        return self

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction:  # noqa: ARG002
        runner = self._runner
        self._worker.warm(runner)
        values = runner.last.get(instrument)
        if values is None:
            return Prediction(ts_event_ns, ts_recv_ns, instrument, runner.version, _FAILED, (), "nothing was said yet")
        return Prediction(ts_event_ns, ts_recv_ns, instrument, runner.version, _OK, values)
