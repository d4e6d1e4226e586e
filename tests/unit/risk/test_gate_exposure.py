"""What the gate counts against the limits of exposure: open and unknown orders, other instruments and currencies."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import Approved
from engine.instruments import AssetClass
from risk.gate import Gate
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import EURO, OTHER, PERP, SECOND_NS, check_of, leave, order, review
from tests.support.limits import NAME, make_limits

D = Decimal


@pytest.mark.fault("F4")
def test_a_batch_counts_against_itself() -> None:
    """Five orders of 400 each under an order limit of 1,000: only five fit into 2,000, filled or not."""
    view, gate = FakeView(), Gate(make_limits(max_net_notional=3_000))
    verdicts = []
    for i in range(7):
        intent = order(qty=D(4), limit_px=D("100.00") - D("0.01") * i)
        verdict = gate.review(intent, view)
        verdicts.append(check_of(verdict))
        if isinstance(verdict, Approved):
            gate.on_opened(view.open(intent))
    assert verdicts == [""] * 5 + ["max_position_qty"] * 2


@pytest.mark.fault("B14")
def test_an_unknown_order_holds_its_risk() -> None:
    """The order never resolves: its quantity stays counted however long it takes."""
    view, gate = FakeView(), Gate(make_limits(max_position_qty={"*": 1}))
    gate.on_opened(view.open(order()))
    view.now_ns += 3600 * SECOND_NS
    view.quote(NAME, 99.99, 100.01)
    assert check_of(gate.review(order(), view)) == "max_position_qty"
    view.close("o1")
    assert check_of(gate.review(order(), view)) == ""


@pytest.mark.fault("B14")
@pytest.mark.parametrize("limits", [{}, {"max_credit": 1_000}])
def test_an_open_order_in_what_this_session_does_not_trade_denies_entries(limits: dict[str, int]) -> None:
    """Left by an earlier session: what it may fill cannot be valued, and may be all that limits leave.  Exits pass."""
    view = FakeView()
    opened = view.open(order(instrument=OTHER, qty=D(1_000)))
    assert review(order(), view, make_limits(**limits)) == "instrument"
    view.hold(NAME, D(1), strategy="s")
    assert review(leave(), view, make_limits(**limits)) == ""
    view.hold(NAME, D(0), strategy="s")
    view.close(opened.client_order_id)
    assert review(order(), view, make_limits(**limits)) == ""


@pytest.mark.fault("F2")
def test_exposure_sums_over_instruments_in_portfolio_currency() -> None:
    """Long 10 ETH at 100 and 5 BTC at 100 EUR with EUR at 1.2 are 1,600; with this order 1,700.02."""
    view = FakeView(make_instrument(), make_instrument(OTHER), make_instrument(EURO))
    view.rates["EUR"] = D("1.2")
    view.hold(OTHER, D(10))
    view.hold(EURO, D(5))
    assert review(order(), view, make_limits(max_gross_notional=1_701)) == ""
    assert review(order(), view, make_limits(max_gross_notional=1_700)) == "max_gross_notional"
    assert review(order(), view, make_limits(max_net_notional=1_700)) == "max_net_notional"


@pytest.mark.fault("F13")
def test_an_unknown_rate_or_price_of_anything_held_denies() -> None:
    """A second holding whose currency, then whose price, is not known; flat in it, nobody asks."""
    view = FakeView(make_instrument(), make_instrument(EURO))
    assert review(order(), view) == ""
    view.hold(EURO, D(1))
    assert review(order(), view) == "rate_unknown"
    view.rates["EUR"] = D("1.2")
    assert review(order(), view) == ""
    del view.tops[EURO]
    assert review(order(), view) == "no_price"


@pytest.mark.fault("F4")
def test_open_orders_elsewhere_count_too() -> None:
    """No position in the other instrument, only an order: its worst case is in the gross."""
    view = FakeView(make_instrument(), make_instrument(OTHER))
    view.open(order(instrument=OTHER, qty=D(5), limit_px=D(110)))
    assert review(order(), view, make_limits(max_gross_notional=650)) == "max_gross_notional"
    assert review(order(), view, make_limits(max_gross_notional=651)) == ""


def test_long_and_short_offset_in_net_but_not_in_gross() -> None:
    """Short 5 of a perpetual, long 5 bought: net 0, gross 1,000."""
    perp = make_instrument(PERP, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USD")
    view = FakeView(make_instrument(), perp)
    view.hold(PERP, D(-5))
    buy = order(qty=D(5), limit_px=D("100.00"))
    assert review(buy, view, make_limits(max_net_notional=1)) == ""
    assert review(buy, view, make_limits(max_gross_notional=999)) == "max_gross_notional"


def test_an_inverse_contract_is_worth_more_the_lower_its_price() -> None:
    """100 contracts of 1 USD at 100 USD are 1 BTC; BTC at 100 USD makes it 100 USD, and a limit below the mid more."""
    name = "BTC/USD@deribit"
    inverse = make_instrument(
        name, settlement="BTC", asset_class=AssetClass.PERPETUAL, inverse=True, can_short=True, lot_qty=D(1)
    )
    view = FakeView(inverse)
    view.rates["BTC"] = D(100)
    intent = order(instrument=name, qty=D(100), limit_px=D("99.60"))
    verdict = Gate(
        make_limits(allowed_instruments=[name], max_order_qty={"*": 100}, max_position_qty={"*": 100})
    ).review(intent, view)
    assert isinstance(verdict, Approved)
    assert verdict.notional.quantize(D("0.01")) == D("100.40")
