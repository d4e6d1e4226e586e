"""Who is next, and who waited too long."""

from __future__ import annotations

import msgspec

from connectors.robin_stocks.messages import Told
from connectors.robin_stocks.queue import Lane, RequestQueue, Waiting


def waiting(call: str, lane: Lane = Lane.READ, until_ns: int = 10) -> Waiting:
    def tell(_told: Told) -> None:
        """Nobody listens."""

    return Waiting(call, {"secret": "words"}, lane, until_ns, 1.0, tell)


def drained(queue: RequestQueue) -> list[str]:
    found = []
    while (lane := queue.next_lane()) is not None:
        found.append(queue.take(lane).call)
    return found


def test_cancels_come_before_orders_and_these_before_questions() -> None:
    """Put in the wrong order; within a lane the first one is first."""
    queue = RequestQueue()
    for call, lane in (("quotes", Lane.READ), ("one", Lane.ORDER), ("cancel", Lane.CANCEL), ("two", Lane.ORDER)):
        assert queue.put(waiting(call, lane))
    assert drained(queue) == ["cancel", "one", "two", "quotes"]


def test_each_lane_has_its_own_bound() -> None:
    """Questions that pile up keep no cancel from its place."""
    queue = RequestQueue(most=2)
    assert [queue.put(waiting(str(number))) for number in range(3)] == [True, True, False]
    assert queue.put(waiting("cancel", Lane.CANCEL))
    assert (len(queue), queue.waiting(Lane.READ), queue.refused) == (3, 2, 1)


def test_who_waited_too_long_is_taken_out() -> None:
    """At its time, not before; the others keep their places."""
    queue = RequestQueue()
    for call, until_ns in (("a", 10), ("b", 20), ("c", 10)):
        queue.put(waiting(call, until_ns=until_ns))
    assert not queue.expired(9)
    assert [one.call for one in queue.expired(10)] == ["a", "c"]
    assert drained(queue) == ["b"]


def test_an_order_that_waits_can_be_taken_back_and_nothing_else() -> None:
    """By its key, once; a question with none stays, and so does a cancel under the order's name."""
    queue = RequestQueue()
    for call, lane, key in (("quotes", Lane.READ, ""), ("cancel", Lane.CANCEL, "k-1"), ("place", Lane.ORDER, "k-1")):
        queue.put(msgspec.structs.replace(waiting(call, lane), key=key))
    assert queue.withdraw("") is None
    assert queue.withdraw("k-2") is None
    found = queue.withdraw("k-1")
    assert found is not None
    assert found.call == "place"
    assert queue.withdraw("k-1") is None
    assert drained(queue) == ["cancel", "quotes"]


def test_the_first_that_will_have_waited_too_long_is_known() -> None:
    """In whatever lane it waits."""
    queue = RequestQueue()
    assert queue.first_until_ns() is None
    queue.put(waiting("quotes", until_ns=20))
    queue.put(waiting("place", Lane.ORDER, until_ns=10))
    assert queue.first_until_ns() == 10


def test_lanes_are_emptied_by_name_and_nothing_of_a_request_is_shown() -> None:
    """What is given to a call may be a password."""
    queue = RequestQueue()
    queue.put(waiting("quotes"))
    queue.put(waiting("cancel", Lane.CANCEL))
    assert [one.call for one in queue.drain(Lane.ORDER, Lane.READ)] == ["quotes"]
    assert len(queue) == 1
    assert "words" not in repr(waiting("login"))
