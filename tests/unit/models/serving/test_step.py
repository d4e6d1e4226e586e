from __future__ import annotations

import numpy as np
import pytest

from engine.errors import BundleError
from engine.events import PredictionStatus
from models.bundle import load_bundle
from models.onnx_model import OnnxModel
from models.serving.step import StepModel
from tests.unit.models.serving.gru import gru_weights, reference, write_gru_bundle

OK, LATE, FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_gru_bundle(tmp_path_factory.mktemp("steps") / "gru")


@pytest.fixture(scope="module")
def gru(place):
    return load_bundle(place)


@pytest.fixture(scope="module")
def rows(windows):
    """All rows behind the golden tape's windows, oldest first."""
    return np.concatenate([windows[0], windows[1:, -1]])


def test_the_steps_over_a_window_give_what_the_window_gives(gru, windows):
    """Each window of the golden tape begun from zeros, against the graph that reads windows."""
    steps, whole = StepModel(gru), OnnxModel(gru)
    for window in windows:
        steps.reset("A", "begin anew")
        assert steps.predict("A", window, 1, 2).values == pytest.approx(
            whole.predict("A", window, 1, 2).values, abs=1e-6
        )


def test_a_state_is_carried_from_row_to_row(gru, windows, rows):
    """One ask for each row: what comes is that of a network that has read all rows since the first, step by step."""
    steps, weights = StepModel(gru), gru_weights(gru)
    for number, window in enumerate(windows):
        said = steps.predict("A", window, number, number)
        assert said.status is OK
        assert said.values[0] == pytest.approx(reference(weights, rows[: 30 + number])[0], abs=1e-5)
    carried = steps.predict("A", windows[-1], 0, 0).values
    assert carried == said.values
    steps.reset("A", "swap")
    assert steps.predict("A", windows[-1], 0, 0).values != carried


def test_rows_that_nobody_asked_about_are_made_up_for(gru, windows):
    """Every fifth window only, as while a breaker is open: the same as with all of them."""
    every, some = StepModel(gru), StepModel(gru)
    for number, window in enumerate(windows):
        wanted = every.predict("A", window, 1, 1).values
        if number % 5 == 0:
            assert some.predict("A", window, 1, 1).values == wanted


def test_a_state_whose_rows_have_left_the_window_begins_anew(gru, windows):
    """A window of which no row was seen before: as after a reset."""
    steps, fresh = StepModel(gru), StepModel(gru)
    steps.predict("A", windows[0], 1, 1)
    other = windows[5] * np.float32(1.001)
    assert steps.predict("A", other, 1, 1).values == fresh.predict("A", other, 1, 1).values


def test_instruments_and_twins_have_states_of_their_own(gru, windows):
    """Two instruments in turns, and a shadow between them: none of them moves another's state."""
    alone, both = StepModel(gru), StepModel(gru)
    shadow = both.twin()
    for number, window in enumerate(windows[:10]):
        wanted = alone.predict("A", window, 1, 1).values
        assert both.predict("A", window, 1, 1).values == wanted
        both.predict("B", windows[-1 - number], 1, 1)
        shadow.predict("A", windows[-1 - number], 1, 1)
    assert (both.count, both.failed, shadow.count) == (20, 0, 10)


def test_a_market_that_stands_still_moves_the_state_on(gru, windows):
    """The same row again and again is one more step each time, not a state that begins anew."""
    steps, weights = StepModel(gru), gru_weights(gru)
    for repeats in range(5):
        rows = np.concatenate([windows[0], np.repeat(windows[0][-1:], repeats, axis=0)])
        said = steps.predict("A", rows[-30:], repeats, repeats).values[0]
        assert said == pytest.approx(reference(weights, rows)[0], abs=1e-6)


@pytest.mark.fault("E1")
def test_a_row_that_is_no_number_fails_and_leaves_no_state_behind(gru, windows):
    """A NaN in the newest row: failed; the next window begins anew and is right."""
    steps, fresh = StepModel(gru), StepModel(gru)
    steps.predict("A", windows[0], 1, 1)
    broken = windows[1].copy()
    broken[-1, 3] = np.nan
    failed = steps.predict("A", broken, 1, 1)
    assert (failed.status, failed.values) == (FAILED, ())
    assert "not finite" in failed.text
    assert steps.predict("A", windows[1], 1, 1).values == fresh.predict("A", windows[1], 1, 1).values
    assert steps.failed == 1


@pytest.mark.fault("E4")
def test_steps_over_their_deadline_are_late(gru, windows):
    """A stopwatch that advances 100 us a look, against 99 us."""
    times = iter(range(0, 10**9, 100_000))
    steps = StepModel(gru, deadline_us=99, stopwatch=lambda: next(times))
    late = steps.predict("A", windows[0], 1, 1)
    assert late.status is LATE
    assert len(late.values) == 1


def test_a_window_of_another_shape_fails_and_is_not_raised(gru, windows):
    """One row and one column too few."""
    steps = StepModel(gru)
    assert steps.predict("A", windows[0][1:, 1:], 1, 1).status is FAILED
    assert steps.predict("A", windows[0], 1, 1).status is OK


def test_what_was_trained_on_windows_is_refused_unless_its_manifest_allows_it(tmp_path, bundle):
    """A bundle with a graph of steps and no word that it may be carried; one without such a graph."""
    place = write_gru_bundle(tmp_path / "windowed", carried=False)
    with pytest.raises(BundleError, match=r"trained and judged on windows.*step\.carried"):
        StepModel(load_bundle(place))
    with pytest.raises(BundleError, match="no graph of single steps: was made before there were any"):
        StepModel(bundle)


@pytest.mark.fault("E6")
def test_steps_of_other_weights_are_refused_with_how_much(tmp_path):
    """The graph of steps has its weights 1 % larger, under its right hash."""
    place = write_gru_bundle(tmp_path / "other", scale=1.01)
    with pytest.raises(BundleError, match="off the golden tape"):
        StepModel(load_bundle(place))
