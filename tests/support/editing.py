"""An order that rests where the venue changes orders in place."""

from __future__ import annotations

from decimal import Decimal

from connectors.coinbase.offer import OFFER
from engine import events as e
from engine.commands import (
    NewOrder,
    ReplaceIntent,
    TimeInForce,
)
from engine.ports import OpenOrder
from tests.support.account import Account
from tests.support.core import BTC, intent

D = Decimal


OFFERS = {"coinbase": OFFER}


GTC = TimeInForce.GTC


def resting(qty: str = "4", px: str = "100", **options: object) -> tuple[Account, NewOrder]:
    account = Account(offers=OFFERS, **options)
    at = account._at()
    account.publish(e.Timer(at, at, "tick"))  # what equity is, the gate wants to know
    account.wish(intent(qty=qty, limit_px=D(px), time_in_force=GTC))
    order = account.venue.orders[-1]
    account.accept(order)
    return account, order


def replace(account: Account, order: NewOrder, qty: str, px: str = "101") -> None:
    account.wish(ReplaceIntent(account.now_ns, "s", order.client_order_id, D(qty), D(px), "better price"))


def open_qty(account: Account) -> Decimal:
    return account.core.view.open_qty(BTC, e.Side.BUY)


def picture(account: Account) -> OpenOrder:
    (one,) = account.core.view.open_orders()
    return one


def changes(account: Account) -> list[tuple[Decimal, Decimal]]:
    return [(one.qty, one.limit_px) for one in account.venue.replaced]
