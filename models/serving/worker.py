"""One thread that runs models off the loop: latest-wins mailboxes in, batches through the graph, events out.

Owns the thread and the hand-over.  A mailbox holds one window of an instrument: asked again before the thread came to
it, the newer window takes its place and the older one is superseded and counted.  The thread takes what is pending of
one model as one batch and never waits for more.  Answers go back by one wake-up of the loop for each batch, and become
events in the loop's thread; only there times are read and deadlines judged.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np

from engine import processors
from engine.events import PredictionStatus
from engine.model_events import PredictionMade
from engine.ports import Float32Array, Publish
from models.serving.batches import Answer, Ask, Batches, failed

STUCK_NS = 1_000_000_000
"""A run that takes longer than this, and than ten deadlines, holds up everybody: what is asked meanwhile fails."""
STOP_S = 2.0
"""Longest wait for the run that goes on when the session ends."""
WARM_SHARE = 20
"""Runs that only keep caches warm take at most this part of the thread's time: a window that comes meanwhile waits."""
CallSoon = Callable[..., Any]
"""``loop.call_soon_threadsafe``."""
_OK, _LATE, _FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED


class Runner:
    """A model on the worker, and what it said last by instrument.

    ``deadline_us`` counts from ask to arrival in the loop (None: never late).
    """

    def __init__(self, version: str, batches: Batches, deadline_us: float | None, time_us: float) -> None:
        self.version = version
        self.batches = batches
        self.deadline_ns = math.inf if deadline_us is None else deadline_us * 1000
        self.warm_every_ns = int(time_us * 1000 * WARM_SHARE)
        self.warmed_ns = 0
        self.last: dict[str, tuple[float, ...]] = {}


class Mailbox:
    """Of one instrument and model.  ``spare``: windows to write into.

    ``pending`` and ``queued`` are guarded by the worker's lock.  A box that was forgotten keeps its place in the queue,
    and is never there twice: one batch would take two windows of it.
    """

    __slots__ = ("instrument", "pending", "queued", "runner", "spare")

    def __init__(self, runner: Runner, instrument: str, shape: tuple[int, ...]) -> None:
        self.runner = runner
        self.instrument = instrument
        self.pending: Ask | None = None
        self.queued = False
        # One pending, one being computed, one being written.
        self.spare: deque[Float32Array] = deque(np.zeros(shape, np.float32) for _ in range(3))


class Worker:
    """All methods but ``_run`` and what it calls are of the loop's thread.  Use once."""

    def __init__(self, stopwatch: Callable[[], int] = time.perf_counter_ns) -> None:
        self._stopwatch = stopwatch
        self._queue: SimpleQueue[Mailbox | Runner | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._publish: Publish | None = None
        self._hosts = False
        self._stopped = False
        self._died = ""
        self._busy_ns = 0
        """Since when a batch or a run for nothing has been running; 0: none."""
        self._asked = self._told = self._superseded = self._dropped = 0
        self._late = self._failed = self._batches = self._warm_runs = 0

    def start(self, publish: Publish, now_ns: Callable[[], int], call_soon: CallSoon) -> None:
        """Answers go to ``publish``, stamped with ``now_ns()``, by ``call_soon`` into the loop's thread."""
        self._publish, self._now_ns, self._call_soon = publish, now_ns, call_soon
        self._begin()

    def host(self) -> None:
        """A model was put here, by whatever thread: from now on there is a thread, if there is somebody to tell."""
        self._hosts = True
        self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None and self._hosts and self._publish is not None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="kestrel-models", daemon=True)
                with processors.beside():
                    self._thread.start()

    def stop(self) -> None:
        """End the thread in order: what runs is waited for, what is pending is dropped.  Safe to call twice."""
        if self._stopped:
            return
        self._stopped = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(STOP_S)
        self._dropped = self._asked - self._told - self._superseded

    @property
    def counts(self) -> dict[str, int]:
        """What became of what was asked.  ``dropped``: behind a gap, or without an answer when the session ended."""
        return {
            "asked": self._asked,
            "answered": self._told - self._late - self._failed,
            "late": self._late,
            "failed": self._failed,
            "superseded": self._superseded,
            "dropped": self._dropped,
            "batches": self._batches,
        }

    @property
    def warm_runs(self) -> int:
        return self._warm_runs

    # --- asking: in the loop's thread -------------------------------------------------------------------------------

    def ask(self, box: Mailbox, window: Float32Array, row_event_ns: int, row_ns: int) -> None:
        """Leave a copy of ``window``; the answer is an event.  Never raises for what a window or a model can be."""
        self._asked += 1
        if not box.spare:  # a defect of ours, and no reason to halt a session: it is as if a newer window had come
            self._superseded += 1
            return
        now_ns = self._stopwatch()
        ask = Ask(box.instrument, box.spare[0], row_event_ns, row_ns, now_ns)
        why = self._why_not(box.runner, now_ns)
        if not why:
            try:
                # Bytes, not numbers: a copy by numpy lets go of the interpreter, and the worker would take it.
                ask.window.data.cast("B")[:] = window.data.cast("B")
            except (TypeError, ValueError) as error:  # a window of another shape
                why = f"{type(error).__name__}: {error}"
        if why:
            self._tell(box.runner, failed((ask,), why))
            return
        box.spare.popleft()
        with self._lock:
            before, box.pending = box.pending, ask
            was_queued, box.queued = box.queued, True
        if not was_queued:
            self._queue.put(box)
        if before is not None:
            self._superseded += 1
            box.spare.append(before.window)

    def forget(self, box: Mailbox) -> None:
        """What is pending of it is of no use any more, as its rows have a gap behind them: dropped and counted."""
        with self._lock:
            ask, box.pending = box.pending, None
        if ask is not None:
            box.spare.append(ask.window)
            self._dropped += 1

    def warm(self, runner: Runner) -> None:
        """Have the model run once for nothing, if the thread has nothing to do and has not done so lately."""
        now_ns = self._stopwatch()
        if self._busy_ns or self._queue.qsize() or now_ns - runner.warmed_ns < runner.warm_every_ns or self._stopped:
            return
        runner.warmed_ns = now_ns
        self._queue.put(runner)

    def _why_not(self, runner: Runner, now_ns: int) -> str:
        """Why nobody would answer; empty where somebody will."""
        if self._thread is None or self._stopped:
            return "the worker does not run"
        if self._died:
            return f"the worker died: {self._died}"
        busy_ns = self._busy_ns
        taken_ns = now_ns - busy_ns if busy_ns else 0
        # A deadline that is never is no limit here: a run of a second is stuck all the same.
        limit_ns = STUCK_NS if math.isinf(runner.deadline_ns) else max(STUCK_NS, 10 * runner.deadline_ns)
        return f"the worker has been at one run for {taken_ns / 1e9:.1f} s" if taken_ns > limit_ns else ""

    def _tell(self, runner: Runner, answers: list[Answer]) -> None:
        """Answers become events, in the loop's thread; one over its deadline is late."""
        publish = self._publish
        if self._stopped or publish is None:
            return
        for ask, status, values, text in answers:
            self._told += 1
            if status is _FAILED:
                self._failed += 1
            elif self._stopwatch() - ask.asked_ns > runner.deadline_ns:
                status = _LATE  # noqa: PLW2901
                self._late += 1
            if values:
                runner.last[ask.instrument] = values
            at_ns = self._now_ns()
            publish(
                PredictionMade(
                    at_ns,
                    at_ns,
                    ask.instrument,
                    runner.version,
                    ask.row_event_ns,
                    ask.row_ns,
                    status,
                    values,
                    text,
                )
            )

    # --- running: in the worker's thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        ready: deque[Mailbox | Runner] = deque()
        try:
            while not self._stopped:
                for _ in range(self._queue.qsize() if ready else 1):
                    one = self._queue.get()
                    if one is None:
                        return
                    ready.append(one)
                first = ready[0]
                if isinstance(first, Runner):
                    ready.popleft()
                    self._busy_ns = self._stopwatch()
                    first.batches.warm()
                    self._busy_ns = 0
                    self._warm_runs += 1
                else:
                    self._run_batch(first.runner, ready)
        except BaseException as error:
            # A defect of ours: everything that is asked from now on fails, and says so.
            self._died = f"{type(error).__name__}: {error}"[:150]
            with contextlib.suppress(RuntimeError):
                self._call_soon(self._fail_pending, list(ready))

    def _run_batch(self, runner: Runner, ready: deque[Mailbox | Runner]) -> None:
        """What is pending of the model, at most as many as the largest batch that it fills."""
        for _ in range(self._queue.qsize()):
            one = self._queue.get()
            if one is None:
                self._queue.put(None)  # after this batch
                break
            ready.append(one)
        same = [box for box in ready if isinstance(box, Mailbox) and box.runner is runner]
        sizes = runner.batches.sizes
        size = max(size for size in sizes if size <= len(same))
        boxes, asks = [], []
        for box in same[:size]:
            ready.remove(box)
            with self._lock:
                ask, box.pending, box.queued = box.pending, None, False
            if ask is not None:
                boxes.append(box)
                asks.append(ask)
        answers: list[Answer] = []
        self._busy_ns = self._stopwatch()
        try:
            while len(answers) < len(asks):  # once, but where some were forgotten meanwhile
                rest = asks[len(answers) :]
                answers += runner.batches.answer(rest[: max(size for size in sizes if size <= len(rest))])
                self._batches += 1
        except BaseException as error:
            self._call_soon(self._tell, runner, failed(asks[len(answers) :], f"the worker died: {error!r}"))
            raise
        self._busy_ns = 0
        for box, answer in zip(boxes, answers, strict=True):
            box.spare.append(answer.ask.window)
        if answers:
            with contextlib.suppress(RuntimeError):  # a loop that is closed needs no answers
                self._call_soon(self._tell, runner, answers)

    def _fail_pending(self, ready: list[Mailbox | Runner]) -> None:
        """What nobody will come to any more."""
        boxes = [one for one in ready if isinstance(one, Mailbox)]
        while self._queue.qsize():
            one = self._queue.get()
            if isinstance(one, Mailbox):
                boxes.append(one)
        for box in boxes:
            with self._lock:
                ask, box.pending = box.pending, None
            if ask is not None:
                self._tell(box.runner, failed((ask,), f"the worker died: {self._died}"))
