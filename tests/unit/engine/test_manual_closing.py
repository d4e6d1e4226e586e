"""Closing by hand, one position or all: what is open goes first, then what is held, in the next session too."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine import events as e
from engine.commands import OrderType, Rejected, RiskState, TimeInForce
from engine.manual import TRIES, closing_in
from engine.recovery import Recovery
from engine.stakes import GUARDIAN, OPERATOR
from risk.gate import Gate
from tests.support.account import Account
from tests.support.by_hand import ask, holding, tick
from tests.support.core import BTC, intent, spot
from tests.support.limits import make_limits

D = Decimal


def test_closing_cancels_first_and_sells_only_when_nothing_is_open() -> None:
    """One cancel, no order until it is confirmed; then one reduce-only market order of the whole position."""
    account = holding()
    resting = account.venue.orders[-1]
    ask(account, "close", instrument=BTC)
    assert account.venue.cancelled == [resting.client_order_id]
    tick(account)
    assert len(account.venue.orders) == 2
    account.end(resting, e.OrderCancelled)
    tick(account)
    closing = account.venue.orders[-1]
    intent = closing.intent
    assert (intent.strategy, intent.side, intent.qty, intent.reduce_only) == (OPERATOR, e.Side.SELL, D(2), True)
    assert intent.order_type is OrderType.MARKET
    assert account.core.risk_state is RiskState.ACTIVE
    tick(account)
    assert len(account.venue.orders) == 3  # it is out: no second one
    account.fill(closing, "2", "99", "t2")
    tick(account)
    assert account.core.manual.ended == {BTC: "closed"}
    assert not account.core.manual.is_closing


def test_an_order_that_fills_instead_of_being_cancelled_is_closed_as_well() -> None:
    """The race of cancel and fill: what is held then is sold."""
    account = holding()
    resting = account.venue.orders[-1]
    ask(account, "close", instrument=BTC)
    account.fill(resting, "1", "100", "t2")
    tick(account)
    assert account.venue.orders[-1].intent.qty == D(3)


def test_a_closing_order_that_fills_in_part_is_followed_by_another() -> None:
    """2 to sell, 1.5 filled and the rest expired: 0.5 a second later."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    ask(account, "close", instrument=BTC)
    first = account.venue.orders[-1]
    account.fill(first, "1.5", "99", "t2")
    account.end(first, e.OrderExpired)
    tick(account, 0.1)
    assert account.venue.orders[-1] is first  # paced
    tick(account)
    assert account.venue.orders[-1].intent.qty == D("0.5")


def test_who_held_what_was_closed_by_hand_holds_it_no_more() -> None:
    """The strategy bought 2, the operator 1 more: the operator's own is closed first, the rest is the strategy's."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    ask(account, "order", instrument=BTC, qty=D(1))
    account.fill(account.venue.orders[-1], "1", "100", "t2")
    view = account.core.view
    assert (view.strategy_qty("s", BTC), view.strategy_qty(OPERATOR, BTC)) == (D(2), D(1))
    ask(account, "close", instrument=BTC)
    account.fill(account.venue.orders[-1], "2.5", "99", "t3")
    assert (view.strategy_qty("s", BTC), view.strategy_qty(OPERATOR, BTC)) == (D("0.5"), D(0))
    account.fill(account.venue.orders[-1], "0.5", "99", "t4")
    assert (view.strategy_qty("s", BTC), view.strategy_qty(OPERATOR, BTC)) == (D(0), D(0))


def test_flatten_stops_entries_cancels_all_and_closes_every_position() -> None:
    """Risk is reducing before anything is closed, and stays so when all is flat."""
    account = holding()
    resting = account.venue.orders[-1]
    ask(account, "flatten")
    assert (account.core.risk_state, account.venue.cancelled) == (RiskState.REDUCING, [resting.client_order_id])
    assert account.core.desk.latch.reason == "flatten by ana (uid 7): why"
    account.end(resting, e.OrderCancelled)
    tick(account)
    account.fill(account.venue.orders[-1], "2", "99", "t2")
    tick(account)
    assert account.core.view.held() == {}
    assert account.core.manual.status() == {"closing": {}, "closed": {BTC: "closed"}}
    assert account.core.risk_state is RiskState.REDUCING


@pytest.mark.fault("F7")
def test_flatten_under_a_halt_stays_halted() -> None:
    """Reduce-only orders leave in HALTED; the state does not loosen to reducing."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    at = account._at()
    account.publish(e.Halted(at, at, "operator", ""))
    account.gate.latch = lambda *asked: None  # type: ignore[method-assign]  # as the real one: never towards freedom
    ask(account, "flatten")
    assert account.venue.orders[-1].intent.reduce_only
    assert account.core.risk_state is RiskState.HALTED


def test_closing_that_never_gets_anywhere_ends_with_the_reason() -> None:
    """The gate refuses each of them: tried a bounded number of times, then said."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.gate.refuse = "lot"
    ask(account, "close", instrument=BTC)
    for _ in range(TRIES + 1):
        tick(account)
    assert "2 left: lot: seen" in account.core.manual.ended[BTC]
    assert sum(isinstance(record, Rejected) for record in account.records) == TRIES


def test_closing_outlasts_a_venue_that_is_down() -> None:
    """Nobody can trade for longer than all tries would take: it goes on, and closes when the venue is back."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.gate.refuse = "tradable"
    ask(account, "flatten")
    for _ in range(2 * TRIES):
        tick(account)
    assert account.core.manual.status()["closing"] == {BTC: "tradable: seen, limit limit"}
    # What was answered: over a weekend it would be a line a second for each position.
    assert account.core.manual.outcome.refused == ["tradable: seen, limit limit"]
    account.gate.refuse = ""
    tick(account)
    account.fill(account.venue.orders[-1], "2", "99", "t2")
    tick(account)
    assert account.core.manual.ended == {BTC: "closed"}


def test_positions_that_wait_their_turn_are_closed_however_many_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """One order a second, and more positions than there are tries: the last ones are not given up."""
    monkeypatch.setattr("engine.manual.TRIES", 2)
    gate = Gate(make_limits(allowed_instruments=[BTC], max_orders_per_s=1))
    account = Account(gate=gate)
    tick(account)
    names = [f"C{number}/USD@coinbase" for number in range(5)]
    at = account._at()
    for number, name in enumerate(names):
        account.publish(e.InstrumentDefined(at, at, spot(id=name, venue_symbol=f"C{number}-USD", base=f"C{number}")))
        account.publish(e.BalanceReported(at, at, "coinbase", f"C{number}", D(2), D(2)))
    ask(account, "flatten")
    for _ in range(2 * len(names)):
        for order in account.core.orders.open_orders():
            account.fill(order.new, "2", "100", f"t-{order.client_order_id}")
        tick(account)
    assert account.core.manual.ended == dict.fromkeys(names, "closed")


@pytest.mark.fault("C6")
def test_an_operator_gets_out_while_the_market_stream_alone_is_down() -> None:
    """A real gate: no entry, by hand or not, leaves without prices; flatten does, and not without the user stream."""
    account = Account(gate=Gate(make_limits(max_daily_loss=10**9, max_drawdown_bps=9_999)))
    at = account._at()
    account.publish(e.BalanceReported(at, at, "coinbase", "USD", D(10_000), D(10_000)))
    tick(account)
    account.fill(account.place(qty="2"), "2", "100", "t1")
    for stream in ("market", "user"):
        at = account._at()
        account.publish(e.FeedDown(at, at, "coinbase", stream, "reset"))
    ask(account, "flatten")
    assert account.core.manual.status()["closing"][BTC].startswith("tradable: user stream of coinbase is down")
    at = account._at()
    account.publish(e.FeedUp(at, at, "coinbase", "user"))
    before = len(account.venue.orders)
    tick(account)
    (sent,) = account.venue.orders[before:]
    assert (sent.intent.strategy, sent.intent.qty, sent.intent.reduce_only) == (OPERATOR, D(2), True)
    account.fill(sent, "2", "99", "t2")
    tick(account)
    assert account.core.manual.ended == {BTC: "closed"}
    at = account._at()
    account.publish(e.Resumed(at, at, "operator", "go on"))
    ask(account, "order", instrument=BTC, side=e.Side.BUY, qty=D(1))
    (why,) = account.core.manual.outcome.refused
    assert "market stream of coinbase is down" in why


@pytest.mark.parametrize("action", ["close", "flatten"])
def test_a_target_that_is_sent_again_and_again_keeps_no_close_back(action: str) -> None:
    """A strategy that has its exit rest whenever none does: it is cancelled, the next one is refused."""
    account = holding()
    target = intent(e.Side.SELL, "2", reduce_only=True, limit_px=D(105), time_in_force=TimeInForce.GTC)
    entry = account.venue.orders[-1]
    ask(account, action, instrument=BTC)
    account.end(entry, e.OrderCancelled)
    account.wish(target)
    tick(account)
    closing = account.venue.orders[-1]
    assert (closing.intent.strategy, closing.intent.order_type) == (OPERATOR, OrderType.MARKET)
    assert [one.check for one in account.records if isinstance(one, Rejected)] == ["closing"]
    account.fill(closing, "2", "99", "t2")
    tick(account)
    assert account.core.manual.ended == {BTC: "closed"}


def test_the_guardians_way_out_is_not_called_back_for_a_close() -> None:
    """It is out and closes the same; the rest is closed by hand when it is gone."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    account.core.desk.place(intent(e.Side.SELL, "2", GUARDIAN, reduce_only=True, limit_px=D("99.9")))
    (out,) = account.core.orders.open_orders()
    ask(account, "close", instrument=BTC)
    for _ in range(3):
        tick(account)
    assert (account.venue.cancelled, account.core.orders.open_orders()) == ([], [out])
    account.fill(out.new, "1.5", "99.9", "t2")
    account.end(out.new, e.OrderCancelled)
    tick(account)
    assert [(one.intent.strategy, one.intent.qty) for one in account.core.orders.open_orders()] == [
        (OPERATOR, D("0.5"))
    ]


@pytest.mark.parametrize("action", ["close", "flatten"])
def test_an_exit_by_hand_that_rested_before_keeps_no_close_back(action: str) -> None:
    """It is cancelled like any other order, and asked for again where the venue refuses; one that is wished for after
    the close stays, as it is how to leave where no order at market can."""
    account = holding()
    account.end(account.venue.orders[-1], e.OrderCancelled)
    by_hand: dict[str, Any] = {"instrument": BTC, "side": e.Side.SELL, "qty": D(2), "order_type": "limit"}
    ask(account, "order", limit_px=D(105), time_in_force="gtc", reduce_only=True, **by_hand)
    target = account.venue.orders[-1]
    account.accept(target)
    ask(account, action, instrument=BTC)
    account.end(target, e.CancelRejected)
    tick(account)
    assert account.venue.cancelled == [target.client_order_id] * 2
    ask(account, "order", limit_px=D(101), time_in_force="gtc", reduce_only=True, **by_hand)
    account.end(target, e.OrderCancelled)
    tick(account)
    assert account.venue.cancelled == [target.client_order_id] * 2
    account.fill(account.venue.orders[-1], "2", "101", "t2")
    tick(account)
    assert account.core.manual.ended == {BTC: "closed"}


def test_a_session_that_ends_leaves_its_close_to_the_next_one() -> None:
    """What was in the way is gone only when the session ends: nobody would wait for what its last timer sends."""
    account = holding()
    ask(account, "close", instrument=BTC)
    at = account._at()
    account.publish(e.ShutdownRequested(at, at, "SIGINT"))
    account.end(account.venue.orders[-1], e.OrderCancelled)
    tick(account)
    assert len(account.venue.orders) == 2
    assert account.core.manual.status()["closing"] != {}


def test_nothing_is_entered_in_what_is_being_closed() -> None:
    """A strategy that enters whenever it is flat, between the fill that closes and the look that ends it: refused with
    who closes it; its own exits leave; afterwards it trades on."""
    account = Account()
    account.fill(account.place(qty="2"), "2", "100", "t1")
    ask(account, "close", instrument=BTC)
    closing = account.venue.orders[-1]
    account.wish(intent())
    account.fill(closing, "2", "99", "t2")
    account.wish(intent())
    refused = [record for record in account.records if isinstance(record, Rejected)]
    assert [(one.check, one.seen) for one in refused] == [("closing", "close by ana (uid 7): why")] * 2
    account.wish(intent(e.Side.SELL, "1", reduce_only=True))
    assert account.venue.orders[-1] is not closing
    account.end(account.venue.orders[-1], e.OrderCancelled)
    tick(account)
    assert account.core.manual.ended == {BTC: "closed"}
    assert account.place()


def left_by(account: Account) -> dict[str, str]:
    """What a session that was killed now leaves to be closed: from its records alone."""
    recovery = Recovery("USD")
    recovery.take(account.records)
    return closing_in(recovery.left())


def goes_on(kept: e.StateKept) -> Account:
    """The next session on the account, which its venue has not confirmed yet."""
    account = Account(opened=False)
    account.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    account.open()
    return account


@pytest.mark.parametrize("action", ["flatten", "close"])
def test_what_was_being_closed_goes_on_in_the_next_session(action: str) -> None:
    """Not before the venue has confirmed what is held; then what is open there is cancelled and the rest is sold."""
    before = holding()
    ask(before, action, **({"instrument": BTC} if action == "close" else {}))
    assert left_by(before) == {BTC: f"{action} by ana (uid 7): why"}
    after = goes_on(before.keep())
    tick(after)
    assert after.core.manual.status()["closing"] == {BTC: "waits until the venue has confirmed the account"}
    assert after.venue.orders == []
    cash = before.core.portfolio.balance("coinbase", "USD")
    after.publish(e.AccountSettled(after._at(), 1, "coinbase", (("USD", cash), ("BTC", D(2)))))
    tick(after)
    (resting,) = after.venue.cancelled
    after.end(before.venue.orders[-1], e.OrderCancelled)
    assert resting == before.venue.orders[-1].client_order_id
    tick(after)
    (sold,) = after.venue.orders
    assert (sold.intent.strategy, sold.intent.qty, sold.intent.reduce_only) == (OPERATOR, D(2), True)
    assert sold.intent.reason == f"{action} by ana (uid 7): why"
    assert left_by(after) == left_by(before)
    after.fill(sold, "2", "99", "t9")
    assert left_by(after) == {}
    tick(after)
    assert after.core.manual.ended == {BTC: "closed"}
    assert goes_on(after.keep()).core.manual.status()["closing"] == {}


def test_closing_what_the_next_session_does_not_trade_is_said() -> None:
    """Its instrument is not among those of the session: not closed, in so many words."""
    before = holding()
    ask(before, "close", instrument=BTC)
    after = Account(opened=False)
    after.publish(e.StateCarried(20, 20, "before", 7, before.keep().state))
    after.core.reconciliation.awaited.clear()
    tick(after)
    assert after.core.manual.ended == {BTC: "not closed: it is not traded in this session"}


def test_nothing_to_close_is_said() -> None:
    """No position, no open order: refused, and nothing is pending."""
    account = Account()
    ask(account, "close", instrument=BTC)
    assert account.core.manual.outcome.refused == [f"nothing to close in {BTC}"]
    ask(account, "dance")
    assert account.core.manual.outcome.refused == ["unknown request 'dance'"]
