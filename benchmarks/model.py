"""What one prediction of the demo CNN costs through ``OnnxModel.predict``: in a tight loop, and once a millisecond.

Nothing else runs between two predictions, so both are what the model costs by itself; what it costs in a tick, where
the rest of the path takes its caches, is ``stage_model``.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.figures import Reading, clock_cost_ns, latency, time_each
from benchmarks.market import INSTRUMENT
from benchmarks.rig import ROOT
from engine.errors import KestrelError
from engine.events import PredictionStatus
from engine.ports import Float32Array
from models.catalogue import find_bundle
from models.onnx_model import OnnxModel

NOW_NS = 1_700_000_000_000_000_000
PERIOD_NS = 1_000_000


def _paced(model: OnnxModel, windows: list[Float32Array], overhead_ns: int) -> list[int]:
    samples = []
    due_ns = time.perf_counter_ns()
    for window in windows:
        due_ns = max(due_ns + PERIOD_NS, time.perf_counter_ns())
        time.sleep(max(due_ns - time.perf_counter_ns(), 0) / 1e9)
        before = time.perf_counter_ns()
        model.predict(INSTRUMENT.id, window, NOW_NS, NOW_NS)
        samples.append(max(time.perf_counter_ns() - before - overhead_ns, 0))
    return samples


def run(quick: bool) -> list[Reading]:
    """``model_cnn`` and ``model_cnn_paced``.  Raises ``KestrelError`` when a prediction fails."""
    count = 3_000 if quick else 10_000
    overhead_ns = clock_cost_ns()
    bundle = find_bundle(ROOT / "models" / "artifacts", INSTRUMENT)
    model = OnnxModel(bundle)
    shape = (bundle.spec.window, len(bundle.spec.columns))
    rng = np.random.default_rng(1)
    windows = [rng.standard_normal(shape).astype(np.float32) for _ in range(16)]
    if model.predict(INSTRUMENT.id, windows[0], NOW_NS, NOW_NS).status is not PredictionStatus.OK:
        raise KestrelError("the demo CNN does not predict", do="run python run.py models")
    arguments = [(INSTRUMENT.id, windows[number % 16], NOW_NS, NOW_NS) for number in range(count)]
    tight = time_each(model.predict, arguments, overhead_ns)
    slow = _paced(model, [windows[number % 16] for number in range(count // 10)], overhead_ns)
    if model.failed:
        raise KestrelError(f"{model.failed} predictions failed")
    note = f"{bundle.version}, window {shape[0]} x {shape[1]}, one thread"
    return [
        latency("model_cnn", tight, per_second=1e9 * len(tight) / sum(tight), note=note),
        latency("model_cnn_paced", slow),
    ]
