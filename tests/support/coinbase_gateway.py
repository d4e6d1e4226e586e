"""A Coinbase gateway on a bench: the channel is scripted, everything else is real."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.coinbase.auth import Key, TokenPool
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.tracker import OrderTracker
from connectors.fakes import EventLog, FakeClock, ScriptedOrderChannel
from connectors.ratelimit import TokenBucket
from engine.commands import CancelOrder
from engine.events import CancelRejected
from tests.support.coinbase import BTC, TS_NS, accepted_answer, new_order

PEM = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class NotedQuestions:
    """Stands where the settler and its checks stand, and notes what it is asked."""

    def __init__(self) -> None:
        self.checks = self
        self.resolving: list[str] = []
        self.later: list[str] = []
        self.now: list[str] = []
        self.changing: list[str] = []

    def resolve(self, client_order_id: str, *_: Any) -> None:
        self.resolving.append(client_order_id)

    def check_later(self, client_order_id: str) -> None:
        self.later.append(client_order_id)

    def check_now(self, client_order_id: str) -> None:
        self.now.append(client_order_id)

    def check_change(self, client_order_id: str, after_s: float = 0.0) -> None:
        self.changing.append(client_order_id)


class Bench:
    def __init__(self, free: int = 4, burst: int = 100, reserve: int = 0) -> None:
        self.clock = FakeClock(TS_NS)
        self.log = EventLog()
        self.channel = ScriptedOrderChannel(free)
        self.settler = NotedQuestions()
        self.tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
        self.nonces = 0
        self.tokens = TokenPool(Key("k", PEM), "h:1", venue_now_ns=self.clock.now_ns, nonce=self.nonce)
        self.bucket = TokenBucket(1.0, burst, reserve=reserve, now_ns=TS_NS)
        self.gateway = CoinbaseGateway(
            "coinbase",
            host="h:1",
            products={BTC: "BTC-USD"},
            publish=self.log,
            clock=self.clock,
            writer=self.channel,
            tokens=self.tokens,
            tracker=self.tracker,
            settler=self.settler,  # type: ignore[arg-type]
            bucket=self.bucket,
        )

    def nonce(self) -> str:
        self.nonces += 1
        return str(self.nonces)

    def cancel(self, client: str, venue_id: str = "") -> None:
        self.gateway.cancel(CancelOrder(TS_NS, client, "coinbase", venue_id, BTC))

    def accept(self, client: str, venue_id: str) -> None:
        self.gateway.submit(new_order(client))
        self.channel.answer(200, accepted_answer(venue_id, client))
        self.log.clear()

    def end(self, client: str, venue_id: str, filled: str = "0") -> None:
        """The user stream tells that the order was cancelled."""
        self.tracker.observe(
            client_order_id=client,
            venue_order_id=venue_id,
            product_id="BTC-USD",
            status="CANCELLED",
            filled_qty=filled,
            reason="",
            ts_event_ns=TS_NS,
            ts_recv_ns=TS_NS,
        )


def cancelled_ids(request: bytes) -> list[str]:
    ids: list[str] = json.loads(request.partition(b"\r\n\r\n")[2])["order_ids"]
    return ids


def refusals(b: Bench) -> list[tuple[str, str]]:
    return [(e.client_order_id, e.reason) for e in b.log.of(CancelRejected)]
