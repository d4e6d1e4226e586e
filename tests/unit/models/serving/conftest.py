"""A worker with the loop's half played by the test: answers wait until they are asked for."""

from __future__ import annotations

import threading
import time
from queue import Queue

import numpy as np
import pytest

from models.bundle import load_bundle
from models.golden import run_tape
from models.onnx_model import OnnxModel
from models.serving.off_loop import OffLoopModel
from models.serving.worker import Worker

PATIENCE_S = 30.0


@pytest.fixture(scope="session")
def bundle():
    return load_bundle("models/artifacts/demo-crypto")


@pytest.fixture(scope="session")
def windows(bundle):
    """The windows of the golden tape."""
    made = []

    def keep(window):
        made.append(window.copy())
        return (0.0,)

    run_tape(bundle.spec, bundle.golden.instrument, bundle.golden.events, keep)
    return np.array(made)


class Desk:
    """A worker, a model on it, and what was published.  ``hold`` keeps the thread at its next batch."""

    def __init__(self, bundle, deadline_us=None):
        self.now_ns = 1_000
        self.elapsed_ns = 0
        self.published = []
        self.batches = []
        self.entered = threading.Semaphore(0)
        self._calls = Queue()
        self._free = threading.Event()
        self._free.set()
        self.worker = Worker(stopwatch=lambda: self.elapsed_ns)
        self.model = OffLoopModel(OnnxModel(bundle), self.worker, deadline_us, 25.0)
        self.runner = self.model._runner
        self._real = self.runner.batches
        self.runner.batches = self
        self.sizes = self._real.sizes
        self.broken = None

    def start(self):
        self.worker.start(
            self.published.append, lambda: self.now_ns, lambda call, *given: self._calls.put((call, given))
        )
        return self

    def answer(self, asks):
        """In the worker's thread."""
        self.batches.append([ask.row_ns for ask in asks])
        self.entered.release()
        self._free.wait(PATIENCE_S)
        if self.broken is not None:
            raise self.broken
        return self._real.answer(asks)

    def warm(self):
        """In the worker's thread."""
        self.entered.release()
        self._free.wait(PATIENCE_S)
        self._real.warm()

    def hold(self):
        self._free.clear()

    def go_on(self):
        self._free.set()

    def wait_until_it_runs(self):
        assert self.entered.acquire(timeout=PATIENCE_S)

    def wait_until_warm(self, runs):
        """So many runs for nothing are over."""
        until = time.monotonic() + PATIENCE_S
        while self.worker.warm_runs < runs:
            assert time.monotonic() < until
            time.sleep(0)

    def wake(self, count=1):
        """The loop's turn: so many wake-ups."""
        for _ in range(count):
            call, given = self._calls.get(timeout=PATIENCE_S)
            call(*given)
        return self.published


@pytest.fixture
def make_desk(bundle):
    made = []

    def make(**wanted):
        made.append(Desk(bundle, **wanted))
        return made[-1].start()

    yield make
    for one in made:
        one.go_on()
        one.worker.stop()


@pytest.fixture
def desk(make_desk):
    return make_desk()
