"""Paths of the private API: lists, pages, filters, hosts, and what is not there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.robin_stocks.sandbox.api import Api
from connectors.robin_stocks.sandbox.errors import ApiError
from connectors.robin_stocks.sandbox.pages import API_HOST, COIN_HOST, Request
from connectors.robin_stocks.sandbox.settings import AccountSettings, Switches
from tests.support.robin_stocks import NOW_NS, D, StillVenue

ODD = st.sampled_from(
    [
        None, True, 0, -1, 1.5, 10**30, "", "words", "NaN", "1e400", "0.5", "x/1/", [], ["x"], [{}], [[]], {},
        {"a": []}, {"type": "price"}, {"type": "percentage", "percentage": {}}, [{"option": [], "side": {}}],
    ]
)  # fmt: skip
"""Of every JSON type, and the beginnings of what the forms hold."""
HELD = (AccountSettings(holdings={"AAPL": D(10), "PNNY": D(5)}),)


def followed(venue: StillVenue, path: str) -> list[Any]:
    """Every row of a list, page by page, as the client follows ``next``."""
    rows: list[Any] = []
    at: str | None = path
    token = venue.login()
    while at is not None:
        page = venue.ask(at.removeprefix("https://api.robinhood.com").replace("%3D", "="), token=token)
        rows += page["results"]
        at = page["next"]
    return rows


def test_accounts_quotes_and_positions_are_texts() -> None:
    """Decimal strings, addresses of the venue's own hosts, null for what is not listed."""
    venue = StillVenue(accounts=HELD)
    (account,) = venue.ask("/accounts/?default_to_all_accounts=true")["results"]
    assert (account["cash"], account["nickname"]) == ("100000.0000", "KESTREL_SANDBOX")
    assert venue.ask(f"/accounts/{account['account_number']}") == account
    quotes = venue.ask("/quotes/?symbols=AAPL,NOPE")["results"]
    assert (quotes[0]["bid_price"], quotes[0]["ask_size"], quotes[1]) == ("231.400000", 1_000, None)
    positions = venue.ask("/positions/?nonzero=true")["results"]
    assert [row["quantity"] for row in positions] == ["10.00000000", "5.00000000"]
    portfolio = venue.ask("/portfolios/")["results"][0]
    assert D(portfolio["equity"]) == D(portfolio["market_value"]) + 100_000
    assert abs(D(portfolio["market_value"]) - 10 * D("231.41")) < 5


def test_pages_hold_every_order_once_while_new_ones_come() -> None:
    """Two a page; an order is made after the first page was read."""
    venue = StillVenue(page_size=2)
    for _ in range(5):
        venue.place(quantity="1", price="100.00")
    first = venue.ask("/orders/")
    venue.place(quantity="1", price="100.00")
    rows = first["results"] + followed(venue, first["next"])
    assert len({row["id"] for row in rows}) == len(rows) == 5
    assert len(followed(venue, "/orders/")) == 6


def test_listings_since_and_listings_that_lag() -> None:
    """``updated_at[gte]``; an order is shown two seconds late; references are shown or not."""
    venue = StillVenue(switches=Switches(read_lag_s=2.0, listed_ref_id=False))
    order = venue.place()
    assert venue.ask("/orders/")["results"] == []
    venue.pass_time(3)
    (row,) = venue.ask("/orders/?updated_at[gte]=2026-11-20T14:03:00Z")["results"]
    assert row["id"] == order.id
    assert "ref_id" not in row
    assert venue.ask("/orders/?updated_at[gte]=2026-11-21")["results"] == []
    with pytest.raises(ApiError):
        venue.ask("/orders/?updated_at[gte]=words")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nowhere/", "GET", 404),
        ("/orders/", "DELETE", 405),
        ("/orders/unknown/", "GET", 404),
        ("/orders/unknown/cancel/", "POST", 404),
        ("/accounts/other/", "GET", 404),
        ("/positions/?account_number=other", "GET", 403),
        ("/quotes/?symbols=", "GET", 400),
        ("/quotes/?symbols=NOPE", "GET", 400),
        ("/markets/XNYS/hours/words/", "GET", 404),
        ("/markets/NOPE/hours/2026-11-20/", "GET", 404),
        ("/instruments/other/", "GET", 404),
        ("/options/chains/other/", "GET", 404),
        ("/orders/?cursor=words", "GET", 404),
        ("/quotes/historicals/?symbols=AAPL&interval=minute&span=day", "GET", 400),
        ("/quotes/historicals/?symbols=AAPL&interval=5minute&span=year", "GET", 400),
        ("/quotes/historicals/?symbols=AAPL&interval=hour&span=week&bounds=extended", "GET", 400),
    ],
)
def test_what_is_not_there_or_not_allowed(path: str, method: str, status: int) -> None:
    """Status of each, in the venue's shape."""
    with pytest.raises(ApiError) as refused:
        StillVenue().ask(path, method)
    assert refused.value.status == status
    assert "detail" in refused.value.body or refused.value.status == 400


def test_without_a_token_there_is_little() -> None:
    """Stocks and hours are public, quotes and orders are not; one host's paths are not the other's."""
    venue = StillVenue()
    assert venue.ask("/instruments/?symbol=AAPL", token="")["results"][0]["symbol"] == "AAPL"
    assert venue.ask("/markets/", token="")["results"][0]["mic"] == "XNYS"
    for path in ("/quotes/?symbols=AAPL", "/orders/", "/accounts/"):
        with pytest.raises(ApiError, match="401"):
            venue.ask(path, token="")
    assert venue.ask("/holdings/", host=COIN_HOST)["results"][0]["currency"]["code"] == "BTC"
    with pytest.raises(ApiError, match="404"):
        venue.ask("/holdings/")


def test_quotes_outside_of_hours_may_be_zeros() -> None:
    """A switch: a weekend with both sides, or with none."""
    weekend_ns = NOW_NS + 30 * 3_600 * 10**9
    for mode, shown in (("last", "231.400000"), ("zero", "0.000000")):
        venue = StillVenue(weekend_ns, hours="venue", switches=Switches(quotes_when_closed=mode))
        assert venue.ask("/quotes/?symbols=AAPL")["results"][0]["bid_price"] == shown


PATHS = st.sampled_from(["/orders/", "/options/orders/", "/oauth2/token/", "/pathfinder/user_machine/"])
FIELDS = st.sampled_from(
    ["account", "instrument", "side", "quantity", "price", "type", "trigger", "ref_id", "legs", "trailing_peg", "input"]
)
VENUE = StillVenue()
TOKEN = VENUE.login()


@given(PATHS, st.dictionaries(FIELDS, ODD, max_size=6))
def test_bodies_of_any_shape_are_answered_or_refused(path: str, form: dict[str, Any]) -> None:
    """What comes from outside may be of any JSON type: on top of an order that would be taken."""
    given_form = {**VENUE.form(), **form}
    request = Request(API_HOST, "POST", path, {}, given_form, TOKEN, VENUE.now_ns)
    try:
        status, _ = Api(VENUE.exchange).answer(request)
    except ApiError as refused:
        status = refused.status
    assert 200 <= status < 500
