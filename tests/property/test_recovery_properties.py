"""Whatever happens to an account: what its records leave is what the core knew, from any state that was kept."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.coinbase.offer import OFFER
from engine import events as e
from engine.carried import Carried
from engine.commands import NewOrder, ReplaceIntent, TimeInForce
from engine.continuity import take
from engine.manual import closing_in
from engine.recovery import Recovery
from tests.support.account import Account
from tests.support.core import BTC, intent

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["place", "accept", "fill", "cancel", "cancelled", "refused", "rejected", "expired", "lost",
                         "keep", "again", "overfill", "deposit", "flatten", "close", "fund", "change", "change",
                         "shown", "unchanged"]),
        st.integers(0, 7),
        st.sampled_from(["0.5", "1", "2"]),
    ),
    min_size=1,
    max_size=40,
)  # fmt: skip
_ENDS: dict[str, Any] = {
    "cancelled": e.OrderCancelled,
    "refused": e.CancelRejected,
    "rejected": e.OrderRejected,
    "expired": e.OrderExpired,
    "lost": e.OrderOutcomeUnknown,
}


def run(steps: list[tuple[str, int, str]]) -> Account:
    account = Account(offers={"coinbase": OFFER})
    for number, (what, which, qty) in enumerate(steps):
        orders = account.venue.orders
        if what == "place" or not orders:
            account.wish(intent(e.Side.BUY if which % 2 else e.Side.SELL, qty, time_in_force=TimeInForce.GTC))
            continue
        order = orders[which % len(orders)]
        if what == "accept":
            account.accept(order)
        elif what in ("fill", "overfill"):
            account.fill(order, qty if what == "fill" else "50", f"{90 + which}", f"t{number}", "0.01")
        elif what == "change":
            wish = ReplaceIntent(account.now_ns, "s", order.client_order_id, 2 * Decimal(qty), Decimal(90 + which))
            account.wish(wish)
        elif what == "shown":
            managed = account.core.orders.get(order.client_order_id)
            edit = None if managed is None else managed.edit
            account.show(order, qty if edit is None else str(edit.qty), "99" if edit is None else str(edit.limit_px))
        elif what == "unchanged":
            account.refuse_change(order)
        elif what == "again":
            account.fill(order, qty, "100", "t1", "0.01")
        elif what == "cancel":
            account.cancel(order)
        elif what == "keep":
            account.keep()
        elif what in ("flatten", "close"):
            at, name = account._at(), BTC if what == "close" else ""
            account.publish(e.OperatorRequested(at, at, what, "ana", "", instrument=name))
        elif what == "fund":
            at = account._at()
            account.publish(e.FundingSettled(at, at, "coinbase", BTC, f"f{which}", "USD", Decimal(qty) - 1))
        elif what == "correct":
            account.publish(_correction(account, order, which, Decimal(qty), number))
        elif what == "settle":
            at = account._at()
            told = (("USD", Decimal(1000) + which), ("BTC", Decimal(qty)))
            account.publish(e.AccountSettled(at, at, "coinbase", told))
        elif what == "found":
            at = account._at()
            found = e.OrderFound(
                at, at, "coinbase", f"x{which}", f"vx{which}", BTC, e.Side.SELL, Decimal(5), Decimal(0), Decimal(120)
            )
            account.publish(found)
        elif what == "others":
            stranger = NewOrder(1, f"x{which}", "coinbase", order.intent)
            account.fill(stranger, qty, "101", f"o{number}")
        elif what in ("halt", "resume"):
            at = account._at()
            account.publish((e.Halted if what == "halt" else e.Resumed)(at, at, "operator", f"{number}"))
        elif what == "deposit":
            account.publish(e.BalanceReported(account._at(), 1, "coinbase", "EUR", Decimal(qty), Decimal(qty)))
        else:
            account.end(order, _ENDS[what])
    return account


def _correction(account: Account, order: NewOrder, which: int, qty: Decimal, number: int) -> e.FillCorrected:
    """Of an execution that was booked, of one that nobody has told, or of one that is booked otherwise."""
    at = account._at()
    fills = [record for record in account.records if isinstance(record, e.OrderFilled)]
    told = fills[which % len(fills)] if fills and which else None
    trade_id = f"c{number}" if told is None else told.trade_id
    px, old_qty, side = (
        (Decimal(100), Decimal(1), order.intent.side) if told is None else (told.px, told.qty, told.side)
    )
    name = order.client_order_id if told is None else told.client_order_id
    return e.FillCorrected(
        at, at, "coinbase", name, "v", trade_id, BTC, side, old_qty, px, Decimal("0.01"), "USD",
        qty if which % 3 else Decimal(0), Decimal(99), Decimal(0),
    )  # fmt: skip


def left_by(records: list[Any]) -> Carried:
    recovery = Recovery("USD")
    recovery.take(records)
    return recovery.left()


@pytest.mark.fault("A4")
@pytest.mark.fault("B3")
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
@example(steps=[("place", 0, "0.5"), ("place", 1, "0.5"), ("fill", 1, "2"), ("keep", 0, "1"), ("fill", 0, "2")])
def test_the_records_leave_what_the_core_knew(steps: list[tuple[str, int, str]]) -> None:
    """Orders, executions, money and the state of risk; the strategies' own words are those that were kept."""
    account = run(steps)
    known = take(account.core, account.core.desk.latch.reason)
    from_beginning = left_by(account.records)
    # Equity is valued by prices, which are market data: the account's records have none.
    assert _facts(from_beginning) == _facts(known)
    # The core looks on its timers whether it is done; in the records it is done as soon as nothing is held and open.
    closing = closing_in(known).items()
    assert closing_in(from_beginning).items() <= closing
    kept = [n for n, record in enumerate(account.records) if isinstance(record, e.StateKept)]
    for first in kept[-2:]:
        left = left_by(account.records[first:])
        assert _facts(left) == _facts(known)
        assert closing_in(left).items() <= closing


def _facts(carried: Carried) -> Carried:
    stakes = carried.money.stakes
    tallies = tuple([msgspec.structs.replace(one, day_base=None, day_low=Decimal(0)) for one in stakes.tallies])
    stakes = msgspec.structs.replace(stakes, tallies=tallies)
    measured = {"equity_peak": None, "day": -1, "equity_day_start": None, "unvalued": ()}
    money = msgspec.structs.replace(carried.money, stakes=stakes, **measured)
    return msgspec.structs.replace(carried, money=money, strategies=(), known_px=())


@pytest.mark.fault("A2")
def test_an_order_that_waited_for_the_disk_when_the_state_was_kept_may_have_left_since() -> None:
    """Held, kept, released, cancelled, killed: its release is on no record; its cancel must not refuse the start."""
    account = Account(hold_orders=True)
    account.wish(intent(qty="1"))
    account.keep()
    (order,) = [record for record in account.records if isinstance(record, NewOrder)]
    at = account._at()
    account.publish(e.JournalSynced(at, at, 10**6))
    account.accept(order)
    account.cancel(order)
    assert account.venue.cancelled == [order.client_order_id]
    (left,) = left_by(account.records).orders
    assert (left.new, left.state) == (order, "cancel_pending")
