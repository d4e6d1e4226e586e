"""Orders and questions at an exchange with several addresses: a port that refuses, one that accepts and dies."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.ccxt_venue.cancel_only import open_account
from connectors.ccxt_venue.failover import home_of, moved
from connectors.ccxt_venue.library import Handle, class_of, names
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.ccxt_venue.turns import Lane
from engine.errors import ConfigError
from engine.events import OrderAccepted, OrderCancelled, OrderOutcomeUnknown, OrderRejected
from tests.support.ccxt_venue import LocalExchange, local_exchange, session


def closed_port() -> str:
    """An address that refuses: the port was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


class Door:
    """An address in front of an exchange.  ``dies``: it takes a request and ends without an answer, having passed it on
    (``applies``) or not."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._target = exchange.said["rest"].removeprefix("http://").split(":")
        self.dies = self.applies = False
        self.heads: list[bytes] = []
        """First lines of the requests that arrived here."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, upstream = await asyncio.open_connection(self._target[0], int(self._target[1]))
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                self.heads.append(head.split(b"\r\n")[0])
                if not self.dies or self.applies:
                    upstream.write(head + body)
                    told = await answers.readuntil(b"\r\n\r\n")
                    size = [line for line in told.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                    told += await answers.readexactly(int(size[0].split(b":")[1]))
                if self.dies:
                    return
                writer.write(told)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            upstream.transport.abort()


@asynccontextmanager
async def door(exchange: LocalExchange) -> AsyncIterator[tuple[Door, str]]:
    made = Door(exchange)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    try:
        yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture(params=["binance", "kraken"])
async def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalExchange]:
    async with local_exchange(request.param, tmp_path) as one:
        yield one


def orders(exchange: LocalExchange) -> list[Any]:
    return list(exchange.running.venue.exchange.orders.values())


async def test_a_port_that_refuses_is_gone_round(exchange: LocalExchange) -> None:
    """From the start on: account, order and cancel reach the exchange by its second address, each once."""
    settings = exchange.settings(rest_url=closed_port(), rest_fallbacks=(exchange.said["rest"],))
    async with session(settings) as s:
        one = s.order()
        await s.heard(one, OrderAccepted)
        s.cancel(one)
        await s.heard(one, OrderCancelled)
        assert len(orders(exchange)) == 1
        assert OrderOutcomeUnknown not in s.kinds(one)
        trading = s.venue.trading
        assert trading is not None
        failover = trading.handle.failover
        assert failover is not None
        assert failover._endpoints.moves == 1, "then its address was known"


async def test_an_order_whose_connection_is_refused_goes_to_the_next_address(exchange: LocalExchange) -> None:
    """The first address works until the order leaves, and takes no connection any more: nothing of the order had left,
    so it is made at the second, once, and is no unknown outcome."""
    async with door(exchange) as (_, first):
        settings = exchange.settings(rest_url=first, rest_fallbacks=(exchange.said["rest"],))
        async with session(settings) as s:
            trading = s.venue.trading
            assert trading is not None
            handle = trading.handle
            refusing = closed_port()
            ex, failover = handle.ex, handle.failover
            assert failover is not None
            # Its address stays, who listens there does not: every connection is a new one, to a port that is closed.
            failover._urls[first] = moved(failover._urls[first], first, refusing)
            failover._written = lambda origin: refusing if origin == first else origin  # type: ignore[method-assign]
            one = s.order()
            await s.heard(one, OrderAccepted)
            assert s.kinds(one).count(OrderOutcomeUnknown) == 0
            assert len(orders(exchange)) == 1
            assert failover.resent == 1
            assert ex.urls["api"]


@pytest.mark.parametrize("applies", [True, False])
async def test_an_order_that_may_have_left_is_never_made_again(exchange: LocalExchange, applies: bool) -> None:
    """The first address takes it and dies: unknown, whether the exchange has it or not; it left once, the other address
    is asked what became of it, and the next order goes there."""
    async with door(exchange) as (first, url):
        settings = exchange.settings(rest_url=url, rest_fallbacks=(exchange.said["rest"],), order_hints=False)
        async with session(settings) as s:
            first.dies, first.applies = True, applies
            before = len(first.heads)
            one = s.order()
            await s.heard(one, OrderOutcomeUnknown)
            assert len(first.heads) == before + 1
            await s.heard(one, OrderAccepted if applies else OrderRejected)
            assert len(orders(exchange)) == int(applies)
            two = s.order()
            await s.heard(two, OrderAccepted)
            assert len(orders(exchange)) == int(applies) + 1
            assert [head for head in first.heads[before + 1 :] if b"rder" in head and head.startswith(b"POST")] == []


async def test_a_refusal_of_the_exchange_is_no_failure_of_its_address(exchange: LocalExchange) -> None:
    """Too dear: rejected, and nothing moves."""
    settings = exchange.settings(rest_fallbacks=(closed_port(),))
    async with session(settings) as s:
        dear = s.order(qty=Decimal(100))
        assert (await s.heard(dear, OrderRejected)).reason == "insufficient_funds"
        trading = s.venue.trading
        assert trading is not None
        assert trading.handle.failover is not None
        assert trading.handle.failover._endpoints.moves == 0


async def test_a_connection_to_somebody_else_proves_nothing(exchange: LocalExchange) -> None:
    """The order was taken, and the answer sends the client to a port that is closed: that one was not reached, which
    says nothing of the order."""
    async with session(
        exchange.settings(rest_fallbacks=(exchange.said["rest"].replace("127.0.0.1", "localhost"),))
    ) as s:
        trading = s.venue.trading
        assert trading is not None
        handle, tries = trading.handle, list[str]()
        elsewhere, fetch = closed_port(), handle.ex.fetch

        async def sent_away(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            tries.append(url)
            return await fetch(elsewhere, method, headers, body)

        handle.ex.fetch = sent_away
        with pytest.raises(Exception) as failed:
            await handle.call("fetch_balance", lane=Lane.ORDER)
        assert type(failed.value).__name__ == "ExchangeNotAvailable"
        assert len(tries) == 1
        handle.ex.fetch = fetch


def test_a_watchdog_goes_round_too(tmp_path: Path) -> None:
    """It lists and cancels by the second address where the first refuses."""

    async def serve_until(done: asyncio.Event, ready: asyncio.Future[Any]) -> None:
        async with local_exchange("kraken", tmp_path) as exchange, session(exchange.settings()) as s:
            one = s.order()
            await s.heard(one, OrderAccepted)
            ready.set_result((exchange, one))
            await done.wait()

    async def run() -> None:
        done, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve_until(done, ready))
        exchange, _ = await ready
        told = {
            "exchange": "kraken", "symbols": ["BTC/USD"], "rest_url": closed_port(),
            "rest_fallbacks": [exchange.said["rest"]], "key_file": str(exchange.key_file), "timeout_s": 2.0,
            "proxy": "", "ca_file": "",
        }  # fmt: skip

        def look() -> tuple[list[str], dict[str, str]]:
            account = open_account(told)
            found = account.open_orders()
            return found, account.cancel(found)

        found, said = await asyncio.to_thread(look)
        assert len(found) == 1
        assert said == {found[0]: ""}
        assert not exchange.running.venue.exchange.open_orders
        done.set()
        await serving

    asyncio.run(run())


def test_addresses_are_of_one_kind_of_money() -> None:
    """A server on this machine stands for servers here, the exchange for addresses of its own over TLS."""
    here, there = "http://127.0.0.1:1", "https://api1.binance.com"
    CcxtSettings(exchange="binance", rest_url=here, rest_fallbacks=(here,)).check()
    CcxtSettings(exchange="binance", rest_fallbacks=(there,)).check()
    for rest_url, fallback in ((here, there), ("", here), ("", "http://api1.binance.com"), ("", "api1.binance.com")):
        with pytest.raises(ConfigError, match="rest_fallbacks"):
            CcxtSettings(exchange="binance", rest_url=rest_url, rest_fallbacks=(fallback,)).check()


@pytest.mark.fault("F10")
@pytest.mark.parametrize(("exchange", "url"), [
    ("binance", "https://testnet.binance.vision"), ("bybit", "https://api-testnet.bybit.com"),
])  # fmt: skip
async def test_an_address_of_the_test_network_stands_for_none_of_the_exchange(exchange: str, url: str) -> None:
    """Orders would go to other accounts: refused before anything is asked, in one line."""
    with pytest.raises(ConfigError, match=r"where ccxt:.* tests"):
        Handle(CcxtSettings(exchange=exchange, rest_fallbacks=(url,)))


async def test_every_class_has_a_home_or_says_that_it_has_none() -> None:
    """What stands for the exchange's own address replaces all of its paths there, and nothing else."""
    without = [name for name in names() if not home_of(class_of(name)().urls["api"])]
    assert len(without) < 10
    urls = class_of("binance")().urls["api"]
    assert home_of(urls) == "https://api.binance.com"
    there = moved(urls, "https://api.binance.com", "https://api1.binance.com/")
    assert (there["private"], there["sapi"]) == ("https://api1.binance.com/api/v3", "https://api1.binance.com/sapi/v1")
    assert there["fapiPrivate"] == urls["fapiPrivate"]
    assert there["ws"] == urls["ws"]
    assert home_of(class_of("okx")().urls["api"]) == "https://{hostname}"
    with pytest.raises(ConfigError, match="no one address"):
        Handle(CcxtSettings(exchange=without[0], rest_fallbacks=("https://somewhere.example",)))
