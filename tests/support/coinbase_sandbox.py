"""A client for the Coinbase sandbox that knows nothing of its code, and ways to start one.

Tokens are signed here from the key file, as a third party's client does, so that the sandbox's verification is checked
against independent code.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from connectors.coinbase.sandbox.server import RunningSandbox, serve
from connectors.coinbase.sandbox.settings import SandboxSettings

PREFIX = "/api/v3/brokerage"
STILL_MS = 1e9
"""A step that never ends: the market stands still after its first one."""


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(key_file: Path, uri: str | None = None, *, ago_s: float = 0.0, **changes: Any) -> str:
    """A CDP token; ``ago_s`` moves its window into the past, ``changes`` replace claims."""
    content = json.loads(key_file.read_text())
    private = serialization.load_pem_private_key(content["privateKey"].encode(), None)
    is_ec = isinstance(private, ec.EllipticCurvePrivateKey)
    now_s = int(time.time() - ago_s)
    header = {
        "alg": "ES256" if is_ec else "EdDSA",
        "typ": "JWT",
        "kid": content["name"],
        "nonce": secrets.token_hex(16),
    }
    claims: dict[str, Any] = {"sub": content["name"], "iss": "cdp", "nbf": now_s, "exp": now_s + 120}
    if uri is not None:
        claims["uri"] = uri
    claims.update(changes)
    signed = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
    if isinstance(private, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        raw = private.sign(signed.encode())  # type: ignore[union-attr,call-arg]
    return f"{signed}.{_b64(raw)}"


class Stream:
    """A WebSocket that checks the sequence of everything it reads."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.next_sequence = 0

    async def say(self, **message: Any) -> None:
        await self.ws.send_str(json.dumps(message))

    async def read(self, timeout_s: float = 5.0) -> dict[str, Any]:
        frame = await self.ws.receive(timeout_s)
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        message: dict[str, Any] = json.loads(frame.data)
        if "sequence_num" in message:
            assert message["sequence_num"] == self.next_sequence
            self.next_sequence += 1
            assert set(message) == {"channel", "client_id", "timestamp", "sequence_num", "events"}
        return message

    async def until(self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0) -> dict[str, Any]:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.read(timeout_s)
                if wanted(message):
                    return message


class Client:
    """REST and streams of one sandbox."""

    def __init__(self, sandbox: RunningSandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.key_file = sandbox.key_file

    def token(self, method: str, path: str, **changes: Any) -> str:
        return sign(self.key_file, f"{method} 127.0.0.1:{self.sandbox.port}{path}", **changes)

    async def raw(
        self, method: str, path: str, *, token: str | None = None, params: Any = None, body: Any = None
    ) -> tuple[int, str, dict[str, str]]:
        full = PREFIX + path
        headers = {"Authorization": f"Bearer {self.token(method, full) if token is None else token}"}
        url = self.sandbox.rest_url + full
        # The official client sends a body with every GET.
        async with self.session.request(
            method, url, params=params, json={} if body is None else body, headers=headers
        ) as r:
            return r.status, await r.text(), dict(r.headers)

    async def call(self, method: str, path: str, *, params: Any = None, body: Any = None) -> Any:
        status, text, _ = await self.raw(method, path, params=params, body=body)
        assert status == 200, (status, text)
        return json.loads(text)

    async def get(self, path: str, params: Any = None) -> Any:
        return await self.call("GET", path, params=params)

    async def post(self, path: str, body: Any) -> Any:
        return await self.call("POST", path, body=body)

    async def order(
        self, side: str, product_id: str = "BTC-USD", client_order_id: str = "", **configuration: Any
    ) -> Any:
        """``order("BUY", market_market_ioc={...})``"""
        body = {
            "client_order_id": client_order_id or secrets.token_hex(8),
            "product_id": product_id,
            "side": side,
            "order_configuration": configuration,
        }
        return await self.post("/orders", body)

    async def balances(self) -> dict[str, Decimal]:
        """Total per currency."""
        found = (await self.get("/accounts"))["accounts"]
        return {a["currency"]: Decimal(a["available_balance"]["value"]) + Decimal(a["hold"]["value"]) for a in found}

    async def best(self, product_id: str = "BTC-USD") -> tuple[Decimal, Decimal]:
        book = (await self.get("/product_book", {"product_id": product_id, "limit": "1"}))["pricebook"]
        return Decimal(book["bids"][0]["price"]), Decimal(book["asks"][0]["price"])

    @asynccontextmanager
    async def stream(self, *, user: bool = False, **options: Any) -> AsyncIterator[Stream]:
        url = self.sandbox.ws_user_url if user else self.sandbox.ws_market_url
        async with self.session.ws_connect(url, compress=15, **options) as ws:
            yield Stream(ws)


@asynccontextmanager
async def running(tmp_path: Path, **settings: Any) -> AsyncIterator[Client]:
    """A sandbox on a free port.  By default its market stands still after two seconds of history."""
    given = {"key_file": tmp_path / "key.json", "warmup_s": 2.0, "step_ms": STILL_MS, **settings}
    sandbox = await serve(SandboxSettings(**given))
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(sandbox, session)
    finally:
        await sandbox.stop()
