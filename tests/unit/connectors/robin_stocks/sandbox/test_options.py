"""Chains, prices of contracts, and orders for them: what they cost, bind and leave."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.robin_stocks.sandbox.account import Contract
from connectors.robin_stocks.sandbox.errors import ApiError
from connectors.robin_stocks.sandbox.options import black_scholes
from connectors.robin_stocks.sandbox.records import API, Order
from connectors.robin_stocks.sandbox.settings import AccountSettings
from tests.support.robin_stocks import D, StillVenue

REF = "00000000-0000-4000-8000-0000000000"


class Desk:
    """Calls of AAPL three weeks out, by strike."""

    def __init__(self, **settings: Any) -> None:
        self.venue = StillVenue(**settings)
        (chain,) = self.venue.exchange.options.chains.values()
        self.expiry = chain.expiries[2]
        self.contracts = {
            (one.strike, one.kind): one for one in chain.contracts if one.expiry == self.expiry
        }  # fmt: skip
        self._number = 0

    def quote(self, contract: Contract) -> tuple[Any, Any]:
        quote = self.venue.exchange.options.market(contract.id, self.venue.now_ns).quote
        assert quote is not None
        return quote.bid, quote.ask

    def place(self, *legs: tuple[Contract, str, str], price: Any, direction: str, quantity: str = "1") -> Order:
        self._number += 1
        venue = self.venue
        form = {
            "account": f"{API}/accounts/{venue.account.number}/", "direction": direction, "time_in_force": "gtc",
            "legs": [
                {"position_effect": effect, "side": side, "ratio_quantity": 1, "option": f"x/{contract.id}/"}
                for contract, side, effect in legs
            ],
            "type": "limit", "trigger": "immediate", "price": str(price), "quantity": quantity,
            "ref_id": f"{REF}{self._number:02d}",
        }  # fmt: skip
        order = venue.exchange.desk.place(
            venue.account, venue.exchange.reader.option(venue.account, form, venue.now_ns), venue.now_ns
        )
        venue.pass_time()
        return order


def test_prices_are_those_of_the_formula() -> None:
    """Against a value from the textbook's own example by hand, put-call parity, and the bounds of delta."""
    call, put = black_scholes(100, 100, 1.0, call=True), black_scholes(100, 100, 1.0, call=False)
    assert call.px == pytest.approx(12.99, abs=0.02)
    assert call.px - put.px == pytest.approx(100 - 100 * 2.718281828459045 ** (-0.04), abs=1e-9)
    assert 0 < call.delta < 1
    assert call.delta - put.delta == pytest.approx(1)
    assert black_scholes(300, 100, 1e-6, call=False).px == 0


def test_a_chain_has_weeks_and_strikes_around_the_price() -> None:
    """Four dates, eleven strikes, two kinds; quotes keep the grid and their order."""
    desk = Desk()
    (chain,) = desk.venue.exchange.options.chains.values()
    assert len(chain.expiries) == 4
    assert len(chain.contracts) == 4 * 11 * 2
    for contract in chain.contracts[::7]:
        bid, ask = desk.quote(contract)
        assert 0 < bid < ask
        assert not bid % (D("0.05") if bid >= 3 else D("0.01"))


def test_bought_sold_and_what_it_costs() -> None:
    """The premium leaves the cash a hundredfold; what is held can be closed and no more."""
    desk = Desk()
    contract = desk.contracts[D(230), "call"]
    bid, ask = desk.quote(contract)
    order = desk.place((contract, "buy", "open"), price=ask, direction="debit", quantity="2")
    account = desk.venue.account
    assert (order.state, account.cash, account.qty(contract.id)) == ("filled", 100_000 - 200 * ask, 2)
    made = order.json()
    assert (made["direction"], made["cancel_url"], made["processed_quantity"]) == ("debit", None, "2.00000")
    with pytest.raises(ApiError, match="enough contracts"):
        desk.place((contract, "sell", "close"), price=bid, direction="credit", quantity="3")
    bid, _ = desk.quote(contract)
    sold = desk.place((contract, "sell", "close"), price=bid, direction="credit", quantity="2")
    assert (sold.state, account.qty(contract.id)) == ("filled", 0)


def test_what_is_sold_binds_money_or_shares() -> None:
    """A put its strike, a spread its width, a call the shares below it."""
    desk = Desk(accounts=(AccountSettings(holdings={"AAPL": D(100)}),))
    account = desk.venue.account
    put, lower = desk.contracts[D(230), "put"], desk.contracts[D(225), "put"]
    bid, _ = desk.quote(put)
    desk.place((put, "sell", "open"), price=bid, direction="credit")
    assert account.collateral() == 23_000
    assert account.buying_power == account.cash - 23_000
    _, ask = desk.quote(lower)
    desk.place((lower, "buy", "open"), price=ask, direction="debit")
    assert account.collateral() == 500
    call = desk.contracts[D(240), "call"]
    bid, _ = desk.quote(call)
    desk.place((call, "sell", "open"), price=bid, direction="credit")
    assert account.free_qty("AAPL") == 0
    with pytest.raises(ApiError, match="needs the shares"):
        desk.place((call, "sell", "open"), price=bid, direction="credit")


def test_legs_trade_together_or_not_at_all() -> None:
    """A spread at its price fills both legs; a cent better than there is, it waits."""
    desk = Desk()
    low, high = desk.contracts[D(230), "call"], desk.contracts[D(240), "call"]
    net = desk.quote(low)[1] - desk.quote(high)[0]
    legs = ((low, "buy", "open"), (high, "sell", "open"))
    waits = desk.place(*legs, price=net // D("0.05") * D("0.05") - D("0.10"), direction="debit")
    assert (waits.state, waits.filled) == ("confirmed", 0)
    fills = desk.place(*legs, price=net // D("0.05") * D("0.05") + D("0.05"), direction="debit")
    account = desk.venue.account
    assert (fills.state, account.qty(low.id), account.qty(high.id)) == ("filled", 1, -1)
    assert account.cash == 100_000 - 100 * net


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"direction": "credit"}, "direction"), ({"price": "4.51"}, "multiple"), ({"quantity": "1.5"}, "whole number")],
)
def test_requests_that_are_refused(fields: dict[str, Any], words: str) -> None:
    """One thing wrong each."""
    desk = Desk()
    given = {"price": "4.50", "direction": "debit", **fields}
    with pytest.raises(ApiError, match=words):
        desk.place((desk.contracts[D(230), "call"], "buy", "open"), **given)


def test_a_contract_ends_with_what_it_is_worth() -> None:
    """In the money: cash for the difference; afterwards it is no contract any more."""
    desk = Desk()
    contract = desk.contracts[D(220), "call"]
    desk.place((contract, "buy", "open"), price=desk.quote(contract)[1], direction="debit")
    account, venue = desk.venue.account, desk.venue
    cash = account.cash
    venue.now_ns = contract.expires_ns
    venue.exchange.advance(venue.now_ns)
    assert account.cash == cash + (D("231.41") - 220) * 100
    assert account.qty(contract.id) == 0
    with pytest.raises(ApiError, match="does not exist"):
        desk.place((contract, "buy", "open"), price="4.50", direction="debit")
