"""What is held in this session, and what it knows of the one before."""

from __future__ import annotations

import pytest

from engine.holdings import FLAT, Holdings
from tests.support.core import BTC, D, perpetual, spot

EURO = spot(id="BTC/EUR@coinbase", venue_symbol="BTC-EUR", quote="EUR", settlement="EUR")


def test_coins_are_told_of_what_is_listed_and_then_of_what_was() -> None:
    """A contract in them is none of them; what leaves a symbol of the session before is missing there."""
    before, after = Holdings({}.get), Holdings({}.get)
    for instrument, qty in ((EURO, 1), (spot(), 2), (perpetual(id="BTC-PERP@coinbase"), 4)):
        before.define(instrument)
        before.add(instrument.id, D(qty))
    after.restore(before.carried(), [one.instrument for one in before.listed.values()])
    after.define(spot())
    assert after.coins("coinbase", "BTC") == [(BTC, D(2)), (EURO.id, D(1))]
    assert (after.coins("kraken", "BTC"), after.coins("coinbase", "EUR")) == ([], [])
    after.add(EURO.id, D("-0.25"))
    assert (after.recalled(EURO.id).qty, list(after.held), after.positions[EURO.id]) == (D("0.75"), [BTC], FLAT)
    assert (after.rules(EURO.id), after.rules(BTC), after.rules("BTC")) == (EURO, spot(), None)
    after.define(EURO)
    assert (after.positions[EURO.id].qty, list(after.held)) == (D("0.75"), [BTC, EURO.id])
    assert [(one.instrument, one.qty) for one in after.carried()] == [
        (BTC, D(2)),
        (EURO.id, D("0.75")),
        ("BTC-PERP@coinbase", D(4)),
    ]


def test_what_was_recalled_is_kept_as_it_is_then() -> None:
    holdings = Holdings({}.get)
    holdings.restore([], [EURO])
    with pytest.raises(KeyError):
        holdings.recalled(BTC)
    holding = holdings.recalled(EURO.id)
    holding.qty, holding.fees = D(3), D(1)
    holdings.keep(holding)
    assert (holdings.recalled(EURO.id).carried(), list(holdings.held)) == (holding.carried(), [])


def test_realised_profit_is_shown_at_the_rate_of_now() -> None:
    """Nothing is shown of it while there is none."""
    rates = {"USD": D(2)}
    holdings = Holdings(rates.get)
    for instrument in (spot(), EURO):
        holdings.define(instrument)
        holdings.listed[instrument.id].realised = D(5)
    holdings.show_all()
    assert [holdings.positions[name].realised for name in (BTC, EURO.id)] == [10, 0]
    rates["EUR"] = D(3)
    assert holdings.positions[EURO.id].realised == 0
    holdings.show_all()
    assert holdings.positions[EURO.id].realised == 15
