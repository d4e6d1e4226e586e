from __future__ import annotations

import numpy as np
import pytest

from engine.events import PredictionStatus
from models.onnx_model import OnnxModel
from models.serving.off_loop import OffLoopModel
from models.serving.worker import STUCK_NS, Worker

OK, LATE, FAILED = PredictionStatus.OK, PredictionStatus.LATE, PredictionStatus.FAILED


def test_the_answer_comes_as_an_event_with_the_rows_times_and_the_arrivals(desk, bundle, windows):
    """One window through the thread: the value is that of the loop's own model, bit for bit."""
    assert desk.model.predict("A", windows[0], 11, 12) is None
    desk.now_ns = 99
    (made,) = desk.wake()
    assert (made.ts_event_ns, made.ts_recv_ns, made.row_event_ns, made.row_ns) == (99, 99, 11, 12)
    assert (made.instrument, made.model, made.status, made.text) == ("A", bundle.version, OK, "")
    assert made.values == OnnxModel(bundle).predict("A", windows[0], 11, 12).values


def test_the_window_is_copied_when_the_model_is_asked(desk, bundle, windows):
    """The ring is written on while the thread is busy: the answer is that of the window as it was."""
    desk.hold()
    ring = windows[0].copy()
    desk.model.predict("A", ring, 1, 1)
    ring[:] = windows[-1]
    desk.go_on()
    assert desk.wake()[0].values == OnnxModel(bundle).predict("A", windows[0], 1, 1).values


def test_the_latest_window_of_an_instrument_wins_and_those_before_it_are_counted(desk, windows):
    """While the first one runs, five more come: only the last of them is run after it."""
    desk.hold()
    for row in range(6):
        desk.model.predict("A", windows[row], row, row)
        if row == 0:
            desk.wait_until_it_runs()
    desk.go_on()
    assert [made.row_ns for made in desk.wake(2)] == [0, 5]
    counts = desk.worker.counts
    assert (counts["asked"], counts["answered"], counts["superseded"], counts["dropped"]) == (6, 2, 4, 0)


def test_what_is_pending_of_several_instruments_goes_as_one_batch_of_a_fixed_size(desk, bundle, windows):
    """Eleven instruments wait behind a run: eight together, then two, then one, each batch with one wake-up."""
    desk.hold()
    desk.model.predict("first", windows[0], 0, 0)
    desk.wait_until_it_runs()
    for number in range(11):
        desk.model.predict(f"I{number}", windows[number % len(windows)], number, number)
    desk.go_on()
    desk.wake(4)
    assert [len(batch) for batch in desk.batches] == [1, 8, 2, 1]
    inline = OnnxModel(bundle)
    for made in desk.published[1:]:
        number = int(made.instrument[1:])
        assert made.row_ns == number
        alone = inline.predict("x", windows[number % len(windows)], 0, 0).values
        assert made.values == pytest.approx(alone, abs=bundle.manifest.tolerance.outputs_abs)


def test_a_window_that_is_wrong_fails_alone(desk, windows):
    """Three windows in the air, one of them with a NaN: the two others have their answers."""
    desk.hold()
    desk.model.predict("first", windows[0], 0, 0)
    desk.wait_until_it_runs()
    broken = windows[1].copy()
    broken[3, 3] = np.nan
    for name, window in (("A", windows[1]), ("B", broken)):
        desk.model.predict(name, window, 1, 1)
    desk.go_on()
    desk.wake(2)
    said = {made.instrument: made for made in desk.published}
    assert (said["A"].status, said["B"].status) == (OK, FAILED)
    assert "not finite" in said["B"].text
    assert said["B"].values == ()


@pytest.mark.fault("E4")
def test_the_deadline_counts_from_the_ask_to_the_arrival_in_the_loop(make_desk, windows):
    """A deadline of 100 us: one answer arrives after 100 us, one after 101 us, of which most was waiting."""
    desk = make_desk(deadline_us=100)
    for elapsed_ns in (100_000, 101_000):
        desk.elapsed_ns = 0
        desk.model.predict("A", windows[0], 1, 1)
        desk.wait_until_it_runs()
        desk.elapsed_ns = elapsed_ns
        desk.wake()
    in_time, late = desk.published
    assert (in_time.status, late.status) == (OK, LATE)
    assert in_time.values == late.values
    assert desk.worker.counts["late"] == 1


@pytest.mark.fault("E4")
def test_a_run_that_does_not_end_fails_what_is_asked_meanwhile_and_says_so(desk, windows):
    """The thread is at one batch for longer than a second: nobody waits in silence."""
    desk.elapsed_ns = 5
    desk.hold()
    desk.model.predict("A", windows[0], 1, 1)
    desk.wait_until_it_runs()
    desk.elapsed_ns += STUCK_NS
    desk.model.predict("A", windows[1], 2, 2)
    assert desk.published == []
    desk.elapsed_ns += 1
    desk.model.predict("A", windows[2], 3, 3)
    (failed,) = desk.published
    assert (failed.status, failed.row_ns) == (FAILED, 3)
    assert "at one run for 1.0 s" in failed.text


@pytest.mark.fault("E4")
def test_a_run_for_nothing_that_does_not_end_fails_what_is_asked_meanwhile_and_says_so(desk, windows):
    """A shadow has the model run for nothing, and the runtime hangs: the asks of a live strategy are told."""
    desk.elapsed_ns = 1_000_000
    desk.hold()
    desk.model.twin().predict("A", windows[0], 1, 1)
    desk.wait_until_it_runs()
    desk.model.predict("A", windows[0], 2, 2)
    assert desk.published == []
    desk.elapsed_ns += STUCK_NS + 1
    desk.model.predict("A", windows[1], 3, 3)
    (failed,) = desk.published
    assert (failed.status, failed.row_ns) == (FAILED, 3)
    assert "at one run for 1.0 s" in failed.text
    desk.go_on()
    assert (desk.wake()[1].status, desk.published[1].row_ns) == (OK, 2)
    desk.wait_until_warm(1)
    desk.model.predict("A", windows[1], 4, 4)
    assert desk.wake()[2].status is OK


def test_a_mailbox_that_was_forgotten_and_asked_again_waits_once(desk, windows):
    """Gap after gap while the thread is busy: in the queue twice, one batch could take two windows of one mailbox."""
    desk.hold()
    desk.model.predict("first", windows[0], 0, 0)
    desk.wait_until_it_runs()
    for row in range(1, 5):
        desk.model.predict("A", windows[row], row, row)
        desk.model.reset("A", "gap")
    desk.model.predict("A", windows[5], 5, 5)
    assert desk.worker._queue.qsize() == 1
    desk.go_on()
    assert [made.row_ns for made in desk.wake(2)] == [0, 5]
    desk.model.predict("A", windows[6], 6, 6)
    assert desk.wake()[2].row_ns == 6
    assert len(desk.model._boxes["A"].spare) == 3
    assert desk.worker.counts["dropped"] == 4


def test_an_ask_without_a_window_to_write_into_is_superseded_and_nothing_is_raised(desk, windows):
    """No window is spare, which only a defect of ours could bring about: the core is not halted by it."""
    desk.hold()
    desk.model.predict("A", windows[0], 1, 1)
    desk.wait_until_it_runs()
    spare = desk.model._boxes["A"].spare
    kept = list(spare)
    spare.clear()
    assert desk.model.predict("A", windows[1], 2, 2) is None
    spare.extend(kept)
    desk.go_on()
    assert [made.row_ns for made in desk.wake()] == [1]
    counts = desk.worker.counts
    assert (counts["asked"], counts["answered"], counts["superseded"]) == (2, 1, 1)


def test_a_window_of_another_shape_is_a_failed_prediction(desk, windows):
    """29 rows instead of 30: nothing is raised into the core."""
    assert desk.model.predict("A", windows[0][1:], 1, 1) is None
    assert desk.published[0].status is FAILED
    desk.model.predict("A", windows[0], 2, 2)
    assert desk.wake()[1].status is OK


def test_a_runtime_that_raises_fails_the_batch_and_the_thread_goes_on(desk, windows):
    """A run that raises, then one that does not."""
    bound = desk._real._bound[1]
    run, bound.run = bound.run, lambda: (_ for _ in ()).throw(RuntimeError("device lost"))
    desk.model.predict("A", windows[0], 1, 1)
    assert (desk.wake()[0].status, desk.published[0].text) == (FAILED, "RuntimeError: device lost")
    bound.run = run
    desk.model.predict("A", windows[0], 2, 2)
    assert desk.wake()[1].status is OK
    assert desk.worker.counts["failed"] == 1


def test_a_thread_that_dies_fails_what_runs_what_waits_and_what_comes(desk, windows):
    """A defect that no handler of ours takes: never a silent stop."""
    desk.hold()
    desk.broken = SystemExit("gone")
    desk.model.predict("A", windows[0], 1, 1)
    desk.wait_until_it_runs()
    desk.model.predict("B", windows[0], 2, 2)
    desk.go_on()
    desk.wake(2)
    desk.model.predict("A", windows[0], 3, 3)
    assert [(made.row_ns, made.status) for made in desk.published] == [(1, FAILED), (2, FAILED), (3, FAILED)]
    assert all("the worker died" in made.text for made in desk.published)


def test_at_the_end_the_run_is_waited_for_and_what_is_pending_is_dropped_and_counted(desk, windows):
    """One in the air, one pending: neither is told after the end, and asking then is harmless."""
    desk.hold()
    desk.model.predict("A", windows[0], 1, 1)
    desk.wait_until_it_runs()
    desk.model.predict("A", windows[1], 2, 2)
    desk.go_on()
    desk.worker.stop()
    thread = desk.worker._thread
    assert not thread.is_alive()
    while not desk._calls.empty():
        desk.wake()
    desk.model.predict("A", windows[0], 3, 3)
    desk.worker.stop()
    assert desk.published == []
    assert desk.worker.counts["dropped"] == 2


def test_a_gap_takes_back_what_is_pending_of_that_instrument_alone(desk, windows):
    """Two instruments wait; the feed of one has a hole."""
    desk.hold()
    desk.model.predict("first", windows[0], 0, 0)
    desk.wait_until_it_runs()
    for name in "AB":
        desk.model.predict(name, windows[0], 1, 1)
    desk.model.reset("A", "gap")
    desk.model.predict("A", windows[1], 2, 2)
    desk.model.reset("A", "gap")
    desk.go_on()
    desk.wake(2)
    assert [made.instrument for made in desk.published] == ["first", "B"]
    desk.model.predict("A", windows[0], 3, 3)
    assert desk.wake()[-1].row_ns == 3
    assert desk.worker.counts["dropped"] == 2


def test_two_models_share_the_thread_and_no_batch(desk, bundle, windows):
    """Windows of two versions wait in turns: each batch is of one of them, nobody is passed over."""
    other = OffLoopModel(OnnxModel(bundle), desk.worker, None, 25.0)
    desk.hold()
    desk.model.predict("first", windows[0], 0, 0)
    desk.wait_until_it_runs()
    for number in range(4):
        (desk.model, other)[number % 2].predict(f"I{number}", windows[number], number, number)
    desk.go_on()
    desk.wake(3)
    assert [made.instrument for made in desk.published] == ["first", "I0", "I2", "I1", "I3"]


def test_windows_of_many_asks_never_mix(desk, bundle, windows):
    """Two thousand asks as fast as the test can: each answer is that of the very window that was asked about."""
    inline = OnnxModel(bundle)
    right = [inline.predict("x", window, 0, 0).values for window in windows]
    for number in range(2_000):
        desk.model.predict("AB"[number % 2], windows[number % len(windows)], number, number)
        if number % 50 == 0:
            desk.wait_until_it_runs()
    desk.worker.stop()
    desk.worker._stopped = False  # what arrived before the end may be told
    while not desk._calls.empty():
        desk.wake()
    assert len(desk.published) >= 40
    tolerance = bundle.manifest.tolerance.outputs_abs
    for made in desk.published:
        assert made.values == pytest.approx(right[made.row_ns % len(windows)], abs=tolerance)


def test_without_a_thread_an_ask_is_counted_and_nobody_waits(bundle, windows):
    """A model on a worker that was never started."""
    worker = Worker()
    OffLoopModel(OnnxModel(bundle), worker, None, 25.0).predict("A", windows[0], 1, 1)
    worker.stop()
    assert worker.counts["dropped"] == 1


def test_a_shadow_warms_the_model_seldom_and_leaves_no_trace(desk, windows):
    """Shadow ticks at 500, 600 and 1,000 us of a model that takes 25: the second one is too early.

    They answer at once with what was said last; nothing is counted or told.
    """
    shadow = desk.model.twin()
    assert shadow.predict("A", windows[0], 1, 1).status is FAILED
    desk.model.predict("A", windows[0], 1, 1)
    (made,) = desk.wake()
    before = desk.worker.counts
    for runs, elapsed_ns in ((1, 500_000), (1, 600_000), (2, 1_000_000)):
        desk.elapsed_ns = elapsed_ns
        warm = shadow.predict("A", windows[1], 7, 8)
        assert (warm.status, warm.values, warm.ts_event_ns, warm.model) == (OK, made.values, 7, made.model)
        desk.wait_until_warm(runs)
    assert desk.worker.counts == before
    assert len(desk.published) == 1
    desk.worker.stop()
    assert desk.worker.warm_runs == 2
