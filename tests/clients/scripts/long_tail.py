"""What the scripts of ccxt share: exchanges pointed at a sandbox, exact errors, states of orders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import ccxt.pro as ccxt

PATIENT_MS, HASTY_MS = 8_000, 500
"""For an answer: of a machine that may be busy, and where none shall come in time."""
PING_MS = 1_500
"""A line is dead when two of its pings in a row have no answer."""


@asynccontextmanager
async def exchange(
    kind: Any, at: dict[str, Any], urls: dict[str, Any], *, keyed: bool = True, **given: Any
) -> AsyncIterator[Any]:
    """``kind`` is the exchange's class, ``urls`` its addresses; ``at`` says where the key lies and whom to trust."""
    config: dict[str, Any] = {"urls": {"api": urls}, "timeout": PATIENT_MS}
    # Its own pace is most of the time that all of this would take; case 15 is about it.
    config |= {"enableRateLimit": False, **given}
    if "authority" in at:
        config["cafile"] = at["authority"]
    if keyed:
        key = json.loads(Path(at["key_file"]).read_text())
        config = {"apiKey": key["apiKey"], "secret": key["secret"], **config}
    made = kind(config)
    try:
        yield made
    finally:
        await made.close()


async def raised(kind: type[BaseException], asked: Awaitable[Any]) -> BaseException:
    """The error of exactly that class."""
    (said,) = await asyncio.gather(asked, return_exceptions=True)
    assert type(said) is kind, f"no {kind.__name__}, but {said!r:.300}"
    return said  # type: ignore[return-value]


async def until_order(ex: Any, order_id: str, status: str, filled: float) -> None:
    """What comes between two calls is only in its cache: a known trap of the library."""
    while (status, filled) not in [(one["status"], one["filled"]) for one in ex.orders or () if one["id"] == order_id]:
        await asyncio.sleep(0.01)


async def closing_leaves_nothing(making: AbstractAsyncContextManager[Any], symbol: str, *, told: bool) -> None:
    """A pending watch ends, a closed object refuses, and no task is left.

    Of a market that stands still; ``told``: the venue tells of past trades at a subscription.
    """
    before = len(asyncio.all_tasks())
    async with making as ex:
        await ex.load_markets()
        if told:
            await ex.watch_trades(symbol)
        waiting = asyncio.create_task(ex.watch_trades(symbol))
        while not ex.clients or not next(iter(ex.clients.values())).connected.done():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        await ex.close()
        # The library's documents speak of its own error; this version cancels what waits.
        (ended,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(ended, (ccxt.ExchangeClosedByUser, ccxt.NetworkError, asyncio.CancelledError)), repr(ended)
        await raised(ccxt.ExchangeClosedByUser, ex.fetch_time())
    del ex
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) == before
