"""When the account counts as confirmed, by scripted listings."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.ccxt_venue.account import AccountReconciler
from connectors.ccxt_venue.answers import SeenBalance
from engine.errors import VenueError
from engine.events import AccountSettled
from tests.unit.connectors.ccxt_venue.test_settle import Desk


def reconciler(desk: Desk) -> AccountReconciler:
    return AccountReconciler(
        "ccxt_kraken",
        questions=desk.questions,  # type: ignore[arg-type]
        settler=desk.settler,
        tracker=desk.tracker,
        symbols=("BTC/USD",),
        emit=desk.log.extend,
        publish=desk.log,
        clock=desk.clock,
        every_s=60.0,
        listing_lag_s=0.0,
    )


async def test_no_account_is_confirmed_on_a_listing_that_may_hold_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of executions or of open orders: the start says which; when it can be read to its end, the account is told."""
    monkeypatch.setattr("connectors.ccxt_venue.account.START_TRIES", 1)
    desk = Desk()
    desk.questions.held = [SeenBalance("USD", Decimal(5), Decimal(5))]
    desk.questions.complete = False
    with pytest.raises(VenueError, match="executions in BTC/USD"):
        await reconciler(desk).open()
    desk.questions.complete = True
    desk.questions.open_complete = False
    with pytest.raises(VenueError, match="open orders in BTC/USD"):
        await reconciler(desk).open()
    assert desk.kinds() == []
    desk.questions.open_complete = True
    await reconciler(desk).open()
    assert desk.kinds()[-1] is AccountSettled
