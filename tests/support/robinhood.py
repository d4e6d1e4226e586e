"""A Robinhood crypto sandbox whose quotes are known, and a client that signs by the venue's recipe on its own."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from connectors.robinhood.sandbox.server import RunningSandbox, serve
from connectors.robinhood.sandbox.settings import ACCOUNT_NUMBER, DEFAULT_PAIRS, SandboxSettings

STILL_MS = 20.0
ACCOUNT = f"account_number={ACCOUNT_NUMBER}"
BIDS = [["60000.00", "1"], ["59990.00", "1"], ["59000.00", "5"]]
ASKS = [["60010.00", "1"], ["60020.00", "1"], ["61000.00", "5"]]


class Client:
    """Signed HTTP to a running sandbox."""

    def __init__(self, sandbox: RunningSandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        content = json.loads(sandbox.key_file.read_text())
        self.api_key: str = content["api_key"]
        self.private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(content["private_key"]))

    def headers(self, method: str, target: str, body: str = "", *, late_s: int = 0) -> dict[str, str]:
        stamp = str(int(time.time()) + late_s)
        signature = self.private.sign(f"{self.api_key}{stamp}{target}{method}{body}".encode())
        return {
            "x-api-key": self.api_key,
            "x-signature": base64.b64encode(signature).decode(),
            "x-timestamp": stamp,
            **({"Content-Type": "application/json; charset=utf-8"} if body else {}),
        }

    async def send(self, method: str, target: str, body: str = "", headers: Any = None) -> tuple[int, Any]:
        url = URL(self.sandbox.url + target, encoded=True)
        sent = self.headers(method, target, body) if headers is None else headers
        async with self.session.request(method, url, data=body.encode() or None, headers=sent) as answer:
            raw = await answer.read()
            return answer.status, json.loads(raw) if answer.content_type == "application/json" else raw.decode()

    async def get(self, path: str, api: str = "v2") -> tuple[int, Any]:
        """``path`` below ``/api/v2/crypto``; orders and holdings of v2 get the account's number."""
        if api == "v2" and ("/orders" in path or "/holdings" in path) and "account_number" not in path:
            path += ("&" if "?" in path else "?") + ACCOUNT
        return await self.send("GET", f"/api/{api}/crypto{path}")

    async def place(
        self,
        kind: str = "market",
        *,
        side: str = "buy",
        api: str = "v2",
        symbol: str = "BTC-USD",
        name: str = "",
        **config: Any,
    ) -> tuple[int, Any]:
        if kind != "market" and api == "v2":
            config = {"time_in_force": "gtc", **config}
        config = {key: value for key, value in config.items() if value is not None}
        body = {
            "client_order_id": name or str(uuid.uuid4()),
            "side": side,
            "type": kind,
            "symbol": symbol,
            f"{kind}_order_config": config,
        }
        query = f"?{ACCOUNT}" if api == "v2" else ""
        return await self.send("POST", f"/api/{api}/crypto/trading/orders/{query}", json.dumps(body))

    async def order(self, order_id: str, api: str = "v2") -> Any:
        status, body = await self.get(f"/trading/orders/{order_id}/", api)
        assert status == 200, body
        return body

    async def cancel(self, order_id: str, api: str = "v2") -> tuple[int, Any]:
        query = f"?{ACCOUNT}" if api == "v2" else ""
        return await self.send("POST", f"/api/{api}/crypto/trading/orders/{order_id}/cancel/{query}")

    async def operate(self, act: str, **fields: Any) -> None:
        url = f"{self.sandbox.url}/sandbox/operator"
        async with self.session.post(url, json={"act": act, **fields}) as answer:
            assert answer.status == 200, await answer.text()

    async def pin(self, bids: Any = None, asks: Any = None, symbol: str = "BTC-USD") -> None:
        await self.operate("pin", symbol=symbol, bids=bids or BIDS, asks=asks or ASKS)


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[Client]:
    """A sandbox on a free port whose BTC-USD stands still; no limits on requests unless they are asked for."""
    given: dict[str, Any] = {
        "key_file": folder / "key.json",
        "warmup_s": 1.0,
        "step_ms": STILL_MS,
        "rate_limits": None,
        "pairs": DEFAULT_PAIRS[:2],
        "rate_per_s": 5.0,
        **settings,
    }
    sandbox = await serve(SandboxSettings(**given))
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(sandbox, session)
            await client.pin()
            yield client
    finally:
        await sandbox.stop()
