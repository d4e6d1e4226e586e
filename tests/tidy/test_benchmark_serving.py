"""The benchmarks of predictions: lanes take turns, and the batch from which a GPU wins is read off the rows."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import gpu, serving
from benchmarks.serving import Lane

ROOT = Path(__file__).resolve().parents[2]


def test_lanes_take_turns_and_each_call_is_timed() -> None:
    """Two lanes, one that takes a millisecond longer: stretches alternate, there and back, and no call is left out."""
    order: list[str] = []

    def slow(number: int) -> float:
        order.append("slow")
        end_ns = time.perf_counter_ns() + 1_000_000
        while time.perf_counter_ns() < end_ns:
            pass
        return float(number)

    def fast(number: int) -> float:
        order.append("fast")
        return float(number)

    times = serving._in_turns([Lane("fast", fast), Lane("slow", slow)], 6, stretch=2)
    assert [len(times[name]) for name in ("fast", "slow")] == [6, 6]
    assert min(times["slow"]) >= 900_000  # the clock's own cost is taken off
    warm_up, rounds = order[:4], order[4:]
    assert warm_up == ["fast", "fast", "slow", "slow"]
    assert rounds == ["fast"] * 2 + ["slow"] * 4 + ["fast"] * 4 + ["slow"] * 2


def test_the_page_has_what_it_is_written_of() -> None:
    """``bench --write`` takes the section on serving from its file: what is written into the page alone is lost."""
    section = (ROOT / "benchmarks" / "serving.md").read_text(encoding="utf-8")
    assert section.strip() in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def test_the_batch_from_which_a_gpu_wins() -> None:
    """The best of each side counts; a way that failed does not; none is none."""
    rows = [
        {"network": "cnn", "way": "ort cpu, one thread", "batch": 1, "p50_us": 30.0},
        {"network": "cnn", "way": "torch eager", "batch": 1, "p50_us": 300.0},
        {"network": "cnn", "way": "ort cpu, one thread", "batch": 64, "p50_us": 900.0},
        {"network": "cnn", "way": "torch cuda graph", "batch": 64, "p50_us": 60.0},
        {"network": "cnn", "way": "ort tensorrt", "batch": 1, "error": "not in this runtime"},
        {"network": "lstm", "way": "torch cpu, one thread", "batch": 1, "p50_us": 10.0},
        {"network": "lstm", "way": "torch eager", "batch": 1, "p50_us": 20.0},
    ]
    assert gpu._wins(rows) == {"cnn": 64, "lstm": None}


def test_a_timed_way_tells_percentiles_and_runs(monkeypatch) -> None:
    """Within its budget; the warm-up is not among the runs."""
    monkeypatch.setattr(gpu, "_WAY_S", 10.0)
    monkeypatch.setattr(gpu, "_RUNS_MAX", 50)
    calls: list[int] = []
    row = gpu._timed(lambda: calls.append(1))
    assert len(calls) == row["runs"] + gpu._WARM_UP
    assert row["runs"] == 50
    assert 0 <= row["p50_us"] <= row["p99_us"]
