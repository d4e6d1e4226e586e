"""Exits that the venue makes of itself, from one session to the next."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine.commands import (
    OrderType,
)
from engine.core import TradingCore
from engine.order_ids import attached_id
from engine.recovery import Recovery
from tests.support.groups import (
    ATTACHES,
    SECOND_NS,
    entered,
    exits,
    restarted,
    settle,
)

D = Decimal


@pytest.mark.parametrize("how", ["kept", "killed"])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.fault("A4")
def test_the_next_session_waits_for_the_exit_or_goes_on_with_it(how: str, told: bool) -> None:
    """It was made while nobody looked, or before: either way it is the group's, and no other is sent."""
    before, entry = entered()
    if told:
        before.attach(entry, "2")
    after = restarted(before, how, offers={"coinbase": ATTACHES})
    name = attached_id(entry.client_order_id)
    if not told:
        settle(after, D(2))
        after.wait(10 * SECOND_NS)
        after.price(89.0)
        assert exits(after) == []
        after.attach(entry, "2")
        assert after.core.view.groups()[0].exit_id == name
        return
    settle(after, D(2), name)
    after.wait(5 * SECOND_NS)
    assert (exits(after), after.core.view.groups()[0].exit_id) == ([], name)


@pytest.mark.parametrize("how", ["kept", "killed"])
def test_that_there_is_none_is_not_asked_twice(how: str) -> None:
    before, entry = entered()
    before.gate.refuse = "test"
    before.miss(entry)
    after = restarted(before, how, offers={"coinbase": ATTACHES})
    settle(after, D(2))
    after.wait(5 * SECOND_NS)
    assert [one.intent.order_type for one in exits(after)] == [OrderType.BRACKET]


def test_an_entry_and_its_exit_are_carried_together_however_old() -> None:
    """A hundred orders have ended since; one whose exit is still awaited is not forgotten either."""
    trader, entry = entered()
    for number in range(100):
        trader.fill(trader.place(qty="1"), "1", "100", f"b{number}")
    names = [one.new.client_order_id for one in trader.core.orders.carried()]
    assert names[0] == entry.client_order_id
    trader.fill(trader.attach(entry, "2"), "2", "110", "out")
    for number in range(100):
        trader.fill(trader.place(qty="1"), "1", "100", f"c{number}")
    assert entry.client_order_id not in [one.new.client_order_id for one in trader.core.orders.carried()]


@pytest.mark.fault("A4")
@pytest.mark.parametrize("how", ["kept", "killed"])
def test_an_entry_is_forgotten_with_its_exit_also_by_a_later_session(how: str) -> None:
    """Carried once, both ended; after many more orders neither is: one without the other would be told of again."""
    before, entry = entered()
    before.fill(before.attach(entry, "2"), "2", "110", "out")
    after = restarted(before, how, offers={"coinbase": ATTACHES})
    settle(after, D(0))
    names = {one.new.client_order_id for one in after.core.orders.carried()}
    assert {entry.client_order_id, attached_id(entry.client_order_id)} <= names
    for number in range(70):
        after.fill(after.place(qty="1"), "1", "100", f"b{number}")
    names = {one.new.client_order_id for one in after.core.orders.carried()}
    assert not {entry.client_order_id, attached_id(entry.client_order_id)} & names


def test_the_records_alone_make_the_same_state() -> None:
    """What the bus has put on record, taken by a recovery, is what the core keeps."""
    trader, entry = entered()
    child = trader.attach(entry, "2")
    trader.fill(child, "1", "110", "half")
    recovery = Recovery("USD")
    recovery.take(trader.records)
    kept = trader.core.desk.groups.carried()
    assert recovery.left().groups == kept
    assert msgspec.structs.asdict(kept[0])["sent_id"] == child.client_order_id
    assert isinstance(trader.core, TradingCore)
