"""What one prediction costs by network and provider: batch 1 and 256 at once, one thread, graphs as exports make them.

The networks have the reference sizes and random weights, behind the default normaliser: time does not depend on what
was learned.  A lane copies a window into the bound buffer, runs, and reads the value out; ``model_cnn`` has the rest of
``predict`` beside it.  The two runtimes take turns within a round, so that neither has the calmer minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.figures import Reading, Target, clock_cost_ns, latency
from engine.errors import KestrelError
from models import networks
from models.manifest import FEATURES
from models.manifest_sections import Tensor
from models.providers.graph import OpenedGraph, Source
from models.providers.order import provider_of
from models.serving.batches import SIZES

TARGETS_US = {
    "cnn": (32, 60),
    "lstm": (320, 420),
    "attention": (240, 330),
    "ensemble": (600, 850),
    "step_gru": (25, 60),
}
"""p50 and p99 with ONNX Runtime."""
FASTER = ("cnn", "attention")
"""Where OpenVINO is to take at most ``RATIO`` of that."""
RATIO = 0.8
BATCH_MAX = SIZES[-1]
MANY = 256
MANY_US = {"cpu": 20.0, "openvino": 8.0}
"""A window, of 256 at once."""
_STRETCH = 250
"""Predictions in a row before the other runtime has its turn."""
_WINDOWS = 16


@dataclass(frozen=True)
class Lane:
    """A bound graph: ``call(i)`` is one prediction of window ``i``."""

    name: str
    call: Callable[[int], float]


def run(quick: bool) -> list[Reading]:
    """``serving_<network>`` and ``serving_<network>_openvino``; raises ``KestrelError`` without the trainer."""
    networks.require_torch()
    readings: list[Reading] = []
    for name in ("cnn", "lstm", "attention", "ensemble"):
        readings += _network(name, 500 if quick else 4_000)
    readings += _step_gru(500 if quick else 10_000)
    readings += _many(4 if quick else 30)
    return readings


def _network(name: str, count: int) -> list[Reading]:
    source = _exported(name)
    lanes, missing = [], []
    for provider in ("cpu", "openvino"):
        label = f"serving_{name}" + ("" if provider == "cpu" else f"_{provider}")
        try:
            lanes.append(Lane(label, _bound(provider_of(provider).open(source))))
        except KestrelError as error:
            missing.append(Reading(label, error=str(error)))
    times = _in_turns(lanes, count)
    p50_us, p99_us = TARGETS_US[name]
    readings = [
        latency(
            lane.name,
            times[lane.name],
            targets=(Target("p50", p50_us), Target("p99", p99_us)) if lane is lanes[0] else (),
        )
        for lane in lanes
    ]
    if len(lanes) == 2 and readings[0].p50 and readings[1].p50:
        ratio = readings[1].p50 / readings[0].p50
        targets = (Target("value", RATIO),) if name in FASTER else ()
        readings.append(
            Reading(f"serving_{name}_ratio", value=ratio, unit="of ONNX Runtime's p50", n=count, targets=targets)
        )
    return readings + missing


def _bound(graph: OpenedGraph) -> Callable[[int], float]:
    features = np.zeros((1, networks.WINDOW, networks.COLUMNS), np.float32)
    said = np.zeros((1, 1), np.float32)
    compute = graph.bind([features], [said])
    windows, row = _windows(_WINDOWS), features[0]

    def call(number: int) -> float:
        row[:] = windows[number % _WINDOWS]
        compute()
        return said.item()

    return call


def _step_gru(count: int) -> list[Reading]:
    """One row through the step graph, with the state copied back as whoever serves it must."""
    source, layers, hidden = _exported_steps()
    features = np.zeros((1, 1, networks.COLUMNS), np.float32)
    said = np.zeros((1, 1), np.float32)
    before, after = (np.zeros((layers, 1, hidden), np.float32) for _ in range(2))
    compute = provider_of("cpu").open(source).bind([features, before], [said, after])
    rows = _windows(_WINDOWS)[:, 0]

    def call(number: int) -> float:
        features[0, 0] = rows[number % _WINDOWS]
        compute()
        before[:] = after
        return said.item()

    p50_us, p99_us = TARGETS_US["step_gru"]
    times = _in_turns([Lane("serving_step_gru", call)], count)["serving_step_gru"]
    note = f"{layers} layers of {hidden}, one direction, state carried"
    return [latency("serving_step_gru", times, targets=(Target("p50", p50_us), Target("p99", p99_us)), note=note)]


def _many(count: int) -> list[Reading]:
    """256 instruments' windows through the CNN, in batches of the worker's size: what a core's cache holds."""
    source = _exported("cnn")
    windows = _windows(MANY)
    readings, lanes = [], []
    for provider in ("cpu", "openvino"):
        name = f"serving_cnn_{MANY}" + ("" if provider == "cpu" else f"_{provider}")
        try:
            lanes.append(Lane(name, _batches(provider_of(provider).open(source), windows)))
        except KestrelError as error:
            readings.append(Reading(name, error=str(error)))
    times = _in_turns(lanes, count * MANY // BATCH_MAX, stretch=MANY // BATCH_MAX)
    for lane in lanes:
        bound_us = MANY_US["openvino" if lane.name.endswith("_openvino") else "cpu"]
        each = float(np.median(times[lane.name])) / BATCH_MAX / 1e3
        readings.append(
            Reading(
                lane.name,
                value=each,
                unit="us a window",
                n=count * MANY,
                targets=(Target("value", bound_us),),
                note=f"in batches of {BATCH_MAX}, as the worker makes them; the median batch",
            )
        )
    return readings


def _batches(graph: OpenedGraph, windows: Any) -> Callable[[int], float]:
    features = np.zeros((BATCH_MAX, *windows.shape[1:]), np.float32)
    said = np.zeros((BATCH_MAX, 1), np.float32)
    compute = graph.bind([features], [said])
    every = np.zeros(len(windows), np.float32)

    def call(number: int) -> float:
        first = number * BATCH_MAX % len(windows)
        features[:] = windows[first : first + BATCH_MAX]
        compute()
        every[first : first + BATCH_MAX] = said[:, 0]
        return float(every[first])

    return call


def _in_turns(lanes: list[Lane], count: int, stretch: int = _STRETCH) -> dict[str, list[int]]:
    """Nanoseconds of ``count`` calls of each lane, in stretches by turns, after one stretch to warm up."""
    overhead_ns = clock_cost_ns()
    times: dict[str, list[int]] = {lane.name: [] for lane in lanes}
    for lane in lanes:
        for number in range(stretch):
            lane.call(number)
    for begin in range(0, count, stretch):
        for lane in lanes if begin // stretch % 2 == 0 else reversed(lanes):
            for number in range(begin, min(begin + stretch, count)):
                before = time.perf_counter_ns()
                lane.call(number)
                times[lane.name].append(max(time.perf_counter_ns() - before - overhead_ns, 0))
    return times


def _windows(count: int) -> Any:
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, networks.WINDOW, networks.COLUMNS)).astype(np.float32)


@cache
def _exported(name: str) -> Source:
    import torch

    from models.networks.exported import Exported, Member, Output, Reading
    from models.networks.served import Normaliser
    from models.trainer.export import export_forecast

    torch.manual_seed(1)
    kinds = ["price", *["plain"] * (networks.COLUMNS - 1)]
    member = Member(_as_learned(networks.build(name)), (Reading(),))
    exported = Exported(Normaliser(kinds, 0), [member], [Output("p_up", "probability", 0, 1)])
    graph = export_forecast(exported, networks.WINDOW, networks.COLUMNS)
    inputs = (Tensor(FEATURES, (-1, networks.WINDOW, networks.COLUMNS), "float32"),)
    return Source(f"{name}@benchmark", graph.content, inputs, (Tensor("p_up", (-1, 1), "float32"),), "fp32")


def _as_learned(network: Any) -> Any:
    """With biases that are not the zeros of before training, which an export would leave out."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


@cache
def _exported_steps() -> tuple[Source, int, int]:
    import torch

    from models.networks.exported import Exported, Member, Output, Reading, Steps
    from models.networks.normalisers import Unscaled
    from models.trainer.export import export_steps
    from models.trainer.graphs import ends

    torch.manual_seed(1)
    network = _as_learned(networks.build("gru", bidirectional=False))
    exported = Exported(
        Unscaled(networks.COLUMNS), [Member(network, (Reading(),))], [Output("p_up", "probability", 0, 1)]
    )
    steps = Steps(exported)
    graph = export_steps(steps, networks.COLUMNS)
    return Source("gru@benchmark", graph.content, *ends(graph), "fp32"), steps.layers, steps.hidden


def profile(name: str) -> list[str]:
    """Where a prediction of the reading's network goes in ONNX Runtime: its own nodes by time."""
    network = name.removeprefix("serving_").split("_", 1)[0]
    return _nodes(_exported(network)) if network in TARGETS_US else ["no profile of its own"]


def _nodes(source: Source) -> list[str]:
    import json
    import tempfile
    from collections import Counter
    from pathlib import Path

    from models.providers.onnx_runtime import CpuGraph, open_session, session_options

    with tempfile.TemporaryDirectory() as folder:
        options = session_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(source, options=options)
        call = _bound(CpuGraph(session, source))
        runs = 200
        for number in range(runs):
            call(number)
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    total = sum(spent.values()) or 1
    return ["ONNX Runtime's own profile, which adds its own to each node:"] + [
        f"  {us / runs:7.2f} us  {100 * us / total:4.0f} %  {name}" for name, us in spent.most_common(6)
    ]
