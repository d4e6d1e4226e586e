"""Entries whose exits the venue makes itself, when and for how much it likes, told late, or never.

The venue of ``test_groups``, which makes an exit of its own when the entry has ended, or with its first fill and grows
it.  Told or not, that exit counts: no other one of the group may live beside it, and nobody else's is sent.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from engine import events as e
from engine.commands import GroupIntent, NewOrder, NewOrderWithExits, OrderType, TimeInForce
from engine.order_ids import attached_id
from engine.stakes import EVERYONE, GUARDIAN, OPERATOR
from tests.property.test_groups import ENTRY_QTY, SHAPES, D, Groups
from tests.support.core import BTC, intent
from tests.support.groups import ATTACHES, Trader


class AttachedExits(Groups):
    """``hidden``: what may still fill of the exit that the venue has made and not told; None: there is none."""

    @initialize(in_force=st.sampled_from((TimeInForce.GTC, TimeInForce.IOC)), grows=st.booleans())
    def enter(self, in_force: TimeInForce, grows: bool) -> None:  # type: ignore[override]
        self.offers = {"coinbase": ATTACHES}
        self.account = Trader(offers=self.offers)
        self.lives, self.gone, self.orders = {}, {}, {}
        self.asked = []
        self.trades = self.sessions = 0
        self.entered = self.left = D(0)
        self.bid_px = 100.0
        self.grows = grows
        self.hidden: Decimal | None = None
        self.made_qty = D(0)
        self.decided = False
        self.account.wish(GroupIntent(1, "s", SHAPES[0], intent(qty=str(ENTRY_QTY), time_in_force=in_force)))
        self.collect()
        (entry,) = self.orders.values()
        assert isinstance(entry, NewOrderWithExits)
        self.entry = entry

    @property
    def has_ended(self) -> bool:
        return self.entry.client_order_id not in self.lives

    @property
    def shown(self) -> str:
        """Its name where it was told."""
        name = attached_id(self.entry.client_order_id)
        return name if name in self.orders else ""

    @precondition(lambda self: self.entered and not self.decided and (self.has_ended or self.grows))
    @rule()
    def make(self) -> None:
        self.decided = True
        self.made_qty = self.hidden = self.entered

    @precondition(lambda self: self.entered and not self.decided and self.has_ended)
    @rule()
    def make_none(self) -> None:
        self.decided = True
        self.tell_missing()

    @precondition(lambda self: self.hidden is not None)
    @rule()
    def show(self) -> None:
        assert self.hidden is not None
        name, self.hidden = attached_id(self.entry.client_order_id), None
        self.lives[name] = self.made_qty
        self.attach()

    @precondition(lambda self: self.grows and not self.has_ended and self.decided)
    @rule()
    def grow(self) -> None:
        """The entry has filled more than the exit was made for, which has neither ended nor filled."""
        more_qty = self.entered - self.made_qty
        if more_qty <= 0 or (self.hidden is None and self.lives.get(self.shown) != self.made_qty):
            return
        self.made_qty += more_qty
        if self.hidden is not None:
            self.hidden = self.made_qty
            return
        self.lives[self.shown] = self.made_qty
        self.attach()

    @rule(closer=st.sampled_from((GUARDIAN, OPERATOR, "s")))
    def close_beside(self, closer: str) -> None:
        """Somebody else would close all that no open order closes; the owner's coins are there to be sold as well."""
        core = self.account.core
        qty = core.view.stake(EVERYONE, BTC).qty - core.view.open_qty(BTC, e.Side.SELL)
        if qty <= 0:
            return
        wish = intent(e.Side.SELL, str(qty), strategy=closer, order_type=OrderType.MARKET, limit_px=None)
        made = core.desk.place(msgspec.structs.replace(wish, reduce_only=True))
        if isinstance(made, NewOrder):
            assert self.hidden is None, "the venue has made an exit that would sell the same"
            assert not self.entered or self.decided, "the venue may make one at any moment"
            self.account.end(made, e.OrderRejected)
            self.collect()

    def attach(self) -> None:
        at, name = self.account._at(), attached_id(self.entry.client_order_id)
        wish, prices = self.entry.intent, (self.entry.target_px, self.entry.trigger_px)
        self.account.publish(
            e.OrderAttached(
                at, at, "coinbase", name, f"v-{name}", self.entry.client_order_id, wish.instrument, wish.side.opposite,
                self.made_qty, *prices,
            )
        )  # fmt: skip
        order = self.account.core.orders.get(name)
        assert order is not None
        self.orders[name] = order.new
        self.collect()

    def tell_missing(self) -> None:
        at = self.account._at()
        self.account.publish(e.AttachmentMissing(at, at, "coinbase", self.entry.client_order_id, "absent"))
        self.collect()

    @invariant()
    def none_lives_beside_the_venues_own(self) -> None:
        exits = [name for name in self.lives if self.orders[name].intent.side < 0]
        assert self.hidden is None or not exits
        if self.entered and not self.decided:
            assert not exits, "the venue may make one at any moment"

    def teardown(self) -> None:
        if not hasattr(self, "account"):
            return
        if not self.has_ended:
            self.account.end(self.entry, e.OrderCancelled)
            del self.lives[self.entry.client_order_id]
            self.collect()
        if self.hidden is not None:
            self.show()
        elif self.entered and not self.decided:
            self.make_none()
        super().teardown()


@pytest.mark.fault("B12")
@pytest.mark.fault("B16")
@pytest.mark.fault("B19")
def test_no_exit_is_sent_beside_one_that_the_venue_may_have_made() -> None:
    """The machine above; in the end nothing is held, whoever has made the exit."""
    run_state_machine_as_test(AttachedExits, settings=settings(max_examples=40, stateful_step_count=20, deadline=None))
