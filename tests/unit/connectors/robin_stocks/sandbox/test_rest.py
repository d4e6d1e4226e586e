"""HTTP of the sandbox: bodies, limits, faults, the operator's door; by plain HTTP against a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from connectors.robin_stocks.sandbox.commands import sandbox_robin_stocks
from connectors.robin_stocks.sandbox.server import RunningSandbox, serve
from connectors.robin_stocks.sandbox.settings import SandboxSettings, Switches, stocks_named
from engine.errors import ConfigError, VenueError

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORM = "application/x-www-form-urlencoded"


class Client:
    def __init__(self, sandbox: RunningSandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session

    async def ask(
        self, path: str, method: str = "GET", data: bytes | None = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.sandbox.url + path, data=data, headers=sent) as answer:
            body = await answer.json() if answer.content_type == "application/json" else await answer.text()
            return answer.status, body, dict(answer.headers)

    async def operate(self, act: str, **fields: Any) -> tuple[int, Any]:
        async with self.session.post(f"{self.sandbox.url}/sandbox/operator", json={"act": act, **fields}) as answer:
            return answer.status, await answer.json()


def settings(**fields: Any) -> SandboxSettings:
    return SandboxSettings(**{"stocks": stocks_named(["AAPL"]), "warmup_s": 0.0, "step_ms": 10_000.0, **fields})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    sandbox = await serve(settings(requests_per_min=100_000))
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(sandbox, session)
    finally:
        await sandbox.stop()


async def test_bodies_are_what_their_header_says(client: Client) -> None:
    """A form under JSON's name is refused, as the real server does; bytes that are neither, too."""
    path, good = "/oauth2/token/", b"client_id=x&grant_type=password"
    assert (await client.ask(path, "POST", good, Content_Type=FORM))[:2] == (400, {"error": "invalid_client"})
    assert (await client.ask(path, "POST", good, Content_Type="application/json"))[:2] == (
        400, {"detail": "JSON parse error"},
    )  # fmt: skip
    assert (await client.ask(path, "POST", b"x", Content_Type="text/plain"))[0] == 415
    for raw in (b"[]", b"[" * 50_000, b"\xff"):
        assert (await client.ask(path, "POST", raw, Content_Type="application/json"))[0] == 400
    assert (await client.ask(path, "POST", b"&".join([b"a=1"] * 300), Content_Type=FORM))[0] == 400


async def test_hosts_meet_here_and_others_do_not(client: Client) -> None:
    """The header of the client's adapter; without it the API's own host is meant."""
    assert (await client.ask("/currency_pairs/"))[0] == 404
    assert (await client.ask("/currency_pairs/", X_Forwarded_Host="nummus.robinhood.com"))[0] == 200
    assert (await client.ask("/markets/", X_Forwarded_Host="example.com"))[0] == 404


async def test_the_operators_door(client: Client) -> None:
    """Every act with what it needs; what is none is refused and says which there are."""
    for act, fields in (
        ("halt", {"symbol": "AAPL"}), ("open", {}), ("price", {"symbol": "AAPL", "price": "230.00"}),
        ("pin", {"symbol": "AAPL", "bids": [["230.00", "10"]], "asks": [["230.02", "10"]]}), ("fund", {"amount": "5"}),
        ("clock", {"at": "2026-11-20T15:00:00+00:00"}), ("hours", {"hours": "venue"}), ("hours", {"hours": "always"}),
        ("expire_tokens", {}), ("forget_devices", {}), ("approve", {}), ("deny", {}), ("answers", {}), ("step", {}),
    ):  # fmt: skip
        assert await client.operate(act, **fields) == (200, {"done": act}), act
    for act, fields in (
        ("words", {}), ("halt", {"symbol": "NOPE"}), ("price", {"symbol": "AAPL", "price": "230.001"}),
        ("pin", {"symbol": "AAPL", "bids": [["231.00", "10"]], "asks": [["230.02", "10"]]}),
        ("pin", {"symbol": "AAPL", "bids": "words", "asks": []}), ("pin", {"option": "nope"}),
        ("fund", {"amount": "nan"}), ("fund", {"account": "nope", "amount": "1"}), ("clock", {"at": "words"}),
        ("clock", {"at": "2026-11-20T15:00:00"}), ("hours", {"hours": "words"}), ("answer", {"path": 5}),
    ):  # fmt: skip
        assert (await client.operate(act, **fields))[0] == 400, (act, fields)
    async with client.session.post(f"{client.sandbox.url}/sandbox/operator", data=b"[]") as answer:
        assert answer.status == 400


async def test_faults_and_maintenance(client: Client) -> None:
    """A scripted answer, a body cut short, a page of HTML for everything."""
    await client.operate("answer", path="/markets/", status=418, body='{"odd":1}')
    assert (await client.ask("/markets/"))[:2] == (418, {"odd": 1})
    await client.operate("answer", path="/markets/", status=200, body="x" * 50, cut=10)
    with pytest.raises(aiohttp.ClientError):
        await client.ask("/markets/")
    await client.operate("maintenance")
    status, text, _ = await client.ask("/markets/")
    assert (status, "503" in text) == (503, True)
    await client.operate("maintenance", on=False)
    assert (await client.ask("/markets/"))[0] == 200


@pytest.mark.parametrize("told", [True, False])
async def test_too_many_requests(*, told: bool) -> None:
    """429 in the words of the venue's framework, with a header or without."""
    sandbox = await serve(settings(requests_per_min=3, switches=Switches(retry_after=told)))
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(sandbox, session)
            answers = [await client.ask("/markets/") for _ in range(4)]
            assert [status for status, _, _ in answers] == [200, 200, 200, 429]
            assert "Expected available in" in answers[-1][1]["detail"]
            assert ("Retry-After" in answers[-1][2]) == told
    finally:
        await sandbox.stop()


async def test_settings_that_cannot_be_served(client: Client, tmp_path: Path) -> None:
    """A port that is taken, an account twice, a stock twice, a balance that is none."""
    with pytest.raises(VenueError, match="is in use"):
        await serve(settings(port=client.sandbox.port))
    account = settings().accounts[0]
    for fields, words in (
        ({"accounts": (account, account)}, "accounts"), ({"stocks": stocks_named(["F", "F"])}, "stocks"),
        ({"hours": "never"}, "hours"), ({"page_size": 0}, "page_size"),
        ({"switches": Switches(cancelled="x")}, "switch"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            await serve(settings(**fields))
    with pytest.raises(ConfigError, match="--cash"):
        sandbox_robin_stocks(cash="words")
