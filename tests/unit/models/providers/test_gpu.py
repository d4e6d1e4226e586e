"""Device buffers with the CPU as the device, and a runtime that captures as the GPU's does."""

from __future__ import annotations

import threading
import time
from queue import Queue

import numpy as np
import pytest

from models.providers.capturing import CAPTURES, Captures
from models.providers.gpu import DeviceGraph
from models.providers.graph import source_of
from models.providers.onnx_runtime import open_session
from tests.support.journals import wait_until

PATIENCE_S = 30.0


class _Driver:
    """Who is at work on the device; ``met``: captures during which anybody else was."""

    def __init__(self):
        self.lock = threading.Lock()
        self.at_work = 0
        self.met = []


class _Captured:
    """The CPU's session.  Captures what has not run before with these options in this thread, as the runtime on a GPU
    does."""

    def __init__(self, real, driver):
        self.real = real
        self.driver = driver
        self._sess = self
        self.captures = []
        self.known = set()

    def io_binding(self):
        return self.real.io_binding()

    def get_providers(self):
        return ["CUDAExecutionProvider"]

    def run_with_iobinding(self, binding, options):
        number, driver = options.get_run_config_entry("gpu_graph_id"), self.driver
        key = number, threading.get_ident()
        with driver.lock:
            driver.at_work += 1
        if number != "-1" and key not in self.known:
            self.known.add(key)
            self.captures.append(number)
            for _ in range(20):
                time.sleep(0)
                if driver.at_work > 1:
                    driver.met.append(number)
        self.real._sess.run_with_iobinding(getattr(binding, "_iobinding", binding), options)
        with driver.lock:
            driver.at_work -= 1


@pytest.fixture
def driver():
    return _Driver()


@pytest.fixture
def make_graph(bundle, driver):
    source = source_of(bundle)

    def make():
        session = _Captured(open_session(source), driver)
        return DeviceGraph("cuda", "the CPU", session, source, captured=True, device_type="cpu")

    return make


@pytest.fixture
def graph(make_graph):
    return make_graph()


def arrays(window, batch=1):
    return [np.repeat(window[None], batch, axis=0)], [np.zeros((batch, 1), np.float32)]


def test_each_set_of_buffers_is_captured_once_in_each_thread_that_runs_it(graph, window):
    """Where it is bound, and in another thread at its first run: the runtime keeps captures by thread."""
    run, other = graph.bind(*arrays(window)), graph.bind(*arrays(window, 2))
    for _ in range(3):
        run()
        other()
    assert graph.session.captures == ["1", "2"]
    thread = threading.Thread(target=lambda: [run() for _ in range(3)])
    thread.start()
    thread.join()
    assert graph.session.captures == ["1", "2", "1"]


def test_nobody_is_at_work_while_launches_are_captured(make_graph, driver, window):
    """One model serves from a thread without a pause while another one is opened: the driver would refuse both."""
    serves, stop, runs = make_graph().bind(*arrays(window)), threading.Event(), []

    def serve():
        while not stop.is_set():
            serves()
            runs.append(1)

    thread = threading.Thread(target=serve)
    thread.start()
    opened = make_graph()
    try:
        for batch in (1, 2, 4, 8):
            opened.bind(*arrays(window, batch))
    finally:
        stop.set()
        thread.join(PATIENCE_S)
    assert opened.session.captures == ["1", "2", "3", "4"]
    assert runs
    assert driver.met == []


def test_who_predicts_does_not_wait_for_a_session_that_is_made_elsewhere(graph, window):
    """That takes seconds: a thread's first runs meanwhile are right and not captured, and the first one after is."""
    inputs, outputs = arrays(window)
    run, said, asked = graph.bind(inputs, outputs), [], Queue()
    run()
    wanted = outputs[0].copy()

    def predict():
        while asked.get(timeout=PATIENCE_S):
            outputs[0][:] = 0.0
            run()
            said.append(outputs[0].copy())

    thread = threading.Thread(target=predict)
    thread.start()
    with CAPTURES.beside():
        asked.put(True)
        asked.put(True)
        wait_until(lambda: len(said) == 2)
        assert graph.session.captures == ["1"]
    asked.put(True)
    asked.put(True)
    asked.put(False)
    thread.join(PATIENCE_S)
    assert graph.session.captures == ["1", "1"]
    np.testing.assert_array_equal(said, [wanted] * 4)


def test_who_captures_waits_for_who_is_at_work_and_goes_before_who_comes_later():
    """Two at work, one that wants to capture, one that comes after it."""
    captures, order = Captures(), []
    leave = threading.Event()
    entered = threading.Semaphore(0)

    def work():
        with captures.beside():
            entered.release()
            leave.wait(PATIENCE_S)
        order.append("worked")

    def capture():
        with captures.alone():
            order.append("captured")

    def come():
        with captures.beside():
            order.append("came")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert entered.acquire(timeout=PATIENCE_S)
    threads += [threading.Thread(target=capture)]
    threads[-1].start()
    wait_until(lambda: captures._waiting)
    threads += [threading.Thread(target=come)]
    threads[-1].start()
    leave.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order.index("captured") < order.index("came")
    with captures.alone(), pytest.raises(TimeoutError):
        _soon(captures)
    _soon(captures)


def _soon(captures):
    """Raises where nobody may work now."""
    done = threading.Event()

    def work():
        with captures.beside():
            done.set()

    threading.Thread(target=work, daemon=True).start()
    if not done.wait(0.05):
        raise TimeoutError


def test_a_run_that_leaves_the_results_alone_gives_no_number(graph, window, monkeypatch):
    """A runtime that computes into other buffers: what comes out is refused by whoever reads it, and is none of
    before."""
    inputs, outputs = arrays(window)
    monkeypatch.setattr(graph.session, "run_with_iobinding", lambda binding, options: None)
    graph.bind(inputs, outputs)()
    assert np.isnan(outputs[0]).all()
