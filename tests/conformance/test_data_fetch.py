"""``data fetch`` as a user runs it, against the built-in Coinbase exchange over HTTP, with a bad line in between."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connectors.coinbase.archive import CoinbaseHistory
from connectors.coinbase.sandbox.tape import PublicTrade, Tape
from connectors.coinbase.settings import CoinbaseSettings
from connectors.download import Download, Wanted
from connectors.paced import TRIES, PacedRest
from engine.data.catalogue import Catalogue
from engine.errors import VenueError
from tests.support.coinbase_sandbox import Client, running

ROOT = Path(__file__).resolve().parents[2]
NS = 1_000_000_000
START_S = 1_704_067_200
"""2024-01-01; the market below trades for 40 hours from then on."""
HOURS = 40
SPAN = ("--start", "2024-01-01", "--end", "2024-01-02T16:00")


def market(seed: int = 7) -> list[PublicTrade]:
    """One to three trades in most minutes, none in every seventh; ids not in order of digits."""
    rng = random.Random(seed)
    made: list[PublicTrade] = []
    for minute in range(HOURS * 60):
        offsets = sorted(rng.randrange(60 * NS) for _ in range(rng.randint(1, 3))) if minute % 7 else []
        for offset_ns in offsets:
            px = Decimal(60_000) + Decimal(rng.randint(-5_000, 5_000)) / 100
            qty = Decimal(rng.randint(1, 10**6)) / 10**8
            ts_ns = (START_S + 60 * minute) * NS + offset_ns
            made.append(PublicTrade(str(998 + len(made)), px, qty, rng.choice(("BUY", "SELL")), ts_ns))
    return made


def minute_bars(trades: list[PublicTrade]) -> list[tuple[Any, ...]]:
    """What the candles of these trades must be, made by other means than the exchange does."""
    by_minute: dict[int, list[PublicTrade]] = {}
    for trade in trades:
        by_minute.setdefault(trade.ts_ns // (60 * NS), []).append(trade)
    return [
        (
            minute * 60 * NS,
            float(held[0].px),
            float(max(t.px for t in held)),
            float(min(t.px for t in held)),
            float(held[-1].px),
            float(sum(t.qty for t in held)),
        )
        for minute, held in sorted(by_minute.items())
    ]


def stored_bars(catalogue: Path) -> list[tuple[Any, ...]]:
    columns = ("ts_ns", "open", "high", "low", "close", "volume")
    batches = Catalogue(catalogue).read("bars", instrument="BTC/USD@coinbase_sandbox", interval_ns=60 * NS)
    return [tuple(row[name] for name in columns) for batch in batches for row in batch.to_pylist()]


class Line:
    """Between downloader and exchange: passes on, and may do something else with the n-th request for data first."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.url = ""
        self.data_requests = 0
        self.fault: Callable[[int, web.Request], Any] = lambda _number, _request: None
        """Called with the number of the data request; what it returns (awaited) is the answer, None passes on."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith(("/candles", "/ticker")):
            self.data_requests += 1
            made = self.fault(self.data_requests, request)
            answer = await made if asyncio.iscoroutine(made) else made
            if answer is not None:
                assert isinstance(answer, web.StreamResponse)
                return answer
        async with self.client.session.get(self.client.sandbox.rest_url + request.path_qs) as response:
            headers = {k: v for k, v in response.headers.items() if k.lower() in ("retry-after", "content-type")}
            return web.Response(status=response.status, body=await response.read(), headers=headers)


@asynccontextmanager
async def venue(tmp_path: Path, trades: list[PublicTrade], **settings: Any) -> AsyncIterator[Line]:
    """An exchange whose BTC-USD has exactly these trades, and the line to it."""
    async with running(tmp_path, warmup_s=0.0, **settings) as client:
        tape = client.sandbox.exchange.markets["BTC-USD"].tape = Tape()
        for trade in trades:
            tape.add(trade)
        line = Line(client)
        app = web.Application()
        app.router.add_get("/{tail:.*}", line.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        line.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield line
        finally:
            await runner.cleanup()


async def start_fetch(url: str, catalogue: Path, *options: str, symbols: str = "BTC/USD") -> asyncio.subprocess.Process:
    command = [sys.executable, str(ROOT / "run.py"), "data", "fetch", "--venue", "coinbase", "--symbols", symbols]
    return await asyncio.create_subprocess_exec(
        *[*command, "--url", url, "--to", str(catalogue), "--json", *options],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=catalogue.parent,
        env={k: v for k, v in os.environ.items() if not k.startswith("KESTREL_VENUE")},
        # A suite that runs in the background has Ctrl-C switched off, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


async def fetch(url: str, catalogue: Path, *options: str, symbols: str = "BTC/USD") -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON of the last line, stderr."""
    process = await start_fetch(url, catalogue, *options, symbols=symbols)
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, json.loads(out.decode().splitlines()[-1]), err.decode()


def bars(*span: str) -> list[str]:
    return ["--kind", "bars", "--interval", "1m", *(span or SPAN)]


async def test_bars_and_trades_of_two_days_are_what_the_exchange_had(tmp_path: Path) -> None:
    """2,057 minutes with a trade of 2,400, in pages of 300; 4,000 trades in pages of 1,000: each as it was made."""
    trades = market()
    catalogue = tmp_path / "catalogue"
    async with venue(tmp_path, trades) as line:
        status, told, err = await fetch(line.url, catalogue, *bars())
        assert (status, err) == (0, "")
        bar_rows = told["rows"]
        status, told, _ = await fetch(line.url, catalogue, "--kind", "trades", *SPAN)
        assert status == 0
    assert stored_bars(catalogue) == minute_bars(trades)
    assert bar_rows == len(minute_bars(trades)) < HOURS * 60
    rows = [row for batch in Catalogue(catalogue).read("trades") for row in batch.to_pylist()]
    aggressor = {"BUY": "sell", "SELL": "buy"}
    assert [(r["ts_ns"], r["price"], r["size"], r["side"], r["trade_id"]) for r in rows] == [
        (t.ts_ns, float(t.px), float(t.qty), aggressor[t.maker_side], t.trade_id) for t in trades
    ]
    assert (told["venue"], told["symbols"], told["kind"], told["rows"]) == (
        "coinbase_sandbox",
        ["BTC/USD"],
        "trades",
        len(rows),
    )
    assert told["requests"] >= len(rows) // 1_000
    assert told["resumed"] is False
    assert told["seconds"] > 0


async def test_a_download_that_is_killed_doubles_nothing_and_misses_nothing(tmp_path: Path) -> None:
    """kill -9 while the sixth page is under way and the first is stored; the second run asks for the rest only."""
    trades = market()
    catalogue = tmp_path / "catalogue"
    hanging = asyncio.Event()
    async with venue(tmp_path, trades) as line:

        async def hang(number: int, _request: web.Request) -> None:
            if number == 7:  # the first request asks for the product's first day
                hanging.set()
                await asyncio.sleep(60)

        line.fault = hang
        process = await start_fetch(line.url, catalogue, *bars())
        await asyncio.wait_for(hanging.wait(), 90)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        whole = minute_bars(trades)
        kept = stored_bars(catalogue)
        assert 0 < len(kept) < len(whole)
        assert kept == whole[: len(kept)]
        line.fault = lambda _number, _request: None
        asked = line.data_requests
        status, told, _ = await fetch(line.url, catalogue, *bars())
    assert status == 0
    assert stored_bars(catalogue) == whole
    assert (told["resumed"], told["rows"]) == (True, len(whole) - len(kept))
    assert line.data_requests - asked <= 8 + 1


async def test_an_interrupted_download_keeps_its_pages_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C while the sixth page is under way: all five are stored, exit status 130."""
    trades = market()
    catalogue = tmp_path / "catalogue"
    hanging = asyncio.Event()
    async with venue(tmp_path, trades) as line:

        async def hang(number: int, _request: web.Request) -> None:
            if number == 7:
                hanging.set()
                await asyncio.sleep(60)

        line.fault = hang
        process = await start_fetch(line.url, catalogue, *bars())
        await asyncio.wait_for(hanging.wait(), 90)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 130
    assert b"Traceback" not in err
    told = json.loads(out.decode().splitlines()[-1])
    assert told["interrupted"] is True
    assert "the same command goes on from here" in out.decode()
    pages = [bar for bar in minute_bars(trades) if bar[0] < (START_S + 5 * 300 * 60) * NS]
    assert stored_bars(catalogue) == pages
    assert told["rows"] == len(pages)


class Quick:
    """The parts of ``data fetch`` in this process, with the real pace and waits on a clock that only waits move."""

    def __init__(self, url: str, catalogue: Path) -> None:
        self.now_ns = 0
        self.said: list[str] = []
        self.catalogue = catalogue
        self.history = CoinbaseHistory(
            CoinbaseSettings(rest_url=url),
            pace=lambda client: PacedRest(
                client,
                "coinbase",
                rate_per_s=10,
                rng=random.Random(1),
                now_ns=lambda: self.now_ns,
                sleep=self.sleep,
                say=self.said.append,
            ),
        )

    async def sleep(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS) + 1

    async def fetch(self) -> None:
        try:
            await self.history.start()
            instrument = await self.history.instrument("BTC/USD")
            wanted = Wanted(instrument, "bars", 60 * NS, START_S * NS, (START_S + HOURS * 3_600) * NS)
            await Download(self.history, Catalogue(self.catalogue)).run(wanted)
        finally:
            await self.history.stop()


async def test_a_storm_of_429_and_broken_connections_are_outlasted(tmp_path: Path) -> None:
    """Refused with a Retry-After, a broken gateway, an answer cut in its middle: every row comes, and once."""
    trades = market()
    async with venue(tmp_path, trades) as line:

        async def trouble(number: int, request: web.Request) -> web.StreamResponse | None:
            if number in (2, 3):
                return web.Response(status=429, text="slow down", headers={"Retry-After": "20"})
            if number == 5:
                return web.Response(status=502, text="<html>Bad Gateway</html>")
            if number == 8:
                answer = web.StreamResponse(headers={"Content-Length": "100000"})
                await answer.prepare(request)
                await answer.write(b'{"candles":[{"start":"17040')
                assert request.transport is not None
                request.transport.abort()
                return answer
            return None

        line.fault = trouble
        quick = Quick(line.url, tmp_path / "catalogue")
        await quick.fetch()
    assert stored_bars(tmp_path / "catalogue") == minute_bars(trades)
    assert quick.said.count("coinbase asks to slow down, waiting 20 s") == 2
    assert sum(text.startswith("coinbase does not answer") for text in quick.said) == 2
    assert quick.now_ns >= 40 * NS
    assert quick.history.requests == line.data_requests + 2


async def test_a_venue_that_keeps_refusing_ends_in_one_line_and_keeps_what_came(tmp_path: Path) -> None:
    """From the fourth request on every answer is 429; two pages had come."""
    trades = market()
    async with venue(tmp_path, trades) as line:
        line.fault = lambda number, _request: web.Response(status=429, text="no") if number >= 4 else None
        quick = Quick(line.url, tmp_path / "catalogue")
        with pytest.raises(VenueError, match=rf"refused {TRIES} times in a row.*429.*again later") as told:
            await quick.fetch()
    assert "\n" not in str(told.value)
    assert quick.now_ns > 30 * NS
    pages = [bar for bar in minute_bars(trades) if bar[0] < (START_S + 2 * 300 * 60) * NS]
    assert stored_bars(tmp_path / "catalogue") == pages


async def test_the_bar_under_way_is_never_stored(tmp_path: Path) -> None:
    """The exchange traded up to now, and gives a candle of the current minute to whoever asks; we store none of it."""
    catalogue = tmp_path / "catalogue"
    async with running(tmp_path, warmup_s=200.0, rate_per_s=20.0) as client, aiohttp.ClientSession() as session:
        path = f"{client.sandbox.rest_url}/api/v3/brokerage"
        async with session.get(f"{path}/time") as answer:
            before_s = int((await answer.json())["epochSeconds"])
        start = ("--start", "2024-01-01T00:00")
        status, told, err = await fetch(client.sandbox.rest_url, catalogue, *bars(*start))
        async with session.get(f"{path}/time") as answer:
            after_s = int((await answer.json())["epochSeconds"])
    assert status == 0, err
    last_ns = stored_bars(catalogue)[-1][0]
    assert (before_s - 62) // 60 * 60 * NS <= last_ns < after_s // 60 * 60 * NS
    assert told["rows"] == len(stored_bars(catalogue)) >= 2
    assert told["requests"] < 20, "the years before the first trade cost no page each"


async def test_a_wrong_name_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    """The second of two symbols does not exist: one line with the nearest names, and an empty catalogue."""
    async with venue(tmp_path, market()) as line:
        status, told, err = await fetch(line.url, tmp_path / "catalogue", *bars(), symbols="BTC/USD,ETH/USB")
    assert status == 2
    assert told == {"error": err.strip().removeprefix("kestrel: ")}
    assert "unknown symbol 'ETH/USB'" in err
    assert "did you mean ETH/USD" in err
    assert line.data_requests == 0
    assert not list(tmp_path.rglob("*.parquet"))


async def test_an_address_without_a_server_is_one_line(tmp_path: Path) -> None:
    """The port was free a moment ago; no waiting, no traceback, no catalogue."""
    async with venue(tmp_path, []) as line:
        url = line.url
    status, told, err = await fetch(url, tmp_path / "catalogue", *bars())
    assert status == 2
    assert err.count("\n") == 1
    assert "Cannot connect" in told["error"]
    assert not (tmp_path / "catalogue").exists()
