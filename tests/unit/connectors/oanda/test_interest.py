"""A day's interest as facts: one for each position, told once over sessions."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.oanda import wire
from connectors.oanda.interest import Interest

D = Decimal
NAMES = {"EUR_USD": "EUR/USD@oanda", "USD_JPY": "USD/JPY@oanda"}


def charged(number: int, **amounts: str) -> wire.Transaction:
    positions = [wire.PositionFinancing(name, D(amount)) for name, amount in amounts.items()]
    return wire.Transaction(type="DAILY_FINANCING", id=str(number), positionFinancings=positions)


def told(interest: Interest, transaction: wire.Transaction, ts_ns: int = 50) -> list[tuple[str, str, Decimal]]:
    events = interest.events(transaction, NAMES, ts_ns, 60)
    assert all(
        (one.venue, one.currency, one.ts_event_ns, one.ts_recv_ns) == ("oanda", "CHF", ts_ns, 60) for one in events
    )
    return [(one.funding_id, one.instrument, one.amount) for one in events]


def test_each_position_that_is_traded_here_has_its_own() -> None:
    """In the account's currency, with an id of its own; nothing of others, and nothing where nothing was charged."""
    transaction = charged(7, EUR_USD="-0.0123", USD_JPY="0.0000", XAU_USD="-9")
    assert told(Interest("oanda", "CHF"), transaction) == [("7-EUR_USD", "EUR/USD@oanda", D("-0.0123"))]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(6, []), (7, ["7-USD_JPY"]), (8, ["8-EUR_USD", "8-USD_JPY"])],
)
def test_what_an_earlier_session_was_told_is_not_told_again(number: int, expected: list[str]) -> None:
    """Everything before the newest that it knew; of that one, what a kill had kept from its record."""
    interest = Interest("oanda", "CHF")
    interest.restore(("oanda|3-EUR_USD", "oanda|7-EUR_USD", "other|90-EUR_USD"), last_ns=10**18)
    assert [one for one, _, _ in told(interest, charged(number, EUR_USD="-1", USD_JPY="2"))] == expected


def test_a_session_that_knew_of_none_is_believed_until_its_end() -> None:
    """It may have been of a release that booked interest with its balances: no day of it counts twice."""
    interest = Interest("oanda", "CHF")
    interest.restore(("other|90-EUR_USD",), last_ns=40)
    assert told(interest, charged(7, EUR_USD="-1"), ts_ns=40) == []
    assert len(told(interest, charged(8, EUR_USD="-1"), ts_ns=41)) == 1
