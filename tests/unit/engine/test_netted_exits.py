"""Exits beside an opposite position: what the account has first, the rest by an order that may turn it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.core import TradingCore
from engine.events import Side
from engine.instruments import Instrument
from engine.netted_exits import unnet
from tests.support.core import D, MemoryRecorder, Scripted, build_core, fill, intent, open_market, perpetual, spot


def holding(rules: Instrument | None = None, **held: str) -> TradingCore:
    """A core whose strategies hold so much each, by orders of their own."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core, rules or perpetual(lot_qty=D("0.1"), min_qty=D("0.1")), cash="100000")
    for number, (name, qty) in enumerate(held.items()):
        side = Side.BUY if D(qty) > 0 else Side.SELL
        order = core.desk.place(intent(side, str(abs(D(qty))), name))
        assert isinstance(order, NewOrder)
        core.on_event(fill(order, str(abs(D(qty))), "100", f"t{number}"))
    return core


def leaving(qty: str, side: Side = Side.SELL, **changes: Any) -> OrderIntent:
    return intent(side, qty, reduce_only=True, **changes)


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("own", "other", "qty", "expected", "reduces"),
    [
        ("1", "-0.4", "1", "0.6", True),
        ("1", "-0.4", "0.6", "0.6", True),
        ("1", "-1", "1", "1", False),
        ("1", "-3", "0.5", "0.5", False),
        ("-1", "0.4", "1", "0.6", True),
        ("-1", "1", "1", "1", False),
        ("1", "-0.4", "1.1", "1.1", True),  # more than is its own: risk says so
        ("1", "0.4", "2", "2", True),
    ],
)
def test_what_the_account_has_goes_first(own: str, other: str, qty: str, expected: str, reduces: bool) -> None:
    """By either side."""
    core = holding(s=own, other=other)
    side = Side.SELL if D(own) > 0 else Side.BUY
    found = unnet(leaving(qty, side), core.view)
    assert (found.qty, found.reduce_only) == (D(expected), reduces)


def test_what_its_own_open_exits_close_is_not_closed_twice() -> None:
    """1 held beside 1 short, 0.7 of it on its way out: 0.3 may follow, and no more."""
    core = holding(s="1", other="-1")
    assert isinstance(core.desk.place(intent(Side.SELL, "0.7")), NewOrder)
    assert unnet(leaving("0.3"), core.view).reduce_only is False
    wish = leaving("0.4")
    assert unnet(wish, core.view) is wish


def test_what_may_rest_stays_an_order_that_only_reduces() -> None:
    """Its position may be another by then."""
    core = holding(s="1", other="-1")
    wish = leaving("1", limit_px=D(120), time_in_force=TimeInForce.GTC)
    assert unnet(wish, core.view) is wish
    assert not unnet(leaving("1", order_type=OrderType.MARKET, limit_px=None), core.view).reduce_only


def test_where_nothing_can_be_sold_short_nothing_is_hidden() -> None:
    """The account has less than the strategy believes: no order of ours mends that."""
    core = holding(spot(can_short=False), s="1", other="-0.4")
    wish = leaving("1")
    assert unnet(wish, core.view) is wish
