"""An account that has traded, and the session that goes on with it."""

from __future__ import annotations

from decimal import Decimal

from engine import events as e
from tests.support.account import Account

D = Decimal


def traded() -> Account:
    """Bought 2, sold 1 at a profit; one order half filled, one waiting for its cancel, one of unknown outcome."""
    account = Account(state={"averages": [1, 2]})
    bought = account.place(qty="2")
    account.accept(bought)
    account.fill(bought, "2", "100", "t1", "0.5")
    sold = account.place(e.Side.SELL)
    account.fill(sold, "1", "110", "t2", "0.25")
    half = account.place(qty="4")
    account.fill(half, "1", "99", "t3")
    leaving = account.place(qty="3")
    account.accept(leaving)
    account.cancel(leaving)
    account.end(account.place(qty="5"), e.OrderOutcomeUnknown)
    return account


def next_after(account: Account, **told: str) -> Account:
    """Another session on the same account, with the state that the first one put on record; the venue confirms its
    balances, or tells others."""
    kept = account.keep()
    other = Account(opened=False)
    other.publish(e.StateCarried(20, 20, "before", 7, kept.state))
    other.open()
    books = account.core.portfolio
    balances = {name: books.balance("coinbase", name) for name in books.told("coinbase")}
    balances |= {name: D(total) for name, total in told.items()}
    other.publish(e.AccountSettled(21, 21, "coinbase", tuple(balances.items())))
    return other
