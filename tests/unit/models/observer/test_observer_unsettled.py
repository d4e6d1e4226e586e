"""What the registry could not carry out is told again: ever less often, by one course, until an operator decides."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from engine import events as e
from engine.runtime.observer_process import request_of
from models.observer.observer import AGAIN_NS
from models.observer.told import Alarmed, Unsettled
from tests.support.watched import BTC, Played


def test_what_could_not_be_done_is_told_again_until_an_operator_clears_it(played: Played) -> None:
    """To the registry alone: the daemon has heard of the alarm."""
    observer = played.observer()
    observer.take(played.records[0])
    stopped = Alarmed(BTC, "m@1", "calibration", "stop", 0.5, "its calibration error is 0.3")
    observer.not_done(stopped)
    assert observer.look() == []
    observer.last_seq_ns += AGAIN_NS
    (again,) = observer.look()
    assert again == Unsettled(stopped)
    assert request_of(again) == ("", {})
    assert observer.look() == []
    observer.not_done(stopped)
    observer.last_seq_ns += AGAIN_NS
    assert observer.look() == [], "each time twice as long: what the registry refuses costs a check of the version"
    observer.last_seq_ns += AGAIN_NS
    assert observer.look() == [Unsettled(stopped)]
    observer.not_done(stopped)
    observer.take(e.ModelAlarmed(1, 1, BTC, "m@1", "", "clear", 0.5, "looked at"))
    observer.last_seq_ns += 4 * AGAIN_NS
    assert observer.look() == []


def test_what_is_refused_again_and_again_is_tried_by_one_course_alone(played: Played) -> None:
    """A verdict comes by itself with further signals as well: each time that was one more try an hour, for ever."""
    observer = played.observer()
    observer.take(played.records[0])
    stopped = Alarmed(BTC, "m@1", "calibration", "stop", 0.5, "its calibration error is 0.3")
    for _ in range(3):
        observer.not_done(stopped)
        observer.last_seq_ns += 1
    observer.last_seq_ns += 4 * AGAIN_NS
    assert observer.look() == [Unsettled(stopped)]


@pytest.mark.parametrize("brought_back", [False, True])
def test_a_stop_that_a_process_before_told_is_followed_in_the_registry(played: Played, brought_back: bool) -> None:
    """It died between the daemon and the registry; what an operator decided since then is not undone."""
    at = next(i for i, one in enumerate(played.records) if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    assigned = played.records[at]
    assert isinstance(assigned, e.ModelAssigned)
    observer = replace(played, records=played.records[: at + 2]).watched_by(played.observer())
    now_ns = observer.last_seq_ns
    for source in ("calibration", "operator"):
        observer.take(e.ModelAlarmed(now_ns, now_ns, BTC, assigned.model, source, "stop", 0.5, "beyond chance"))
    if brought_back:
        for model in ("before@1", assigned.model):
            observer.take(msgspec.structs.replace(assigned, model=model, ts_recv_ns=now_ns))
    observer.look()
    observer.last_seq_ns += AGAIN_NS
    told = observer.look()
    stopped = Alarmed(BTC, assigned.model, "calibration", "stop", 0.5, "beyond chance")
    assert told == ([] if brought_back else [Unsettled(stopped)])
    observer.take(e.ModelAlarmed(now_ns, now_ns, BTC, assigned.model, "skew", "stop", 0.5, "its own"))
    observer.last_seq_ns += AGAIN_NS
    assert observer.look() == []
