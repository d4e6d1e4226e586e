"""The REST client against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from connectors.endpoints import Endpoints
from connectors.rest import RestClient, RestError
from connectors.route import Route
from tests.support.proxies import running_proxy

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def client_to(handler: Handler, **options: object) -> AsyncIterator[RestClient]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = RestClient(f"http://127.0.0.1:{runner.addresses[0][1]}/api/v3", **options)  # type: ignore[arg-type]
    await client.start()
    try:
        yield client
    finally:
        await client.stop()
        await runner.cleanup()


async def test_repeated_parameters_and_the_signed_path_reach_the_server() -> None:
    """The path that is signed has the prefix and no query."""
    signed: list[tuple[str, str]] = []

    def authorize(method: str, path: str) -> dict[str, str]:
        signed.append((method, path))
        return {"Authorization": "Bearer t"}

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path_qs} {request.headers['Authorization']}")

    async with client_to(echo, authorize=authorize) as client:
        body = await client.get("/orders", [("ids", "a"), ("ids", "b/+")])
    assert body == b"/api/v3/orders?ids=a&ids=b/%2B Bearer t"
    assert signed == [("GET", "/api/v3/orders")]


@pytest.mark.fault("C8")
async def test_a_401_is_tried_once_more_with_a_fresh_token_and_then_told() -> None:
    """Three answers are prepared; two are fetched."""
    tokens = iter("abc")
    seen: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.Response(status=401, text="Unauthorized")

    async with client_to(refuse, authorize=lambda *_: {"Authorization": next(tokens)}) as client:
        with pytest.raises(RestError, match="answered 401: Unauthorized") as caught:
            await client.get("/x")
    assert seen == ["a", "b"]
    assert caught.value.status == 401
    assert "check the API key" in str(caught.value)


async def test_public_calls_carry_no_token() -> None:
    """Even when a key is there."""

    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Authorization", "none"))

    async with client_to(tell, authorize=lambda *_: {"Authorization": "t"}) as client:
        assert await client.get("/time", auth=False) == b"none"


@pytest.mark.fault("C11")
@pytest.mark.parametrize("status", [302, 403, 404, 429, 500, 503])
async def test_every_other_status_is_one_line_without_the_token(status: int) -> None:
    """A body of several lines is cut to one; redirects are not followed with our token."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>\n<b>no</b>" + "x" * 1000, headers={"Location": "/other"})

    async with client_to(answer, authorize=lambda *_: {"Authorization": "Bearer SECRET"}) as client:
        with pytest.raises(RestError) as caught:
            await client.get("/x")
    text = str(caught.value)
    assert caught.value.status == status
    assert f"answered {status}" in text
    assert "\n" not in text
    assert "SECRET" not in text
    assert len(text) < 450


@pytest.mark.fault("A12")
async def test_an_answer_larger_than_its_bound_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound itself is taken, one byte more is not; nothing says that the venue has refused anything."""
    monkeypatch.setattr("connectors.rest.MAX_BODY_BYTES", 1_000)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="x" * int(request.query["bytes"]))

    async with client_to(answer) as client:
        assert len(await client.get("/x", params=[("bytes", "1000")], auth=False)) == 1_000
        with pytest.raises(RestError, match="answer larger than 1000 bytes") as caught:
            await client.get("/x", params=[("bytes", "1001")], auth=False)
    assert caught.value.status == 0


@pytest.mark.fault("C11")
async def test_no_answer_is_an_error_without_a_status() -> None:
    """A timeout, a dropped connection, a client that was stopped."""

    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async def drop(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    for handler in (hang, drop):
        async with client_to(handler, timeout_s=0.1) as client:
            with pytest.raises(RestError) as caught:
                await client.get("/x")
            assert caught.value.status == 0
    with pytest.raises(RestError, match="not open"):
        await client.get("/x")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("", 0), ("soon", 0), ("-3", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("9" * 12, 0)],
)
async def test_a_refusal_tells_how_long_the_venue_asks_to_wait(header: str, seconds: int) -> None:
    """Whole seconds only; anything else counts as nothing said."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=429, text="no", headers={"Retry-After": header} if header else {})

    async with client_to(refuse) as client:
        with pytest.raises(RestError) as told:
            await client.get("/x")
    assert (told.value.status, told.value.retry_after_s) == (429, seconds)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_is_gone_through_and_resolves_the_name(scheme: str) -> None:
    """A host that only the proxy knows; a proxy that is gone is an answer that did not come."""

    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    async with client_to(tell) as straight, running_proxy(scheme) as proxy:
        url = straight.base_url.replace("127.0.0.1", "venue.test")
        client = RestClient(url, route=Route(proxy=proxy.url))
        lost = RestClient(url, route=Route(proxy=f"{scheme}://127.0.0.1:9"))
        for each in (client, lost):
            await each.start()
        try:
            host = url.split("/")[2]
            assert await client.get("/x") == host.encode()
            assert proxy.asked == [host]
            with pytest.raises(RestError, match=f"proxy {scheme}://127.0.0.1:9") as caught:
                await lost.get("/x")
            assert caught.value.status == 0
        finally:
            for each in (client, lost):
                await each.stop()


async def test_another_address_answers_when_the_first_does_not() -> None:
    """One that nobody listens at, and one that says 503; the refusal of a question itself is no reason to move."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        if request.path.startswith("/api/v3/sick"):
            return web.Response(status=503)
        return web.Response(status=404 if request.path.endswith("/no") else 200)

    async with client_to(answer) as client:
        ends = Endpoints(["http://127.0.0.1:9", f"{client.base_url}/sick", f"{client.base_url}/well"], failures_max=1)
        several = RestClient(ends)
        await several.start()
        try:
            assert await several.get("/x") == b""
            assert seen == ["/api/v3/sick/x", "/api/v3/well/x"]
            with pytest.raises(RestError, match="404"):
                await several.get("/no")
            assert (ends.current(0.0), ends.moves) == (f"{client.base_url}/well", 2)
        finally:
            await several.stop()
