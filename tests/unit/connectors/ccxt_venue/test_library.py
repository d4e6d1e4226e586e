"""The library at arm's length: what its objects may not do on their own."""

from __future__ import annotations

import asyncio
import decimal
import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connectors.ccxt_venue import library
from connectors.ccxt_venue.keys import Credentials
from connectors.ccxt_venue.library import Handle, class_of, names
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.ccxt_venue.turns import Lane
from engine.errors import ConfigError, VenueError
from tests.support.ccxt_venue import clients_tasks

KEY = Credentials({"apiKey": "a", "secret": "c2VjcmV0"})


@asynccontextmanager
async def server(handler: Any) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def settings(url: str = "http://127.0.0.1:9", exchange: str = "kraken", **changes: Any) -> CcxtSettings:
    return CcxtSettings(exchange=exchange, rest_url=url, ws_market_url="ws://127.0.0.1:9/v2", **changes)


async def test_the_engines_arithmetic_is_not_the_librarys() -> None:
    """It sets the rounding of whoever calls it, and a daemon's decimals refuse floats: both stay on their sides."""
    handle = Handle(settings())
    handle.ex.markets = {"X/Y": {"symbol": "X/Y", "precision": {"price": 0.01, "amount": 0.01}}}
    with decimal.localcontext() as context:
        context.traps[decimal.FloatOperation] = True
        assert handle.pure("price_to_precision", "X/Y", "1.234") == "1.23"
        assert handle.pure("decimal_to_precision", 1.5, 1, 0, 2, 5) == "2"

        async def rounding() -> str:
            handle.ex.price_to_precision("X/Y", "1.234")
            return decimal.getcontext().rounding

        handle.ex.rounding = rounding
        assert await handle.call("rounding") == decimal.ROUND_HALF_UP
        assert decimal.getcontext().rounding == decimal.ROUND_HALF_EVEN
        assert decimal.getcontext().traps[decimal.FloatOperation]
        handle.ex.price_to_precision("X/Y", "1.234")
        assert decimal.getcontext().rounding == decimal.ROUND_HALF_UP, "the trap is there still"
    await handle.close()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_no_layer_repeats_a_request_that_may_have_been_an_order(method: str) -> None:
    """The connection breaks under the second request on it: the server has seen it once."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        if request.path == "/order":
            assert request.transport is not None
            request.transport.close()
        return web.json_response({})

    async with server(handler) as url:
        handle = Handle(settings(url), KEY)
        handle.ex.load_markets = _nothing
        await handle.open()
        await handle.call("fetch", f"{url}/warm", "GET")
        with pytest.raises(Exception) as failed:
            await handle.call("fetch", f"{url}/order", method, None, "{}", lane=Lane.ORDER)
        assert type(failed.value).__name__ == "ExchangeNotAvailable"
        assert seen == ["/warm", "/order"]
        assert handle.ex.options["maxRetriesOnFailure"] == 0
        await handle.close()


async def _nothing(*_args: Any, **_given: Any) -> dict[str, Any]:
    return {}


async def test_a_question_is_asked_again_once_and_ends_in_one_line() -> None:
    """A server that breaks off, one that hangs: a ``VenueError`` without the key, after two tries."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        if len(seen) <= 2:
            return web.Response(status=503, text="<html>")
        await asyncio.sleep(5)
        return web.json_response({})

    async with server(handler) as url:
        for patience_s, ending in ((30.0, "ExchangeNotAvailable"), (0.1, "RequestTimeout")):
            handle = Handle(settings(url, request_timeout_s=patience_s), KEY)
            with pytest.raises(VenueError, match=ending):
                await handle.ask("fetch_time")
            await handle.close()
            assert patience_s < 1.0 or len(seen) == 2


async def test_a_closed_object_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """No task, no session, no word of the library about sessions; it refuses to go on, and closes twice."""

    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response({})

    before = clients_tasks()
    async with server(handler) as url:
        handle = Handle(settings(url))
        waiting = asyncio.create_task(handle.call("fetch_time"))
        await asyncio.sleep(0.05)
        with caplog.at_level(logging.WARNING):
            await handle.close()
            await handle.close()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert handle.ex.session is None
        with pytest.raises(VenueError, match="ExchangeClosedByUser"):
            await handle.ask("fetch_time")
        del handle
    await asyncio.sleep(0)
    assert clients_tasks() - before == set()
    assert "close()" not in caplog.text


async def test_orders_do_not_wait_behind_questions() -> None:
    """Ten questions wait for the budget of a slow exchange; an order passes them."""
    done: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        done.append(request.path)
        return web.json_response({})

    async with server(handler) as url:
        handle = Handle(settings(url))
        handle.budget = library.Budget(30.0, burst=1.0, now_s=asyncio.get_running_loop().time())
        handle.budget.spend(asyncio.get_running_loop().time(), 5.0)
        handle.ex.ask_something = lambda name: _throttled(handle, f"{url}/{name}")
        waiting = [asyncio.create_task(handle.call("ask_something", "q")) for _ in range(10)]
        await asyncio.sleep(0.01)
        await handle.call("ask_something", "order", lane=Lane.ORDER)
        assert done == ["/order"]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await handle.close()


async def _throttled(handle: Handle, url: str) -> Any:
    await handle.ex.throttle(1.0)
    return await handle.ex.fetch(url)


async def test_private_requests_of_an_exchange_with_nonces_go_one_after_the_other() -> None:
    """Numbers never repeat, and no second request is under way while one is."""
    under_way = most = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.json_response({"error": [], "result": {}})

    async with server(handler) as url:
        handle = Handle(settings(url), KEY)
        numbers = [handle.ex.nonce() for _ in range(100)]
        assert numbers == sorted(set(numbers))
        await asyncio.gather(*(handle.call("fetch", f"{url}/{number}") for number in range(5)))
        assert most == 1
        await handle.close()


async def test_what_a_watch_asks_by_itself_has_its_turn_too() -> None:
    """Kraken's token for the private stream is a request with a number: it leaves neither beside another one nor before
    one that took a lower number."""
    numbers: list[int] = []
    under_way = most = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        numbers.append(int((await request.post())["nonce"]))
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.json_response({"error": [], "result": {"token": "t", "expires": 900}})

    async with server(handler) as url:
        handle = Handle(settings(url), KEY)
        handle.ex.watch_token = handle.ex.authenticate
        calls = [handle.call(name) for name in ("privatePostBalance", "watch_token", "privatePostOpenOrders")]
        *_, token, _ = await asyncio.gather(*calls)
        assert (token, most, numbers) == ("t", 1, sorted(set(numbers)))
        assert len(numbers) == 3
        await handle.close()


async def test_an_order_goes_before_questions_that_wait_and_is_not_sent_where_it_waits_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One question is under way and three wait: the order is next.  Behind one that hangs it gives up, unsent; a
    cancel leaves all the same."""
    done: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        done.append(request.path)
        await asyncio.sleep(60.0 if request.path == "/hangs" else 0.03)
        return web.json_response({"error": [], "result": {}})

    async with server(handler) as url:
        handle = Handle(settings(url), KEY)
        waiting = [asyncio.create_task(handle.call("fetch", f"{url}/q{number}")) for number in range(4)]
        await asyncio.sleep(0.01)
        await handle.call("fetch", f"{url}/order", lane=Lane.ORDER)
        await asyncio.gather(*waiting)
        assert done[:2] == ["/q0", "/order"]
        monkeypatch.setattr(library, "TURN_S", 0.05)
        hanging = asyncio.create_task(handle.call("fetch", f"{url}/hangs"))
        await asyncio.sleep(0.02)
        with pytest.raises(library.NotSentError):
            await handle.call("fetch", f"{url}/late", lane=Lane.ORDER)
        async with asyncio.timeout(30):
            await handle.call("fetch", f"{url}/cancel", lane=Lane.CANCEL)
        assert done[-1] == "/cancel"
        assert "/late" not in done
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        await handle.call("fetch", f"{url}/after", lane=Lane.ORDER)
        await handle.close()


async def test_a_cancel_goes_first_and_does_not_wait_for_a_question_that_waits_for_the_budget() -> None:
    """The exchange said "too many", for half a minute: a question waits for that without keeping anyone; of those that
    wait for their turn the cancel is next, then the order."""
    done: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        done.append(request.path)
        await asyncio.sleep(0.02)
        return web.json_response({"error": [], "result": {}})

    async with server(handler) as url:
        handle = Handle(settings(url), KEY)
        for path in ("q", "order", "cancel"):
            setattr(handle.ex, f"ask_{path}", lambda path=path: _throttled(handle, f"{url}/{path}"))
        for _ in range(4):
            handle.budget.refused(handle._now_s())
            handle.budget._shut_until_s = 0.0
        handle.budget.refused(handle._now_s())
        waiting = asyncio.create_task(handle.call("ask_q"))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            await handle.call("ask_cancel", lane=Lane.CANCEL)
        assert done == ["/cancel"]
        with pytest.raises(library.NotSentError):
            await handle.call("ask_order", lane=Lane.ORDER)
        handle.budget._shut_until_s = 0.0
        handle.budget.succeeded(handle._now_s())
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        lanes = [("q", Lane.QUESTION), ("q", Lane.QUESTION), ("order", Lane.ORDER), ("cancel", Lane.CANCEL)]
        await asyncio.gather(*(handle.call(f"ask_{path}", lane=lane) for path, lane in lanes))
        assert done[1:] == ["/q", "/cancel", "/order", "/q"]
        await handle.close()


async def test_a_question_without_an_answer_says_on_what_it_broke_and_what_to_do() -> None:
    """Nobody listens at the address."""
    handle = Handle(settings())
    with pytest.raises(VenueError, match="Cannot connect") as failed:
        await handle.ask("fetch_time")
    assert "network" in failed.value.do
    await handle.close()


async def test_streams_are_asked_for_at_a_pace_of_their_own() -> None:
    """Kraken's pace of requests is one a second; Binance says itself what a message costs."""
    kraken, binance = Handle(settings()), Handle(settings(exchange="binance"))
    assert kraken.ex.options["ws"]["cost"] * kraken.ex.rateLimit == library.SUBSCRIPTION_MS
    assert binance.ex.options["ws"]["cost"] * binance.ex.rateLimit >= 200.0, "five messages a second at most"
    for one in (kraken, binance):
        await one.close()


def test_an_exchange_that_there_is_none_of_is_named_with_those_near_it() -> None:
    """A typo; the ids are those of the library."""
    with pytest.raises(ConfigError, match="kraken"):
        class_of("krakn")
    with pytest.raises(ConfigError):
        class_of("__init__")
    assert {"kraken", "binance", "coinbase"} <= set(names())


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is not there; another import that fails is told as that."""

    def missing(name: str) -> Any:
        raise ImportError("no", name=absent)

    monkeypatch.setattr(importlib, "import_module", missing)
    absent = "ccxt"
    with pytest.raises(ConfigError, match="not installed"):
        library.load()
    absent = "coincurve"
    with pytest.raises(ConfigError, match="cannot be loaded"):
        library.load()


async def test_a_key_that_lacks_something_is_refused_before_anything_is_asked() -> None:
    """OKX wants a password too."""
    with pytest.raises(ConfigError, match="password"):
        Handle(settings(exchange="okx"), KEY)
