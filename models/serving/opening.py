"""How a session opens its models: on which provider, by windows or by steps, in the loop's thread or on the worker.

Owns that choice, and the record of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from models.bundle import Bundle
from models.onnx_model import CPU, OnnxModel, open_model
from models.providers.absent import AbsentModel
from models.providers.graph import Provider
from models.serving.guards import SAME_MAX
from models.serving.off_loop import Hosted, OffLoopModel
from models.serving.schedule import Schedule, Wanted, decide, measure_us, usable_cores
from models.serving.step import StepModel
from models.serving.worker import Worker

Opened = OnnxModel | AbsentModel | StepModel
"""A bundle that is open and answers from the call."""
Placed = TypeVar("Placed", bound=Hosted)
OnScheduled = Callable[[str, Schedule], None]
"""Told where a version runs, when that is decided."""
OnProvider = Callable[[str, str, str, str], None]
"""Told of a version that one provider computed it, that another does from now on (empty: none), and why."""


class Opening:
    """Opens bundles for one session.  ``schedule`` is ``models.schedule``; ``by_step``: bundles by name.

    Without ``use`` all models run in the loop's thread: where a session plays files or is run again, time is the
    data's, and an answer must not depend on how fast it is played.  Other parameters are those of ``OnnxModel``.
    """

    def __init__(
        self,
        *,
        deadline_us: float,
        stopwatch: Callable[[], int] = time.perf_counter_ns,
        providers: Sequence[Provider] = CPU,
        same_max: int = SAME_MAX,
        schedule: Wanted = "auto",
        by_step: Collection[str] = (),
    ) -> None:
        self._deadline_us = deadline_us
        self._stopwatch = stopwatch
        self._providers = providers
        self._same_max = same_max
        self._wanted: Wanted = schedule
        self._by_step = frozenset(by_step)
        self._worker: Worker | None = None
        self.schedules: dict[str, Schedule] = {}
        """Where each version runs, and why."""
        self._on_scheduled: OnScheduled = _nobody
        self._on_provider: OnProvider | None = None
        self._changes: list[tuple[str, str, str, str]] = []
        self._telling = threading.Lock()

    @property
    def has_worker(self) -> bool:
        return self._worker is not None

    def use(self, worker: Worker) -> None:
        """Models may be placed on the worker."""
        self._worker = worker

    def tell_schedules(self, tell: OnScheduled) -> None:
        """Of each version that was opened, and of each that will be."""
        self._on_scheduled = tell
        for version, schedule in self.schedules.items():
            tell(version, schedule)

    def tell_providers(self, tell: OnProvider) -> None:
        """Of each change so far (a provider that was passed over at load is one), and of each that comes, from the
        thread that found it."""
        with self._telling:
            self._on_provider, changes = tell, self._changes
            self._changes = []
        for change in changes:
            tell(*change)

    def open(self, bundle: Bundle) -> Opened:
        """In the loop's thread as yet.  Raises ``BundleError``."""
        if bundle.manifest.name in self._by_step:
            steps = StepModel(bundle, deadline_us=self._deadline_us, stopwatch=self._stopwatch, same_max=self._same_max)
            time_us = None if self._worker is None else measure_us(steps.run_once)
            takes = "" if time_us is None else f"; takes {time_us:.0f} us a row"
            self.note(bundle.version, Schedule(False, time_us, f"served by steps (models.by_step){takes}"))
            return steps
        model = open_model(
            bundle,
            deadline_us=self._deadline_us,
            stopwatch=self._stopwatch,
            providers=self._providers,
            same_max=self._same_max,
        )
        wanted = self._providers[0].name
        if isinstance(model, AbsentModel):
            self._changed(bundle.version, wanted, "", model.text)
        else:
            if model.graph.passed_over:
                self._changed(bundle.version, wanted, model.graph.first.provider, " | ".join(model.graph.passed_over))
            model.graph.tell(partial(self._changed, bundle.version))
        return model

    def place(self, model: Placed) -> Placed | OffLoopModel:
        """An open model, where it is to run: measured (with its spread, where it tells one), decided, noted."""
        if self._worker is None:
            return model
        time_us = measure_us(model.run_once)
        schedule = decide(self._wanted, time_us, usable_cores())._replace(provider=model.provider)
        self.note(model.version, schedule)
        return OffLoopModel(model, self._worker, self._deadline_us, time_us) if schedule.on_worker else model

    def _changed(self, version: str, before: str, after: str, text: str) -> None:
        with self._telling:
            tell = self._on_provider
            if tell is None:
                self._changes.append((version, before, after, text))
        if tell is not None:
            tell(version, before, after, text)

    def note(self, version: str, schedule: Schedule) -> None:
        """Where a version runs, which is told to whoever asked for that."""
        self.schedules[version] = schedule
        self._on_scheduled(version, schedule)


def _nobody(version: str, schedule: Schedule) -> None:
    del version, schedule
