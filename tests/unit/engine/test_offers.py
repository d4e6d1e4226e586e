"""What stands in for an order that a venue does not take: the same effect, or a refusal."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import NewOrder, OrderType, Rejected, TimeInForce
from engine.events import Side
from engine.offers import ALL_PLAIN, Offer
from engine.withdrawals import EXPIRY_GRACE_NS
from risk.gate import Gate
from tests.support.account import Account
from tests.support.core import D, intent
from tests.support.limits import make_limits

GTC, GTD, IOC, FOK = TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK
ONLY_GTC = Offer(frozenset({(OrderType.LIMIT, GTC)}))
SECOND_NS = 1_000_000_000


def wait(account: Account, after_ns: int) -> None:
    account.now_ns += after_ns
    account.publish(e.Timer(account.now_ns, account.now_ns, "heartbeat"))


@pytest.mark.parametrize("tif", [GTC, GTD, IOC, FOK])
def test_what_is_offered_is_left_as_it_is(tif: TimeInForce) -> None:
    """The very object: no copy on the way of an order."""
    wish = intent(time_in_force=tif, expire_ns=9 if tif is GTD else None)
    assert ALL_PLAIN.substitute(wish) is wish


def test_all_or_nothing_cannot_be_had_by_cancelling() -> None:
    """Part of it may have filled before the cancel: there is no substitute, nor for another type of order."""
    assert ONLY_GTC.substitute(intent(time_in_force=FOK)) is None
    assert ONLY_GTC.substitute(intent(order_type=OrderType.MARKET, limit_px=None)) is None
    assert ONLY_GTC.substitute(intent(order_type=OrderType.BRACKET)) is None


def test_immediate_or_cancel_is_cancelled_when_the_venue_has_it() -> None:
    """Sent good till cancelled; its acknowledgement brings the cancel, as fills at once come before that."""
    account = Account(offers={"coinbase": ONLY_GTC})
    account.wish(intent(time_in_force=IOC))
    (order,) = account.venue.orders
    assert order.intent.time_in_force is GTC
    account.accept(order)
    assert account.venue.cancelled == [order.client_order_id]


def test_good_till_date_is_cancelled_at_its_end_and_not_before() -> None:
    """Emulated: at the time; where the venue has it, only when the venue has not ended it after a while."""
    for offers, grace_ns in (({"coinbase": ONLY_GTC}, 0), ({}, EXPIRY_GRACE_NS)):
        account = Account(offers=offers)
        ends_ns = account.now_ns + 5 * SECOND_NS
        account.wish(intent(time_in_force=GTD, expire_ns=ends_ns))
        (order,) = account.venue.orders
        account.accept(order)
        wait(account, 4 * SECOND_NS)
        assert account.venue.cancelled == []
        wait(account, 2 * SECOND_NS + grace_ns)
        assert account.venue.cancelled == [order.client_order_id]


def test_an_emulated_end_outlives_its_session() -> None:
    """The next session cancels at the time that the order carries."""
    account = Account(offers={"coinbase": ONLY_GTC})
    ends_ns = account.now_ns + 5 * SECOND_NS
    account.wish(intent(time_in_force=GTD, expire_ns=ends_ns))
    (order,) = account.venue.orders
    state = account.keep().state
    after = Account(opened=False, offers={"coinbase": ONLY_GTC})
    after.publish(e.StateCarried(1, 1, "before", 0, state))
    after.open()
    after.now_ns = ends_ns
    wait(after, 1)
    assert after.venue.cancelled == [order.client_order_id]


def test_what_is_not_offered_and_has_no_substitute_is_refused() -> None:
    """By name, with what was asked; nothing leaves."""
    account = Account(offers={"coinbase": ONLY_GTC})
    account.wish(intent(time_in_force=FOK))
    (refused,) = [one for one in account.records if isinstance(one, Rejected)]
    assert (refused.check, refused.seen, account.venue.orders) == ("not_offered", "limit fok", [])


@pytest.mark.parametrize("offer", [ALL_PLAIN, ONLY_GTC])
def test_the_guardians_exit_begins_its_cool_down_in_whatever_form_it_leaves(offer: Offer) -> None:
    """Asked for as immediate; what is made of it is an exit all the same, and nothing is entered after it."""
    gate = Gate(make_limits(guardian={"stop_bps": 100, "cooldown_s": 60}))
    account = Account(gate=gate, offers={"coinbase": offer})
    account.publish(e.Timer(account.now_ns, account.now_ns, "heartbeat"))
    account.wish(intent(limit_px=D("100.01")))
    account.fill(account.venue.orders[0], "1", "100", "t1")
    out = intent(Side.SELL, "1", "guardian", reduce_only=True, time_in_force=IOC)
    made = account.core.desk.place(out)
    assert isinstance(made, NewOrder)
    account.fill(made, "1", "100", "t2")
    account.wish(intent(limit_px=D("100.01"), qty="2"))
    (refused,) = [one for one in account.records if isinstance(one, Rejected)]
    assert refused.check == "guardian_cooldown"
