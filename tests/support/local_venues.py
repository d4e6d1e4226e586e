"""Clients of the local Binance and Kraken that know nothing of their code, and ways to start one.

Requests are signed here as the venues' documents have it, so that the sandboxes' checks are held against other code.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from connectors.binance.sandbox import server as binance_server
from connectors.binance.sandbox.settings import USDM_PRODUCTS, BinanceSettings
from connectors.binance.streams import USDM
from connectors.kraken.sandbox import server as kraken_server
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.local.exchange import Exchange
from connectors.local.serving import RunningVenue
from connectors.local.settings import LocalSettings, SpotProduct

STILL_MS = 1e12
"""A step that never ends: the market stands still after its first one."""
STILL: dict[str, Any] = {"step_ms": STILL_MS, "warmup_s": 1.0, "history_minutes": 30}
NOW_NS = 1_790_000_000_000_000_000
PRODUCT = SpotProduct("BTC/USDT", Decimal(60_000))


def spot(now_ns: int = NOW_NS, **given: Any) -> Exchange:
    """An exchange without a server whose market has taken its first step and stands still."""
    settings = LocalSettings(
        **{
            "products": (PRODUCT,),
            "history_minutes": 5,
            "balances": (("USDT", Decimal(100_000)), ("BTC", Decimal(2))),
            **given,
        }
    )
    settings.check()
    made = Exchange(settings, "somewhere", now_ns)
    made.step(now_ns)
    made.step(now_ns + 1_000_000_000)
    return made


class Client:
    """REST of one venue, and its operator's door."""

    def __init__(self, venue: RunningVenue, session: aiohttp.ClientSession) -> None:
        self.venue = venue
        self.session = session
        key = {} if venue.key_file is None else json.loads(venue.key_file.read_text())
        self.api_key, self.secret = key.get("apiKey", ""), key.get("secret", "")
        self._nonces = count(time.time_ns())

    async def operate(self, expected: int = 200, /, **act: Any) -> Any:
        async with self.session.post(f"{self.venue.url}/sandbox/operator", json=act) as answer:
            body = await answer.json()
            assert answer.status == expected, body
            return body

    async def get(self, path: str, **params: Any) -> tuple[int, Any]:
        async with self.session.get(self.venue.url + path, params=params) as answer:
            return answer.status, await answer.json()

    # --- Binance ------------------------------------------------------------------------------------------------------

    async def binance(
        self, method: str, path: str, /, *, ago_ms: int = 0, secret: str = "", in_query: bool = False, **params: Any
    ) -> tuple[int, Any]:
        """A signed request below ``/api/v3``, in the body of a POST unless ``in_query``."""
        params = {name: f"{value}" for name, value in params.items()}
        query = urlencode({**params, "timestamp": time.time_ns() // 1_000_000 - ago_ms})
        signature = hmac.new((secret or self.secret).encode(), query.encode(), hashlib.sha256).hexdigest()
        query += f"&signature={signature}"
        url, headers = f"{self.venue.url}/api/v3/{path}", {"X-MBX-APIKEY": self.api_key}
        data = query if method == "POST" and not in_query else None
        if data is None:
            url += f"?{query}"
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.session.request(method, aiohttp.client.URL(url, encoded=True), data=data, headers=headers) as r:
            return r.status, await r.json()

    async def order(self, side: str = "BUY", kind: str = "LIMIT", **params: Any) -> tuple[int, Any]:
        """A Binance order; limits are good till cancelled."""
        given = {"symbol": "BTCUSDT", "side": side, "type": kind, **params}
        if kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
            given.setdefault("timeInForce", "GTC")
        return await self.binance("POST", "order", **given)

    # --- Kraken -------------------------------------------------------------------------------------------------------

    async def kraken(self, name: str, /, *, nonce: int | None = None, secret: str = "", **params: Any) -> Any:
        """A signed request; its result, or the texts of its errors."""
        path = f"/0/private/{name}"
        nonce_text = str(next(self._nonces) if nonce is None else nonce)
        body = urlencode({"nonce": nonce_text, **params})
        digest = hashlib.sha256((nonce_text + body).encode()).digest()
        signed = hmac.new(base64.b64decode(secret or self.secret), path.encode() + digest, hashlib.sha512).digest()
        headers = {
            "API-Key": self.api_key,
            "API-Sign": base64.b64encode(signed).decode(),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with self.session.post(self.venue.url + path, data=body, headers=headers) as answer:
            said = await answer.json()
            return said["error"] or said["result"]


class Stream:
    """One WebSocket, JSON both ways."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def say(self, **message: Any) -> None:
        await self.ws.send_str(json.dumps(message))

    async def raw(self) -> str:
        async with asyncio.timeout(30):
            frame = await self.ws.receive()
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        return str(frame.data)

    async def read(self) -> Any:
        return json.loads(await self.raw())

    async def until(self, **wanted: Any) -> Any:
        """The next message with these members."""
        while True:
            message = await self.read()
            if isinstance(message, dict) and wanted.items() <= message.items():
                return message

    async def ended(self) -> int | None:
        """Read what there is to the end; the code of the close frame."""
        async with asyncio.timeout(30):
            async for _ in self.ws:
                pass
        return self.ws.close_code


@asynccontextmanager
async def stream(client: Client, path: str) -> AsyncIterator[Stream]:
    brief = aiohttp.ClientWSTimeout(ws_close=0.1)
    async with client.session.ws_connect(client.venue.ws_url + path, timeout=brief) as ws:
        yield Stream(ws)


@asynccontextmanager
async def _running(venue: RunningVenue) -> AsyncIterator[Client]:
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(venue, session)
    finally:
        await venue.stop()


@asynccontextmanager
async def binance(tmp_path: Path, **given: Any) -> AsyncIterator[Client]:
    """A Binance on a free port; by default its market stands still after a second of history."""
    settings = BinanceSettings(**{"key_file": tmp_path / "binance.json", **STILL, **given})
    async with _running(await binance_server.serve(settings)) as client:
        yield client


@asynccontextmanager
async def binance_usdm(**given: Any) -> AsyncIterator[Client]:
    """The market of Binance USD-M futures, likewise."""
    settings = BinanceSettings(**{"venue": USDM, "products": USDM_PRODUCTS, "balances": (), **STILL, **given})
    async with _running(await binance_server.serve(settings)) as client:
        yield client


@asynccontextmanager
async def kraken(tmp_path: Path, **given: Any) -> AsyncIterator[Client]:
    """A Kraken, likewise."""
    settings = KrakenSettings(**{"key_file": tmp_path / "kraken.json", **STILL, **given})
    async with _running(await kraken_server.serve(settings)) as client:
        yield client
