"""What an operator asks for by hand, in a core with a scripted venue: same gate, same record, same replay."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine import events as e
from engine.commands import CancelOrder, NewOrder, OrderType, Rejected
from engine.replay import ReplayRecorder, replay
from engine.stakes import OPERATOR
from tests.support.account import Account
from tests.support.by_hand import ask, holding, tick
from tests.support.core import BTC, OpenGate, Scripted, build_core
from tests.support.groups import HOLDS

D = Decimal


def test_an_order_by_hand_is_opened_under_the_operators_name() -> None:
    """It passes the gate as an intent of the strategy ``operator``; who and why are its reason, on record."""
    account = Account()
    ask(account, "order", instrument=BTC, qty=D("0.5"), order_type="limit", limit_px=D("99"), time_in_force="gtc")
    (order,) = account.venue.orders
    intent = order.intent
    assert (intent.strategy, intent.qty, intent.limit_px, intent.time_in_force) == (OPERATOR, D("0.5"), D("99"), "gtc")
    assert intent.reason == "order by ana (uid 7): why"
    assert account.core.manual.outcome.orders == [order.client_order_id]


def test_a_stop_by_hand_is_for_a_venue_that_holds_it() -> None:
    """Nobody here watches prices for it: elsewhere it is refused by name."""
    wish = {"instrument": BTC, "qty": D(1), "order_type": "stop", "trigger_px": D(105), "time_in_force": "gtc"}
    account = Account(offers={"coinbase": HOLDS})
    ask(account, "order", **wish)
    assert [one.intent.order_type for one in account.venue.orders] == [OrderType.STOP]
    without = Account()
    ask(without, "order", **wish)
    assert without.venue.orders == []
    assert without.core.manual.outcome.refused == ["not_offered: stop gtc, limit what the venue takes"]


def test_an_order_by_hand_that_the_gate_refuses_is_told_with_its_reason() -> None:
    """The refusal is on record like any other, and in the answer."""
    account = Account()
    account.gate.refuse = "collar"
    ask(account, "order", instrument=BTC, qty=D(1))
    assert [type(record) for record in account.records if isinstance(record, Rejected | NewOrder)] == [Rejected]
    assert account.core.manual.outcome.refused == ["collar: seen, limit limit"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"qty": D("NaN")}, "qty"),
        ({"qty": D(1), "order_type": "dance"}, "dance"),
        ({"qty": D(1), "time_in_force": "soon"}, "soon"),
        ({"qty": D(1), "limit_px": D("1E+99")}, "limit_px"),
    ],
)
def test_what_is_no_order_reaches_no_gate(wrong: dict[str, Any], said: str) -> None:
    """Refused in words that name what is wrong; nothing is opened, nobody is quarantined."""
    account = Account()
    ask(account, "order", instrument=BTC, **wrong)
    assert account.venue.orders == []
    (refusal,) = account.core.manual.outcome.refused
    assert said in refusal


@pytest.mark.fault("A5")
def test_no_order_by_hand_adds_risk_before_the_venue_has_confirmed_the_account() -> None:
    """Carried over, not settled: an entry is refused, a reduce-only order goes to the gate."""
    before = holding()
    kept = before.keep()
    account = Account(opened=False)
    account.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    account.open()
    ask(account, "order", instrument=BTC, qty=D(1))
    assert account.venue.orders == []
    assert "has not confirmed the account" in account.core.manual.outcome.refused[0]
    ask(account, "order", instrument=BTC, side=e.Side.SELL, qty=D(1), reduce_only=True)
    assert len(account.venue.orders) == 1


@pytest.mark.parametrize("by", ["ours", "the venue's"])
def test_any_order_can_be_cancelled_by_hand(by: str) -> None:
    """A strategy's order, named by our id or by the venue's; one that is not open is said."""
    account = Account()
    order = account.place()
    account.accept(order)
    name = order.client_order_id
    ask(account, "cancel", client_order_id=name if by == "ours" else f"v-{name}")
    assert account.venue.cancelled == [name]
    assert account.core.manual.outcome.cancelled == [name]
    ask(account, "cancel", client_order_id="x")
    assert account.core.manual.outcome.refused == ["no open order 'x'"]


def test_a_session_with_requests_replays_identically() -> None:
    """Flatten with a cancel, a close and an order by hand: every decision comes out again from the inputs alone."""
    account = Account()
    ask(account, "order", instrument=BTC, qty=D(2))
    account.fill(account.venue.orders[-1], "2", "100", "t1")
    ask(account, "order", instrument=BTC, qty=D(1), order_type="limit", limit_px=D(90), time_in_force="gtc")
    resting = account.venue.orders[-1]
    ask(account, "flatten")
    account.end(resting, e.OrderCancelled)
    tick(account)
    account.fill(account.venue.orders[-1], "2", "99", "t2")
    tick(account)
    assert sum(isinstance(record, CancelOrder) for record in account.records) == 1
    recorder = ReplayRecorder()
    result = replay(account.journal.written, recorder, build_core(recorder, Scripted("s"), gate=OpenGate()))
    assert (result.first_difference, result.decisions >= 5) == (None, True)
