"""Whatever happens to an account: what its records leave is what the core knew, from any state that was kept."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import events as e
from engine.carried import Carried
from engine.continuity import take
from engine.recovery import Recovery
from tests.support.account import Account
from tests.support.core import intent

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["place", "accept", "fill", "cancel", "cancelled", "refused", "rejected", "expired", "lost",
                         "keep", "again", "overfill", "deposit"]),
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
    account = Account()
    for number, (what, which, qty) in enumerate(steps):
        orders = account.venue.orders
        if what == "place" or not orders:
            account.wish(intent(e.Side.BUY if which % 2 else e.Side.SELL, qty))
            continue
        order = orders[which % len(orders)]
        if what == "accept":
            account.accept(order)
        elif what in ("fill", "overfill"):
            account.fill(order, qty if what == "fill" else "50", f"{90 + which}", f"t{number}", "0.01")
        elif what == "again":
            account.fill(order, qty, "100", "t1", "0.01")
        elif what == "cancel":
            account.cancel(order)
        elif what == "keep":
            account.keep()
        elif what == "deposit":
            account.publish(e.BalanceReported(account._at(), 1, "coinbase", "EUR", Decimal(qty), Decimal(qty)))
        else:
            account.end(order, _ENDS[what])
    return account


def left_by(records: list[Any]) -> Carried:
    recovery = Recovery("USD")
    recovery.take(records)
    return recovery.left()


@pytest.mark.fault("A4")
@pytest.mark.fault("B3")
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_the_records_leave_what_the_core_knew(steps: list[tuple[str, int, str]]) -> None:
    """Orders, executions, money and the state of risk; the strategies' own words are those that were kept."""
    account = run(steps)
    known = take(account.core, account.core.desk.risk_reason)
    from_beginning = left_by(account.records)
    # Equity is valued by prices, which are market data: the account's records have none.
    assert _facts(from_beginning) == _facts(known)
    kept = [n for n, record in enumerate(account.records) if isinstance(record, e.StateKept)]
    for first in kept[-2:]:
        assert _facts(left_by(account.records[first:])) == _facts(known)


def _facts(carried: Carried) -> Carried:
    stakes = carried.money.stakes
    tallies = tuple([msgspec.structs.replace(one, day_base=None, day_low=Decimal(0)) for one in stakes.tallies])
    stakes = msgspec.structs.replace(stakes, tallies=tallies)
    money = msgspec.structs.replace(carried.money, equity_peak=None, day=-1, equity_day_start=None, stakes=stakes)
    return msgspec.structs.replace(carried, money=money, strategies=())
