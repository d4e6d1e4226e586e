"""A coin that strategies hold, as what another purchase is paid with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine import events as e
from engine.commands import NewOrder, Rejected
from engine.events import Side
from engine.ports import Stake
from engine.stakes import EVERYONE, GUARDIAN, OPERATOR
from risk.gate import Gate
from tests.support.core import BTC, MemoryRecorder, Scripted, build_core, fill, intent, open_market, quote, spot
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import check_of, market, order
from tests.support.limits import make_limits

D = Decimal
COIN, PAIR = "BTC/USD@coinbase", "ETH/BTC@coinbase"
LIMITS: dict[str, Any] = {
    "allowed_instruments": "all",
    "max_order_notional": 100_000,
    "max_position_notional": 100_000,
    "max_gross_notional": 100_000,
    "max_net_notional": 100_000,
    "collar_bps": 500,
    "max_order_qty": {"*": 100},
    "max_position_qty": {"*": 100},
}


def account(held: str, theirs: str, own: str = "0") -> FakeView:
    """``held`` BTC, of which another strategy has ``theirs`` and the one that asks ``own``; an ETH costs 0.05."""
    view = FakeView(make_instrument(COIN), make_instrument(PAIR, tick_px=D("0.0001"), min_notional=D("0.001")))
    view.quote(PAIR, 0.0499, 0.0501)
    view.rates["BTC"] = D(100)
    view.hold(COIN, D(held))
    view.strategy_qtys["s", COIN] = D(own)
    view.stakes[EVERYONE, COIN] = Stake(D(theirs) + D(own), D(100))
    return view


def buys(qty: str, view: FakeView, **changes: Any) -> Any:
    limits = make_limits(**{**LIMITS, "allowed_instruments": [COIN, PAIR]})
    return Gate(limits).review(order(instrument=PAIR, qty=D(qty), limit_px=D("0.05"), **changes), view)


@pytest.mark.parametrize(
    ("held", "theirs", "own", "qty", "check"),
    [
        ("1", "1", "0", "1", "coins_of_others"),  # all of it is theirs
        ("1.05", "1", "0", "0.999", ""),  # the owner's 0.05 pay for it and its fee
        ("1.05", "1", "0", "1", "coins_of_others"),  # and for no more
        ("2", "1", "1", "10", ""),  # its own
        ("1", "0", "0", "30", ""),  # nobody's: the venue says whether it is enough
        ("0", "0", "0", "1", ""),
    ],
)
def test_a_purchase_spends_what_no_other_strategy_holds(held: str, theirs: str, own: str, qty: str, check: str) -> None:
    assert check_of(buys(qty, account(held, theirs, own))) == check


def test_what_is_open_already_spends_too() -> None:
    """Purchases with the same coin, the owner's, the guardian's and its own sales of it; a sale of who holds it takes
    nothing more."""
    for strategy, name, side, px, check in (
        ("t", PAIR, Side.BUY, "0.05", "coins_of_others"),
        ("", COIN, Side.SELL, "101", "coins_of_others"),
        (OPERATOR, COIN, Side.SELL, "101", "coins_of_others"),
        (GUARDIAN, COIN, Side.SELL, "101", "coins_of_others"),
        ("s", COIN, Side.SELL, "101", "coins_of_others"),
        ("t", COIN, Side.SELL, "101", ""),
        ("t", PAIR, Side.SELL, "0.06", ""),
    ):
        view = account("2", "1")
        view.open(order(strategy=strategy, instrument=name, side=side, qty=D(1), limit_px=D(px)))
        assert check_of(buys("19", view)) == check, (strategy, name, side)


def test_at_market_it_counts_with_its_slip() -> None:
    limits = make_limits(**{**LIMITS, "allowed_instruments": [COIN, PAIR], "market_slip_bps": 300})
    for qty, check in (("19", ""), ("19.5", "coins_of_others")):
        verdict = Gate(limits).review(market(instrument=PAIR, qty=D(qty)), account("2", "1"))
        assert check_of(verdict) == check


def test_another_venues_coins_and_contracts_are_not_what_it_is_paid_with() -> None:
    other = "BTC/USD@kraken"
    view = account("1", "0")
    view.defined[other] = make_instrument(other)
    view.quote(other, 99.99, 100.01)
    view.hold(other, D(1))
    view.stakes[EVERYONE, other] = Stake(D(1), D(100))
    assert check_of(buys("19", view)) == ""


def test_who_holds_the_coin_can_still_leave() -> None:
    """A whole core: one strategy has bought BTC, the other one would buy ETH with it, and the first one leaves."""
    limits = make_limits(**{**LIMITS, "allowed_instruments": [COIN, PAIR]})
    recorder = MemoryRecorder()
    holder, buyer = Scripted("holder"), Scripted("buyer")
    core = build_core(recorder, holder, buyer, gate=Gate(limits))
    core.on_event(e.RateReported(1, 1, "BTC", D(100)))
    open_market(core, cash="1000")
    pair = spot(
        id=PAIR,
        venue_symbol="ETH-BTC",
        base="ETH",
        quote="BTC",
        settlement="BTC",
        tick_px=D("0.0001"),
        min_notional=D("0.001"),
    )
    core.on_event(e.InstrumentDefined(1, 1, pair))
    core.on_event(quote(9))
    core.on_event(e.Quote(9, 9, PAIR, 0.0499, 10.0, 0.0501, 10.0))
    core.on_event(e.Timer(9, 9, "tick"))
    holder.answers["on_quote"] = lambda *_: [intent(strategy="holder", qty="2")]
    core.on_event(quote(10))
    holder.answers.clear()
    (bought,) = recorder.of(NewOrder)
    core.on_event(fill(bought, "2", "100", "t1"))
    buyer.answers["on_quote"] = lambda *_: [intent(strategy="buyer", instrument=PAIR, qty="10", limit_px=D("0.05"))]
    core.on_event(quote(60))
    buyer.answers.clear()
    assert [one.check for one in recorder.of(Rejected)] == ["coins_of_others"]
    holder.answers["on_quote"] = lambda *_: [intent(Side.SELL, "2", "holder", reduce_only=True)]
    core.on_event(quote(61))
    assert recorder.of(NewOrder)[-1].intent.qty == core.portfolio.qty(BTC) == 2


def test_coins_of_others_keep_no_buy_back_in_that_another_strategy_hides() -> None:
    """Short 1 ETH beside one that is long 1, where spot can be sold short: it leaves, and enters nothing on top."""
    view = account("1", "1")
    view.defined[PAIR] = make_instrument(PAIR, tick_px=D("0.0001"), min_notional=D("0.001"), can_short=True)
    view.strategy_qtys |= {("s", PAIR): D(-1), ("t", PAIR): D(1)}
    limits = make_limits(**{**LIMITS, "allowed_instruments": [COIN, PAIR], "opposing": "net"})
    for qty, check in (("1", ""), ("2", "coins_of_others")):
        assert check_of(Gate(limits).review(market(instrument=PAIR, qty=D(qty)), view)) == check
