"""The REST client against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from connectors.rest import RestClient, RestError

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
