"""What risk says of changes in place, and what stops them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.commands import (
    CancelOrder,
    Rejected,
    ReplaceIntent,
    ReplaceOrder,
    RiskState,
    RiskStateChanged,
)
from risk.gate import Gate
from tests.support.account import Account
from tests.support.core import intent
from tests.support.editing import GTC, changes, open_qty, replace, resting
from tests.support.limits import make_limits

D = Decimal


def gated(**changes: object) -> Gate:
    limits: dict[str, object] = {
        "max_order_qty": {"*": 10},
        "max_position_qty": {"*": 6},
        "max_order_notional": 10**6,
        "max_position_notional": 10**6,
        "max_gross_notional": 10**6,
        "max_net_notional": 10**6,
        "collar_bps": 200,
        "max_open_orders": 2,
        "max_orders_per_s": 3,
        "max_orders_per_s_instrument": 3,
        "max_rejections_per_s": 10**6,
        "max_daily_loss": 10**6,
        "max_drawdown_bps": 9_999,
    }
    return Gate(make_limits(**{**limits, **changes}))


def refusals(account: Account) -> list[str]:
    return [one.check for one in account.records if isinstance(one, Rejected)]


def test_a_change_that_adds_is_judged_without_its_own_old_version() -> None:
    """Six are allowed: four may become six, not seven; what is refused leaves the order as it was."""
    account, order = resting(gate=gated())
    replace(account, order, "7", "100")
    assert (changes(account), refusals(account), account.venue.cancelled) == ([], ["max_position_qty"], [])
    assert open_qty(account) == D(4)
    replace(account, order, "6", "100")
    assert (changes(account), open_qty(account)) == ([(D(6), D(100))], D(6))


def test_a_price_too_far_away_is_refused_and_an_order_of_ours_in_the_way_too() -> None:
    """The collar and self-trades go by the new price; a change under way counts at both of its prices."""
    account, order = resting(gate=gated())
    account.fill(order, "2", "100", "t1")
    replace(account, order, "4", "110")
    assert refusals(account) == ["collar"]
    account.wish(intent(e.Side.SELL, "1", limit_px=D("101"), time_in_force=GTC))
    other = account.venue.orders[-1]
    account.accept(other)
    replace(account, order, "4", "101.5")
    assert refusals(account)[1:] == ["self_trade"]
    account.cancel(other)
    account.end(other, e.OrderCancelled)
    replace(account, order, "4", "101.5")
    assert changes(account) == [(D(4), D("101.5"))]
    account.wish(intent(e.Side.SELL, "1", limit_px=D("101.2"), time_in_force=GTC))
    assert refusals(account)[-1] == "in_the_way", "it may be there already"


def test_changes_count_in_the_rate_of_orders() -> None:
    """Three a second: the order and two changes; one that only shrinks needs no leave."""
    account, order = resting(gate=gated())
    for px in ("100.1", "100.2"):
        replace(account, order, "4", px)
        account.show(order, "4", px)
    replace(account, order, "4", "100.3")
    assert (len(changes(account)), refusals(account)) == (2, ["order_rate"])
    replace(account, order, "3", "100.2")
    assert changes(account)[-1] == (D(3), D("100.2"))


def test_one_that_grows_and_becomes_cheaper_must_be_within_the_limits_at_the_old_price_too() -> None:
    """Some may fill at the old price and the rest at the new one; else it goes by a cancel, so that they cannot."""
    account, order = resting(px="101", gate=gated(max_order_notional=502))
    replace(account, order, "5", "99")  # 500 at the mark, 505 at the old price
    assert (changes(account), account.venue.cancelled) == ([], [order.client_order_id])
    account, order = resting(px="101", gate=gated(max_order_notional=505))
    replace(account, order, "5", "99")
    assert (changes(account), account.venue.cancelled) == ([(D(5), D(99))], [])


@pytest.mark.parametrize("state", [e.Halted, e.Reduced])
def test_nothing_that_adds_is_changed_while_risk_is_not_active(state: type) -> None:
    """Its cancel is out; once that was refused, a wish asks for the cancel again and nothing follows."""
    account, order = resting(gate=gated())
    at = account._at()
    account.publish(state(at, at, "operator", "test"))
    account.end(order, e.CancelRejected)
    replace(account, order, "5", "100")
    assert account.venue.replaced == []
    account.end(order, e.OrderCancelled)
    assert len(account.venue.orders) == 1


def test_a_halt_in_between_takes_the_wishes_and_cancels_the_order() -> None:
    """The change that is out is out; none follows it."""
    account, order = resting()
    replace(account, order, "5", "101")
    replace(account, order, "6", "102")
    at = account._at()
    account.publish(e.Halted(at, at, "operator", "test"))
    assert account.venue.cancelled == [order.client_order_id]
    account.show(order, "5", "101")
    assert (len(account.venue.replaced), open_qty(account)) == (1, D(5))


def test_a_version_that_nobody_asked_for_is_booked_and_stops_new_risk() -> None:
    """Changed by hand, or a change that was given up and came after all: the venue is right."""
    account, order = resting(qty="2")
    account.show(order, "3", "100")
    assert (open_qty(account), account.core.risk_state) == (D(3), RiskState.REDUCING)
    assert "is 3 at 100, which was not asked for" in account.core.desk.latch.reason


@pytest.mark.fault("A8")
def test_a_full_journal_lets_no_change_out() -> None:
    """Nothing leaves that is not on record; trading halts and the order is cancelled as it is."""
    account, order = resting()
    account.journal.full_for = (ReplaceOrder,)
    replace(account, order, "5", "101")
    assert (account.venue.replaced, account.core.risk_state) == ([], RiskState.HALTED)
    assert (account.venue.cancelled, open_qty(account)) == ([order.client_order_id], D(4))


@pytest.mark.fault("B14")
def test_a_gateway_that_raises_leaves_both_versions_possible() -> None:
    """A defect of ours: nobody knows whether the bytes left; trading halts."""
    account, order = resting()

    def raises(replace: ReplaceOrder) -> None:
        raise RuntimeError("no")

    account.venue.replace = raises  # type: ignore[method-assign]
    replace(account, order, "6", "101")
    assert [type(one) for one in account.records[-4:]] == [
        e.ReplaceOutcomeUnknown, e.Halted, RiskStateChanged, CancelOrder,
    ]  # fmt: skip
    assert (open_qty(account), len(account.errors)) == (D(6), 1)


def test_a_change_does_not_leave_when_the_core_failed_on_its_event() -> None:
    """On record, and told as refused: the order is as it was."""
    account, order = resting()

    def wishes_and_breaks(_: e.Timer) -> None:
        account.core.desk.carry_out([ReplaceIntent(account.now_ns, "s", order.client_order_id, D(6), D(101), "better")])
        raise AssertionError("drawn")

    account.may_fail = True
    account.core._handlers[e.Timer] = wishes_and_breaks
    at = account._at()
    account.publish(e.Timer(at, at, "tick"))
    assert account.venue.replaced == []
    assert e.ReplaceRejected(at, at, "coinbase", order.client_order_id, "core_failed") in account.records
    assert (open_qty(account), account.core.risk_state) == (D(4), RiskState.HALTED)
