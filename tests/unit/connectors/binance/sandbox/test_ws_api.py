"""The WebSocket API of the Binance sandbox: requests signed over their sorted parameters, and the user's stream."""

from __future__ import annotations

import hashlib
import hmac
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support.local_venues import Client, Stream, binance, stream

ORDER = {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.02"}


def signed(client: Client, **params: Any) -> dict[str, Any]:
    made = {**params, "apiKey": client.api_key, "timestamp": time.time_ns() // 1_000_000}
    payload = "&".join(f"{name}={made[name]}" for name in sorted(made))
    return made | {"signature": hmac.new(client.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()}


async def ask(line: Stream, method: str, params: Any = None, number: Any = 1) -> Any:
    await line.say(id=number, method=method, **({} if params is None else {"params": params}))
    while True:
        said = await line.read()
        if "event" not in said:
            return said


async def report(line: Stream, **wanted: Any) -> Any:
    while True:
        event = (await line.read()).get("event", {})
        if wanted.items() <= event.items():
            return event


async def test_requests_are_those_of_rest(tmp_path: Path) -> None:
    """Public and signed, with weights told; a wrong signature, an unknown method, a text that is none."""
    async with binance(tmp_path) as client, stream(client, "/ws-api/v3") as line:
        said = await ask(line, "time", number="t1")
        assert (said["id"], said["status"]) == ("t1", 200)
        assert said["rateLimits"][0]["count"] == 1
        said = await ask(line, "ticker.24hr", {"symbols": ["BTCUSDT", "ETHUSDT"]})
        assert [row["symbol"] for row in said["result"]] == ["BTCUSDT", "ETHUSDT"]
        assert (await ask(line, "account.status", signed(client)))["result"]["canTrade"]
        wrong = {**signed(client), "signature": "0"}
        for method, params, status, code in (
            ("account.status", wrong, 400, -1022),
            ("account.status", {}, 401, -2014),
            ("no.such", {}, 404, -1000),
            (["time"], {}, 404, -1000),
            ("depth", {"symbol": "NOSUCH"}, 400, -1121),
            ("depth", {"symbol": {"a": 1}}, 400, -1100),
            ("depth", [1], 400, -1135),
        ):
            said = await ask(line, method, params)  # type: ignore[arg-type]
            assert (said["status"], said["error"]["code"]) == (status, code), said
        for text in ("{", "[]", "7"):
            await line.ws.send_str(text)
            said = await line.read()
            assert (said["id"], said["error"]["code"]) == (None, -1135)


async def test_the_users_stream_tells_an_order_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """New, two fills, of which the second is its end, and balances; another one cancelled; then the key goes."""
    balances = (("USDT", Decimal(1_000)), ("BTC", Decimal(1)))
    async with binance(tmp_path, balances=balances) as client, stream(client, "/ws-api/v3") as line:
        said = await ask(line, "userDataStream.subscribe.signature", signed(client))
        assert said["result"] == {"subscriptionId": 0}
        _, best = await client.get("/api/v3/ticker/bookTicker", symbol="BTCUSDT")
        ask_px = Decimal(best["askPrice"])
        # Nobody bids within five dollars of it: an offer below the best one rests.
        await client.operate(act="trade", symbol="BTC/USDT", side="SELL", price=f"{ask_px - 5:.2f}")
        px = f"{ask_px - Decimal('0.01'):.2f}"
        said = await ask(line, "order.place", signed(client, **ORDER, price=px, newClientOrderId="mine"))
        number = said["result"]["orderId"]
        new = await report(line, e="executionReport", x="NEW")
        assert (new["i"], new["c"], new["X"], new["w"]) == (number, "mine", "NEW", True)
        held = await report(line, e="outboundAccountPosition")
        assert {row["a"]: row["l"] for row in held["B"]}["BTC"] == "0.02000000"
        for size, state, filled in (("0.005", "PARTIALLY_FILLED", "0.00500000"), ("0.015", "FILLED", "0.02000000")):
            await client.operate(act="trade", symbol="BTC/USDT", side="BUY", price=px, size=size)
            fill = await report(line, e="executionReport", x="TRADE")
            assert (fill["X"], fill["z"], fill["m"], fill["N"]) == (state, filled, True, "USDT")
            assert Decimal(fill["n"]) == Decimal(fill["Y"]) / 1_000
            assert (await report(line, e="outboundAccountPosition"))["B"]
        said = await ask(line, "order.place", signed(client, **ORDER, price="90000"))
        await report(line, e="executionReport", x="NEW")
        client_id = said["result"]["clientOrderId"]
        await ask(line, "order.cancel", signed(client, symbol="BTCUSDT", orderId=said["result"]["orderId"]))
        gone = await report(line, e="executionReport", x="CANCELED")
        assert (gone["X"], gone["C"]) == ("CANCELED", client_id)
        await client.order(kind="LIMIT", quantity="0.01", price="1000", timeInForce="FOK")
        assert (await report(line, e="executionReport", x="EXPIRED"))["X"] == "EXPIRED"
        await client.operate(act="expire_key")
        await report(line, e="eventStreamTerminated")


async def test_who_unsubscribes_is_told_nothing(tmp_path: Path) -> None:
    """The next message after an order is the answer to the next request."""
    async with binance(tmp_path) as client, stream(client, "/ws-api/v3") as line:
        await ask(line, "userDataStream.subscribe.signature", signed(client))
        assert (await ask(line, "userDataStream.unsubscribe"))["result"] == {}
        await client.order(quantity="0.01", price="1000")
        await line.say(id=9, method="ping")
        assert (await line.read())["id"] == 9
