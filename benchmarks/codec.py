"""What a Coinbase frame, order and token cost: ``python -m benchmarks.codec [--json]``.

Parses one ticker frame to a quote (goal: decode <= 1.5 us, whole parse beside it), encodes one limit order to request
bytes with a token made ahead, and signs a token inline (ES256 and EdDSA: what the pool saves each order).  Each call is
timed on its own; the cost of reading the clock, measured beside, is taken off.  Not a test: it asserts nothing.
"""

from __future__ import annotations

import gc
import json
import platform
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.coinbase import wire
from connectors.coinbase.auth import Key, TokenPool
from connectors.coinbase.gateway import ORDERS_ROUTE, request_head
from connectors.coinbase.orders import encode_order
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side

ROUNDS = 100_000
NOW_NS = 1_795_183_387_000_000_000
TICKER = (
    b'{"channel":"ticker","client_id":"","timestamp":"2026-11-20T14:03:07.123456789Z","sequence_num":%d,"events":'
    b'[{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"61234.55","volume_24_h":"1200.5",'
    b'"low_24_h":"60000","high_24_h":"62000","low_52_w":"40000","high_52_w":"90000","price_percent_chg_24_h":"1.2",'
    b'"best_bid":"61234.54","best_bid_quantity":"0.5","best_ask":"61234.56","best_ask_quantity":"0.4"}]}]}'
)
ORDER = NewOrder(
    NOW_NS,
    "k-0123456789abcdef-000001",
    "coinbase",
    OrderIntent(
        NOW_NS,
        "bench",
        "BTC/USD@coinbase",
        Side.BUY,
        Decimal("0.00123400"),
        OrderType.LIMIT,
        limit_px=Decimal("61234.56"),
        time_in_force=TimeInForce.IOC,
    ),
)


def measure(name: str, call: Callable[[int], Any], rounds: int = ROUNDS) -> dict[str, Any]:
    """Percentiles of single calls in microseconds and the rate of untimed calls; ``call`` gets the round's number."""
    read = time.perf_counter_ns
    for number in range(min(rounds, 2_000)):
        call(number)
    gc.collect()
    gc.disable()
    try:
        overhead_ns = sorted(-read() + read() for _ in range(10_000))[5_000]
        samples = [0] * rounds
        for number in range(rounds):
            before = read()
            call(number)
            samples[number] = read() - before
        before = read()
        for number in range(rounds):
            call(number)
        per_second = rounds * 1e9 / (read() - before)
    finally:
        gc.enable()
    samples.sort()
    p50, p99 = (max(0, samples[int(share * (rounds - 1))] - overhead_ns) / 1e3 for share in (0.5, 0.99))
    return {"name": name, "p50": p50, "p99": p99, "per_second": round(per_second), "n": rounds}


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def cases() -> list[dict[str, Any]]:
    frames = [TICKER % number for number in range(ROUNDS)]
    product = {"BTC-USD": ("BTC/USD@coinbase",)}
    protocol = CoinbaseMarketProtocol("coinbase", product, ("heartbeats", "ticker", "market_trades"))

    def parse(number: int) -> None:
        if number == 0:
            protocol.reset()
        protocol.receive_frame(frames[number], NOW_NS)

    es256 = Key("organizations/bench/apiKeys/bench", pem(ec.generate_private_key(ec.SECP256R1())))
    eddsa = Key("organizations/bench/apiKeys/bench", pem(ed25519.Ed25519PrivateKey.generate()))
    pool = TokenPool(es256, "api.coinbase.com", venue_now_ns=lambda: NOW_NS, nonce=lambda: "0" * 64)
    pool.keep(*ORDERS_ROUTE)
    head = request_head(ORDERS_ROUTE, "api.coinbase.com")

    def request(_: int) -> bytes:
        body = encode_order(ORDER, "BTC-USD")
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (head, pool.token(ORDERS_ROUTE), len(body), body)

    uri = "POST api.coinbase.com/api/v3/brokerage/orders"
    return [
        measure("coinbase ticker, decode", lambda n: wire.decode_ticker(frames[n])),
        measure("coinbase ticker, frame to quote", parse),
        measure("coinbase order, command to body", lambda _: encode_order(ORDER, "BTC-USD")),
        measure("coinbase order, command to request, token made ahead", request),
        measure("coinbase token, ES256 inline", lambda _: es256.token(NOW_NS, "0" * 64, uri), 5_000),
        measure("coinbase token, EdDSA inline", lambda _: eddsa.token(NOW_NS, "0" * 64, uri), 5_000),
    ]


def main() -> None:
    results = cases()
    if "--json" in sys.argv:
        print(json.dumps({"cases": results, "machine": f"{platform.machine()} {platform.python_version()}"}))
        return
    print(f"{platform.machine()}, Python {platform.python_version()}; ticker frame of {len(TICKER % 0)} bytes")
    for case in results:
        print(f"{case['name']:<54} p50 {case['p50']:6.2f} us  p99 {case['p99']:6.2f} us  {case['per_second']:>9,}/s")


if __name__ == "__main__":
    main()
