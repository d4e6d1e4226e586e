"""What an operator asks of an account by hand, and the timers that follow."""

from __future__ import annotations

from typing import Any

from engine import events as e
from tests.support.account import Account

SECOND_NS = 1_000_000_000


def ask(account: Account, action: str, **named: Any) -> None:
    """A request as it is on record, with who and why."""
    at = account._at()
    account.publish(e.OperatorRequested(at, at, action, "ana (uid 7)", "why", **named))


def tick(account: Account, after_s: float = 1.0) -> None:
    account.now_ns += int(after_s * SECOND_NS)
    at = account._at()
    account.publish(e.Timer(at, at, "tick"))


def holding(qty: str = "2") -> Account:
    """The strategy holds ``qty`` and has one order open."""
    account = Account()
    account.fill(account.place(qty=qty), qty, "100", "t1")
    account.accept(account.place(qty="1"))
    return account
