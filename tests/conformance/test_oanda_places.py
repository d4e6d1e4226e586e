"""Where an OANDA session is: accounts, currencies, the venue's unknowns, its pace, proxies, over real sockets.

The exchange is the sandbox with a market that stands still; what others do there is done by another client.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.oanda.sandbox.settings import AccountSettings, RateLimits, Switches, instruments_named
from connectors.route import Route
from engine.errors import VenueError, WrongAccount
from engine.events import (
    FeedUp,
    OrderFilled,
    RateReported,
)
from tests.support.oanda_session import D, exchange, session
from tests.support.proxies import running_proxy


async def test_a_start_that_cannot_be_ends_in_one_line_and_leaves_nothing_open(tmp_path: Path) -> None:
    """A token that is refused, an account of somebody else, an unknown symbol, the wrong money, a rival, a rate that
    nobody tells."""
    async with exchange() as client:
        rival = "k20260101T000000-abcd-1"
        for changes, match in (
            ({"account": "101-004-9999999-001"}, "no account"),
            ({"symbols": ("EUR/USX",)}, "did you mean EUR/USD"),
            ({"money": "real"}, "built-in exchange"),
            ({"counted_in": "CHF"}, "portfolio.rates"),
        ):
            with pytest.raises((VenueError, WrongAccount), match=match):
                async with session(client, tmp_path, **changes):
                    pass
        await client.order("LIMIT", units="5", price="1.00000", clientExtensions={"id": rival})
        with pytest.raises(WrongAccount, match="another Kestrel daemon"):
            async with session(client, tmp_path, rival=lambda name: "20260101T000000-abcd" if name == rival else ""):
                pass
        await client.operate("expire_key")
        with pytest.raises(VenueError, match="401"):
            async with session(client, tmp_path):
                pass
        assert client.sandbox.hub.lines == {}


async def test_whoever_only_watches_has_prices_and_no_account(tmp_path: Path) -> None:
    """No gateway, no user stream, nothing of the account."""
    async with exchange() as client, session(client, tmp_path, orders=False) as one:
        assert one.venue.gateway is None
        assert [event.stream for event in one.log.of(FeedUp)] == ["market"]
        assert one.settled() == []


async def test_an_account_in_another_currency_is_valued_by_the_venues_own_rates(tmp_path: Path) -> None:
    """Euros at home, a portfolio in dollars: the rate of the euro is told, and equity is the venue's in dollars."""
    home = AccountSettings(currency="EUR")
    euros = exchange(accounts=(home,), instruments=instruments_named(["EUR_USD"]))
    async with euros as client, session(client, tmp_path, symbols=("EUR/USD",)) as one:
        (rate,) = one.log.of(RateReported)
        assert rate.currency == "EUR"
        assert abs(rate.rate - D("1.08405")) < D("0.0001")
        assert one.books.cash("EUR") == D(100_000)
        assert one.books.cash("USD") == 0


@pytest.mark.parametrize("switches", [Switches(read_lag_s=0.2), Switches(finished_orders="missing")])
async def test_it_survives_what_nobody_has_verified(tmp_path: Path, switches: Switches) -> None:
    """A REST side that lags behind its stream, finished orders that are not served; two sessions, one after another."""
    async with exchange(switches=switches) as client:
        async with session(client, tmp_path) as first:
            first.submit("a", "10")
            await first.told("a", OrderFilled)
            left = first.leaves()
        async with session(client, tmp_path, left) as second:
            second.submit("b", "5")
            await second.told("b", OrderFilled)
            assert second.books.qty() == 15


async def test_it_keeps_the_venues_pace_of_new_connections(tmp_path: Path) -> None:
    """With the venue's limits on, a start is not refused and neither is its first order."""
    async with exchange(rate_limits=RateLimits(connections_per_s=20)) as client, session(client, tmp_path) as one:
        one.submit("a")
        await one.told("a", OrderFilled)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_every_connection_goes_through_the_proxy(tmp_path: Path, scheme: str) -> None:
    """REST, orders and both streams; only the proxy knows the venue's name."""
    async with exchange() as client, running_proxy(scheme) as proxy:
        there = f"http://venue.test:{client.sandbox.port}"
        route = Route(proxy=proxy.url)
        async with session(client, tmp_path, rest_url=there, stream_url=there, route=route) as one:
            one.submit("a")
            await one.told("a", OrderFilled)
        assert set(proxy.asked) == {f"venue.test:{client.sandbox.port}"}
        assert len(proxy.asked) >= 1 + 2 + 2  # questions, order connections, streams
