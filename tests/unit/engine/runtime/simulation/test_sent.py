"""The check of what leaves, on changes of an order while the account is beyond its limit."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from engine.commands import NewOrder, OrderIntent, OrderType, ReplaceOrder, RiskState, TimeInForce
from engine.events import Side
from engine.runtime.simulation.changes import ChangeChecks
from engine.runtime.simulation.known import Known
from engine.runtime.simulation.rules import RulesChecks
from engine.runtime.simulation.sent import SentChecks

BTC = "BTC/USD@coinbase"
OLD_QTY, OLD_PX = Decimal("0.007"), Decimal(61_000)


class Venue:
    """Others have paid in: with all that is open the position becomes more than may be held."""

    disturbed_ns = 0

    def worst_base(self, base: str, side: Side) -> Decimal:
        assert (base, side) == ("BTC", Side.BUY)
        return Decimal("1.017")

    def others(self, _base: str, _disowned: object) -> Decimal:
        return Decimal("1.005")

    def fills(self) -> list[Any]:
        return []


@pytest.mark.parametrize(("qty", "broken"), [("0.0042", []), ("0.007", []), ("0.0071", ["I3"])])
def test_only_a_change_that_adds_needs_room(qty: str, broken: list[str]) -> None:
    """Dearer and smaller, dearer, dearer and larger."""
    found: list[str] = []

    def fail(invariant: str, _text: str) -> None:
        found.append(invariant)

    venue: Any = Venue()
    known = Known(venue, lambda: 1)
    known.core = SimpleNamespace(gate=SimpleNamespace(state=RiskState.ACTIVE))  # type: ignore[assignment]
    known.journal = SimpleNamespace(durable_seq=9, broken=False, full=False)  # type: ignore[assignment]
    known.told_of_others["BTC"] = Decimal("1.005")
    changes = ChangeChecks(fail)
    checks = SentChecks(
        known, venue, RulesChecks(fail), changes, fail, venue="coinbase", max_qty={"BTC": Decimal("1.015")}
    )
    wish = OrderIntent(1, "s", BTC, Side.BUY, OLD_QTY, OrderType.LIMIT, OLD_PX, TimeInForce.GTC)
    changes.on_new(NewOrder(1, "k-1", "coinbase", wish))
    px = OLD_PX + 1
    changes.on_replace(0, 2, ReplaceOrder(2, "k-1", "coinbase", "v-1", BTC, Decimal(qty), px, OLD_QTY, OLD_PX, ""))
    body = b'{"order_id":"v-1","price":"%s","size":"%s"}' % (str(px).encode(), qty.encode())
    assert checks.written(b"POST /api/v3/brokerage/orders/edit HTTP/1.1\r\nHost: venue\r\n\r\n" + body)
    assert found == broken


@pytest.mark.parametrize(("told", "untold"), [(True, "0.005"), (False, "0.002")])
def test_a_sale_by_others_that_was_told_makes_no_room_for_coins_that_came_unseen(told: bool, untold: str) -> None:
    """Confirmed at 1, 0.005 paid in, 0.003 sold by hand; an earlier sale, told late, was in the confirmed total."""

    class Account(Venue):
        total, sales = Decimal(1), ["before"]

        def others(self, _base: str, _disowned: object) -> Decimal:
            return self.total

        def fills(self) -> list[Any]:
            return [SimpleNamespace(entry_id=name) for name in self.sales]

    account: Any = Account()
    known = Known(account, lambda: 1)
    known.settle(["BTC"])
    account.total, account.sales = Decimal("1.002"), ["before", "since"]
    known.hear_fill("before", "BTC", Decimal("-0.004"))
    if told:
        known.hear_fill("since", "BTC", Decimal("-0.003"))
    assert known.untold_of_others("BTC") == Decimal(untold)
    known.settle(["BTC"])
    assert known.untold_of_others("BTC") == 0


@pytest.mark.parametrize(
    ("seconds", "asleep", "must"),
    [(9.0, False, False), (11.0, False, True), (9.0, True, True)],
)
async def test_a_session_that_stood_still_must_be_confirmed_before_it_buys(
    seconds: float, asleep: bool, must: bool
) -> None:
    """For long, or asleep at all; and only one that was confirmed before: another may not buy anyway."""
    known = Known(Venue(), lambda: 1)  # type: ignore[arg-type]
    known.wake(seconds, asleep=asleep)
    assert not known.must_confirm
    known.settle(())
    known.wake(seconds, asleep=asleep)
    known.wake(1.0, asleep=False)
    assert known.must_confirm == must
    known.settle(())
    assert not known.must_confirm
