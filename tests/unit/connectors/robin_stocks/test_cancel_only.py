"""All that the watchdog can say to the private stock API, against the sandbox, whose answers break."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import pytest_asyncio

from connectors.robin_stocks.cancel_only import CancelOnly, open_account
from connectors.robin_stocks.login_file import read_login
from connectors.robin_stocks.sandbox.records import API
from connectors.robin_stocks.sandbox.server import RunningSandbox, serve
from connectors.robin_stocks.sandbox.settings import AccountSettings, SandboxSettings, stocks_named
from engine.errors import ConfigError, VenueError
from tests.support.daemon import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")
T = TypeVar("T")
ONE = {"stocks": stocks_named(["AAPL"]), "warmup_s": 0.0, "page_size": 2}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSandbox]:
    made = await serve(SandboxSettings(**ONE), tmp_path_factory.mktemp("login") / "login.json")
    yield made
    await made.stop()


@pytest.fixture
def account(sandbox: RunningSandbox) -> CancelOnly:
    sandbox.rest.faults.clear()
    return open_account({"rest_url": sandbox.url, "key_file": str(sandbox.key_file), "timeout_s": 0.5})


async def beside(act: Callable[..., T], *arguments: Any) -> T:
    """It blocks, and the sandbox lives in this loop."""
    return await asyncio.to_thread(act, *arguments)


def place(sandbox: RunningSandbox, number: int) -> str:
    """One stock order that rests; every third one is for an option."""
    exchange, now_ns = sandbox.exchange, sandbox.rest.now_ns()
    account = next(iter(exchange.accounts.values()))
    form: dict[str, Any] = {
        "account": f"{API}/accounts/{account.number}/", "type": "limit", "trigger": "immediate",
        "time_in_force": "gtc", "quantity": "1", "ref_id": f"00000000-0000-4000-8000-{number:012d}",
    }  # fmt: skip
    if number % 3:
        form |= {"side": "buy", "price": "100.00", "instrument": f"x/{exchange.stocks['AAPL'].id}/"}
        return exchange.desk.place(account, exchange.reader.stock(account, form, now_ns), now_ns).id
    option = next(one for one in exchange.options.contracts.values() if one.kind == "call")
    leg = {"option": f"x/{option.id}/", "side": "buy", "ratio_quantity": 1, "position_effect": "open"}
    form |= {"direction": "debit", "price": "0.01", "legs": [leg]}
    return exchange.desk.place(account, exchange.reader.option(account, form, now_ns), now_ns).id


async def test_orders_of_stocks_and_options_are_listed_page_by_page_and_cancelled(
    sandbox: RunningSandbox, account: CancelOnly
) -> None:
    """Six orders, two a page; a second cancel, and one of an id that is none, are told as what they are."""
    made = {place(sandbox, number) for number in range(1, 7)}
    found = await beside(account.open_orders)
    assert {one.removeprefix("option:") for one in found} == made
    assert sum(one.startswith("option:") for one in found) == 2
    assert await beside(account.cancel, found) == dict.fromkeys(found, "")
    sandbox.exchange.advance(sandbox.rest.now_ns())
    assert await beside(account.open_orders) == []
    said = await beside(account.cancel, [found[0], "../../x"])
    assert "cannot be cancelled" in said[found[0]]
    assert said["../../x"] == "no id of an order"


async def test_orders_of_the_account_that_the_key_file_names_are_listed(sandbox: RunningSandbox) -> None:
    """Both listings ask for that one, and no other: an account that is not the customer's is refused."""
    login = read_login(sandbox.key_file)
    made = place(sandbox, 22)
    asked: list[str] = []

    class Heard(CancelOnly):
        def _ask(self, method: str, path: str) -> tuple[int, bytes]:
            asked.append(path)
            return super()._ask(method, path)

    account = Heard(sandbox.url, login, timeout_s=0.5)
    assert await beside(account.open_orders) == [made]
    assert {path.partition("?")[0] for path in asked} == {"/orders/", "/options/orders/"}
    assert all(f"account_numbers={login.account}" in path for path in asked), "the pages after the first as well"
    assert await beside(account.cancel, [made]) == {made: ""}
    sandbox.exchange.advance(sandbox.rest.now_ns())
    other = CancelOnly(sandbox.url, msgspec.structs.replace(login, account="A&B=1"), timeout_s=0.5)
    with pytest.raises(VenueError, match="403"):
        await beside(other.open_orders)


async def test_a_token_that_has_ended_is_made_anew(sandbox: RunningSandbox, account: CancelOnly) -> None:
    """401 in between: one more login, and the answer."""
    assert await beside(account.open_orders) == []
    logins = sandbox.exchange.login.logins
    sandbox.exchange.login.expire_all()
    assert await beside(account.open_orders) == []
    assert sandbox.exchange.login.logins == logins + 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "body": "<html>", "content_type": "text/html"},
        {"status": 429, "body": '{"detail":"Request was throttled."}'},
        {"status": 200, "body": '{"results":'},
        {"status": 200, "body": '{"results":[{"id":"1"}]}'},
        {"status": 200, "body": '{"results":[],"next":"https://elsewhere.example/orders/"}'},
        {"status": 200, "body": '{"results":[]}', "cut": 3, "times": 2},
        {"status": 0, "times": 2},
        {"status": 200, "delay_s": 1.0, "times": 2},
    ],
)
async def test_an_answer_that_is_none_is_an_error_in_one_line(
    sandbox: RunningSandbox, account: CancelOnly, fault: dict[str, Any]
) -> None:
    """What does not come, or is not understood, is not taken for no open order; no secret is in the error."""
    sandbox.rest.faults.add({"path": "/orders/", "method": "GET", **fault})
    with pytest.raises(VenueError) as failed:
        await beside(account.open_orders)
    assert "\n" not in str(failed.value)
    assert sandbox.settings.accounts[0].password not in str(failed.value)


async def test_one_cancel_that_fails_takes_no_other_with_it(sandbox: RunningSandbox, account: CancelOnly) -> None:
    """The second of two is answered 503; where the first one is, that is an error."""
    first, second = place(sandbox, 11), place(sandbox, 13)
    sandbox.rest.faults.add({"path": f"/{second}/cancel/", "status": 503, "times": 2})
    assert await beside(account.cancel, [first, second]) == {first: "", second: "HTTP 503"}
    with pytest.raises(VenueError, match="503"):
        await beside(account.cancel, [second])


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"mfa": "123456"}, "a code"), ({"verification": "prompt"}, "an approval"), ({"password": "other"}, "Unable")],
)
async def test_a_login_that_is_not_given_says_what_it_wants(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    """A code, an approval, another password."""
    made = await serve(SandboxSettings(**{**ONE, "accounts": (AccountSettings(**fields),)}))
    key_file = tmp_path / "login.json"
    key_file.write_text('{"username":"trial@example.com","password":"sandbox-password"}')
    key_file.chmod(0o600)
    try:
        account = open_account({"rest_url": made.url, "key_file": str(key_file), "timeout_s": 2.0})
        with pytest.raises(VenueError, match=words):
            await beside(account.open_orders)
    finally:
        await made.stop()


async def test_a_key_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError):
        open_account({"rest_url": "", "key_file": str(tmp_path / "none.json"), "timeout_s": 1})


async def test_it_loads_nothing_that_can_encode_an_order() -> None:
    """In a process of its own; the client that could is not loaded either."""
    code = "import sys, connectors.robin_stocks.cancel_only; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith(("connectors.", "robin_stocks", "requests"))}
    assert loaded == {
        "connectors.blocking", "connectors.robin_stocks", "connectors.robin_stocks.cancel_only",
        "connectors.robin_stocks.login_file", "connectors.route",
    }  # fmt: skip
