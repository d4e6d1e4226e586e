"""What the loop feels of a model that is opened while it trades: ``python -m benchmarks.opening BUNDLE...``

Four ways: in the loop, in a thread, both of the graph as it is and of one that was optimised before, and beside them a
spare process that predicts for the daemon.  A stall is the longest time that a thread which asks for the interpreter
each 0.1 ms had to wait; the control holds the interpreter all along and shows that a stall would be seen.  The numbers
are in docs/decisions (a model is opened in a thread).  Not part of ``bench``: it needs bundles of large networks.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from models.bundle import Bundle, load_bundle
from models.life.watcher import SWITCH_S
from models.onnx_model import OnnxModel

_ROUNDS: Final = 20
_ALL = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
_NONE = ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def _options(level: Any) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = level
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _open(graph: bytes, level: Any) -> Any:
    return ort.InferenceSession(graph, _options(level), providers=["CPUExecutionProvider"])


def _optimised(graph: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = _options(_ALL)
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


def stalls_ms(work: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Of each round: how long ``work`` took in a thread, and the longest wait of this one meanwhile."""
    took, waited = [], []
    for _ in range(_ROUNDS):
        ended: list[int] = []

        def run(ended: list[int] = ended) -> None:
            time.sleep(0.003)  # it would be over before the first look else
            begun_ns = time.perf_counter_ns()
            work()
            ended.append(time.perf_counter_ns() - begun_ns)

        thread = threading.Thread(target=run)
        thread.start()
        worst, last = 0, time.perf_counter_ns()
        while not ended:
            time.sleep(0.0001)
            now = time.perf_counter_ns()
            worst, last = max(worst, now - last), now
        thread.join()
        took.append(ended[0] / 1e6)
        waited.append(worst / 1e6)
    return took, waited


def _say(name: str, took: list[float], waited: list[float]) -> None:
    print(f"  {name:<28} took {median(took):7.2f} ms   stall {min(waited):6.2f} least, {median(waited):6.2f} median")


def _in_loop_ms(work: Callable[[], object]) -> list[float]:
    samples = []
    for _ in range(_ROUNDS):
        begun_ns = time.perf_counter_ns()
        work()
        samples.append((time.perf_counter_ns() - begun_ns) / 1e6)
    return samples


def _serve(path: str, name: str, asked: Any, answered: Any) -> None:
    """The spare process: a byte asks, a byte answers, the window and the value lie in shared memory."""
    bundle = load_bundle(path)
    model = OnnxModel(bundle)
    memory = SharedMemory(name)
    shape = (bundle.spec.window, len(bundle.spec.columns))
    window = np.ndarray(shape, np.float32, memory.buf)
    value = np.ndarray(1, np.float64, memory.buf, window.nbytes)
    while os.read(asked.fileno(), 1) == b"?":
        value[0] = model.predict("BTC/USD@coinbase", window, 0, 0).values[0]
        os.write(answered.fileno(), b"!")
    memory.close()


def spare_process_us(bundle: Bundle, count: int = 2_000) -> tuple[float, float, float]:
    """Median of a prediction inline, then median and p99 of one by a process of its own, us."""
    window = np.frombuffer(bundle.golden.window, "<f4").reshape(bundle.spec.window, len(bundle.spec.columns))
    model = OnnxModel(bundle)
    inline = []
    for _ in range(count):
        begun_ns = time.perf_counter_ns()
        model.predict("BTC/USD@coinbase", window, 0, 0)
        inline.append((time.perf_counter_ns() - begun_ns) / 1e3)
    context = multiprocessing.get_context("spawn")
    memory = SharedMemory(create=True, size=window.nbytes + 8)
    ask_end, asked = context.Pipe()
    answer_end, answered = context.Pipe()
    process = context.Process(target=_serve, args=(str(bundle.path), memory.name, asked, answered), daemon=True)
    process.start()
    shared = np.ndarray(window.shape, np.float32, memory.buf)
    samples = []
    for _ in range(count + 100):
        begun_ns = time.perf_counter_ns()
        shared[:] = window
        os.write(ask_end.fileno(), b"?")
        os.read(answer_end.fileno(), 1)
        samples.append((time.perf_counter_ns() - begun_ns) / 1e3)
    os.write(ask_end.fileno(), b".")
    process.join(10)
    del shared
    memory.close()
    memory.unlink()
    spare = sorted(samples[100:])
    return median(inline), median(spare), spare[int(0.99 * len(spare))]


def main(paths: list[str]) -> int:
    print(f"onnxruntime {ort.__version__}, Python {sys.version.split()[0]}, {_ROUNDS} rounds")
    draws = random.Random(1)
    data = [draws.random() for _ in range(60_000)]
    _say("control: holds it", *stalls_ms(lambda: sorted(data)))
    _say("control: sleeps", *stalls_ms(lambda: time.sleep(0.02)))
    for path in paths:
        bundle = load_bundle(path)
        optimised = _optimised(bundle.graph)
        print(f"{bundle.manifest.training.network} ({len(bundle.graph) / 1e6:.1f} MB)")
        for name, graph, level in (("as it is", bundle.graph, _ALL), ("optimised before", optimised, _NONE)):
            in_loop = _in_loop_ms(lambda graph=graph, level=level: _open(graph, level))  # type: ignore[misc]
            print(f"  {'in the loop, ' + name:<28} took {median(in_loop):7.2f} ms, all of it a stall")
            _say(f"in a thread, {name}", *stalls_ms(lambda graph=graph, level=level: _open(graph, level)))  # type: ignore[misc]
        _say("in a thread, golden tape", *stalls_ms(lambda bundle=bundle: OnnxModel(bundle)))  # type: ignore[misc]
        before_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        _say("the same, switched sooner", *stalls_ms(lambda bundle=bundle: OnnxModel(bundle)))  # type: ignore[misc]
        sys.setswitchinterval(before_s)
        inline, spare, spare_p99 = spare_process_us(bundle)
        print(f"  one prediction: inline {inline:.0f} us, by a spare process {spare:.0f} us (p99 {spare_p99:.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
