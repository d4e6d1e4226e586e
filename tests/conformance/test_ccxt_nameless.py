"""An exchange that tells no client's names back, through ccxt: what became of an order whose answer was lost."""

from __future__ import annotations

import pytest

from engine.events import OrderAccepted, OrderFound, OrderOutcomeUnknown, OrderRejected
from tests.support.venues.ccxt import CcxtKrakenRig
from tests.support.venues.rig import session
from tests.support.venues.wire import Plan, Wire


class NamelessWire(Wire):
    """The names are there, under a key that nobody reads."""

    def told(self, chunk: bytes) -> bytes:
        return chunk.replace(b'"cl_ord_id"', b'"no_ord_id"')


class NamelessRig(CcxtKrakenRig):
    wire_type = NamelessWire


@pytest.mark.fault("B14")
async def test_what_was_lost_is_found_by_what_it_is_and_nothing_is_sent_twice(tmp_path: object) -> None:
    """An order that is known rests at the same price and size beside each that is lost: the one that arrived is found
    and can be filled, the other one has never arrived."""
    async with NamelessRig(tmp_path).running() as rig, session(rig) as s:  # type: ignore[arg-type]
        known = s.order()
        await s.heard(known, OrderAccepted)
        for forwarded in (True, False):
            await s.ready()
            before = rig.wire.orders
            rig.wire.plan(Plan(forwarded=forwarded))
            lost = s.order()
            await s.heard(lost, OrderOutcomeUnknown)
            await s.heard(lost, OrderAccepted if forwarded else OrderRejected)
            assert rig.wire.orders == before + 1
            assert len(rig.found(lost)) == forwarded
            if forwarded:
                for one in (known, lost):  # the one before it goes first
                    await rig.fill(one, rig.qty)
                await s.until(lambda one=lost: s.filled(one) == rig.qty, "it is filled")  # type: ignore[misc]
        await s.settled()
        assert s.position == rig.position() == 2 * rig.qty
        assert OrderFound not in {type(event) for event in s.log}
