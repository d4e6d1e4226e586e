"""A market stream at a pace that the built-in exchange cannot make: its own messages, and repeats of them in between.

A process of its own, started by ``soak``.  It stands between the daemon's market connection and the exchange: what the
daemon says goes there as it is, what the exchange says comes back renumbered, and up to the wanted rate the newest
ticker of each product is repeated with the time of now and other sizes, each fourth time a trade at its price instead.
So prices are those at which the exchange fills orders, which go there directly.

Prints ``{"port": ...}`` and ends when its stdin is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connectors.coinbase.sandbox.times import at

STEP_S = 0.001
CATCH_UP_S = 1.0
"""What was lost to the machine is made up for, but never more than this much of it at once."""
TRADE_EVERY = 4
_SEQUENCE = re.compile(r'"sequence_num":\d+')
_TICKER = re.compile(
    r'(\{"channel":"ticker","client_id":"","timestamp":")[^"]*(","sequence_num":)\d+'
    r'(,.*"best_bid_quantity":")[^"]*(".*"best_ask_quantity":")[^"]*(".*)'
)


class Repeater:
    """Messages of one connection, in order.  ``take`` learns from what the exchange says."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._sequence = 0
        self._tickers: dict[str, tuple[str, ...]] = {}
        self._quotes: dict[str, tuple[str, str]] = {}
        self._trade_ids = count(10**15)

    def take(self, text: str) -> str:
        """The exchange's message under the next number of this connection."""
        found = _TICKER.fullmatch(text)
        if found is not None:
            tickers = json.loads(text)["events"][0]["tickers"]
            if len(tickers) == 1:  # the first message has those of all products
                product = tickers[0]["product_id"]
                self._tickers[product] = found.groups()
                self._quotes[product] = (tickers[0]["best_bid"], tickers[0]["best_ask"])
        return _SEQUENCE.sub(f'"sequence_num":{self._number()}', text, count=1)

    def made(self, now_ns: int) -> Iterator[str]:
        """One message for each known product."""
        when = at(now_ns)
        for product, parts in self._tickers.items():
            number = self._number()
            yield self._trade(product, when, number) if number % TRADE_EVERY == 0 else self._ticker(parts, when, number)

    def _ticker(self, parts: tuple[str, ...], when: str, number: int) -> str:
        head, sequence, bid, ask, tail = parts
        return f"{head}{when}{sequence}{number}{bid}{self._size()}{ask}{self._size()}{tail}"

    def _trade(self, product: str, when: str, number: int) -> str:
        buys = self._random.random() < 0.5
        return (
            f'{{"channel":"market_trades","client_id":"","timestamp":"{when}","sequence_num":{number},"events":[{{"type":'
            f'"update","trades":[{{"trade_id":"{next(self._trade_ids)}","product_id":"{product}","price":'
            f'"{self._quotes[product][buys]}","size":"{self._size()}","time":"{when}","side":'
            f'"{"SELL" if buys else "BUY"}"}}]}}]}}'
        )

    def _size(self) -> str:
        return f"{0.01 + 3.0 * self._random.random():.8f}"

    def _number(self) -> int:
        self._sequence += 1
        return self._sequence - 1


async def _relay(client: ServerConnection, exchange_url: str, per_second: float) -> None:
    """One connection of the daemon, until either side ends it."""
    repeater = Repeater()
    async with connect(exchange_url, compression=None, max_size=None) as exchange:

        async def there() -> None:
            async for message in client:
                await exchange.send(message)

        async def back() -> None:
            async for message in exchange:
                assert isinstance(message, str)
                await client.send(repeater.take(message))

        async def between() -> None:
            loop = asyncio.get_running_loop()
            last_s, owed = loop.time(), 0.0
            while True:
                await asyncio.sleep(STEP_S)
                now_s = loop.time()
                owed = min(owed + (now_s - last_s) * per_second, CATCH_UP_S * per_second)
                last_s = now_s
                while owed >= 1.0:
                    sent = 0
                    for text in repeater.made(time.time_ns()):
                        await client.send(text)
                        sent += 1
                    owed -= sent
                    if not sent:
                        owed = 0.0  # no quote yet

        tasks = [asyncio.create_task(work()) for work in (there, back, between)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for done in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(done, Exception) and not isinstance(done, ConnectionClosed):
                    print(f"soak feed: {type(done).__name__}: {done}", file=sys.stderr, flush=True)


async def _main(exchange_url: str, per_second: float) -> None:
    async def handle(client: ServerConnection) -> None:
        await _relay(client, exchange_url, per_second)

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(msgspec.json.encode({"port": port}).decode(), flush=True)
        leash = asyncio.StreamReader()
        protocol: Any = asyncio.StreamReaderProtocol(leash)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        with contextlib.suppress(asyncio.CancelledError):
            while await leash.read(4096):
                pass


def main() -> None:
    exchange_url, per_second = sys.argv[1], float(sys.argv[2])
    try:
        import uvloop
    except ImportError:
        asyncio.run(_main(exchange_url, per_second))
        return
    uvloop.run(_main(exchange_url, per_second))


if __name__ == "__main__":
    main()
