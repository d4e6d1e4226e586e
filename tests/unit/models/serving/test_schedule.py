from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.bundle import load_bundle
from models.serving import schedule as scheduling
from models.serving.schedule import decide, measure_us, rows_coming, usable_cores
from models.serving.step import StepModel
from tests.unit.models.serving.gru import write_gru_bundle


@pytest.mark.parametrize(
    ("wanted", "time_us", "cores", "on_worker", "why"),
    [
        ("auto", 50.0, 2, False, "takes 50 us, up to 50 us run in the loop"),
        ("auto", 50.1, 2, True, "over 50 us, and there are 2 cores"),
        ("auto", 500.0, 1, False, "no second core"),
        ("inline", 500.0, 8, False, "models.schedule says so; takes 500 us"),
        ("worker", 5.0, 1, True, "models.schedule says so; takes 5 us"),
    ],
)
def test_the_measured_time_decides_unless_the_settings_do(wanted, time_us, cores, on_worker, why):
    """Both sides of the limit, one core, and both overrides."""
    decided = decide(wanted, time_us, cores)
    assert decided.on_worker is on_worker
    assert why in decided.text
    assert decided.text.startswith("worker: " if on_worker else "inline: ")


def clock_of(times_us):
    """A stopwatch by which each run takes the next of ``times_us``; looks between runs take nothing."""
    now_ns = 0
    times = iter(times_us)

    def run():
        nonlocal now_ns
        now_ns += round(next(times) * 1000)

    return run, lambda: now_ns


def test_a_busy_neighbour_does_not_make_a_model_slow():
    """Of five blocks four are measured while somebody else takes the core: the one that was left alone counts, and of
    it the median."""
    noisy = [400.0] * 40
    run, stopwatch = clock_of([*noisy, *noisy, *([30.0] * 39), 9_000.0, *noisy, *noisy])
    assert measure_us(run, stopwatch) == pytest.approx(30.0)


def test_a_slow_model_is_measured_few_times():
    """Runs of 30 ms: three of them are enough to know."""
    counted = itertools.count()
    run, stopwatch = clock_of(30_000.0 for _ in counted)
    assert measure_us(run, stopwatch) == pytest.approx(30_000.0)
    assert next(counted) == 3


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 4), ("150000 100000", 1), ("200000 100000", 2), ("50000 100000", 1), ("?", 4)]
)
def test_a_quota_of_less_than_two_cores_is_one_core(tmp_path, monkeypatch, quota, cores):
    """What a container is allowed, on a machine of four cores; a file that nobody understands is no limit."""
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(scheduling, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {0, 1, 2, 3})
    assert usable_cores() == cores


def test_without_a_quota_there_are_the_cores_that_there_are(tmp_path, monkeypatch):
    """A machine without the file."""
    monkeypatch.setattr(scheduling, "_QUOTA", tmp_path / "missing")
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {3})
    assert usable_cores() == 1


def test_a_model_that_carries_a_state_has_a_row_to_compute_each_time(tmp_path, monkeypatch):
    """Measured on the same window again it took next to nothing; around the end it goes on."""
    bundle = load_bundle(write_gru_bundle(tmp_path / "gru"))
    model, runs = StepModel(bundle), []
    step = model._step
    monkeypatch.setattr(model, "_step", lambda *of: (runs.append(of), step(*of)))
    windows = rows_coming(np.frombuffer(bundle.golden.window, "<f4").reshape(bundle.spec.window, -1))
    model.predict("A", next(windows), 1, 1)
    runs.clear()
    for _ in range(2 * bundle.spec.window):
        model.predict("A", next(windows), 1, 1)
    assert len(runs) == 2 * bundle.spec.window
