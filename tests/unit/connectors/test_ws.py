"""The transport contract over connectors.ws, and when a peer is pinged."""

from __future__ import annotations

import asyncio
from typing import Any

from connectors.ws import Keepalive, WsOptions, connect
from tests.support.ws_contract import TransportContract


class TestContract(TransportContract):
    connect = staticmethod(connect)


class _Clockwork(asyncio.SelectorEventLoop):
    """Time that the test moves; of timers it keeps the one that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.due: tuple[float, Any] = (0.0, None)

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay: float, callback: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        self.due = (self.now_s + delay, callback)


def test_a_peer_that_talks_is_not_pinged_and_one_that_is_silent_is_given_up() -> None:
    """Data every 2 s for a minute: no ping; then nothing: one each 5 s, and dead after 15."""
    loop = _Clockwork()
    seen: list[tuple[str, float]] = []
    options = WsOptions(ping_interval_s=5.0, silence_timeout_s=15.0)
    keepalive = Keepalive(
        loop, options, lambda: seen.append(("ping", loop.now_s)), lambda _why: seen.append(("dead", loop.now_s))
    )
    last_s = 100.0
    while not seen or seen[-1][0] != "dead":
        loop.now_s, fire = loop.due
        if loop.now_s <= 160.0:
            last_s = keepalive.last_s = loop.now_s - loop.now_s % 2.0
        fire()
    loop.close()
    assert [(what, at_s - last_s) for what, at_s in seen] == [("ping", 5.0), ("ping", 10.0), ("dead", 15.0)]
