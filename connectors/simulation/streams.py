"""What goes wrong with the venue's streams: with their messages, and with asking for them.

Owns what is done to a message after it was numbered, and to a subscription.  Which fault happens is drawn by
``faults``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from connectors.coinbase.sandbox import messages, wire
from connectors.coinbase.sandbox.auth import Verifier
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.sandbox.stream import Connection, Hub
from connectors.simulation.faults import STREAM, SUBSCRIPTION, Faults
from connectors.simulation.requests import KEY_EXPIRED

BAD_NUMBERS = ("NaN", "Infinity", "0", "-1", "1e999", "", "x")
JUMPS = ("2", "0.5", "10")
LATE_MOST_S = 3.0
_BID = re.compile(r'"best_bid":"([^"]*)"')
_ASK = re.compile(r'"best_ask":"([^"]*)"')
_PRICE = re.compile(r'"(price|best_bid|best_ask)":"([0-9.]+)"')


class MeddlingHub(Hub):
    """Streams on which messages get lost, doubled, swapped, garbled and wrong."""

    def __init__(
        self,
        settings: SandboxSettings,
        exchange: Exchange,
        verifier: Verifier,
        now_ns: Callable[[], int],
        faults: Faults,
        disturb: Callable[[], None],
    ) -> None:
        """``disturb()``: what happens now makes the account another one than the daemon can know it to be."""
        super().__init__(settings, exchange, verifier, now_ns)
        self._faults = faults
        self._disturb = disturb
        self._behind: dict[Connection, str] = {}
        self.user_sent_s = 0.0
        """When anything was sent on the account's stream last, loop time."""

    def receive(self, connection: Connection, text: str) -> None:
        faults = self._faults
        if faults.holds(KEY_EXPIRED) and connection.user_host:
            self._send(connection, messages.error("authentication failure"))
            return
        name = faults.draw(SUBSCRIPTION)
        if name:
            faults.note(name)
        if name == "subscribe_refused":
            self._send(connection, messages.error("rate limit exceeded"))
        elif name != "subscribe_unconfirmed":
            super().receive(connection, text)

    def _deliver(self, listeners: list[Connection], channel: str, events: list[wire.Json]) -> None:
        """The end of an order may be told with nothing of what it has filled, and the rest a moment later."""
        early = _early(events) if channel == "user" else None
        name = self._faults.draw(STREAM, "user_end_") if early else ""
        if not name or early is None:
            super()._deliver(listeners, channel, events)
            return
        self._faults.note(name)
        self._disturb()
        super()._deliver(listeners, channel, early)
        asyncio.get_running_loop().call_later(
            self._faults.rng.uniform(0.05, LATE_MOST_S), super()._deliver, listeners, channel, events
        )

    def _send(self, connection: Connection, text: str) -> None:
        faults = self._faults
        stream = "user" if connection.user_host else "market"
        if faults.holds(f"mute {stream}"):
            return
        held = self._behind.pop(connection, None)
        name = faults.draw(STREAM, f"{stream}_message") if held is None else ""
        changed = self._change(name, text)
        if name and (changed is not None or name.endswith(("_lost", "_swapped", "_twice"))):
            faults.note(name)
        if name.endswith("_lost"):
            return
        if name.endswith("_swapped"):
            self._behind[connection] = text
            return
        super()._send(connection, text if changed is None else changed)
        if connection.user_host:
            self.user_sent_s = asyncio.get_running_loop().time()
        if name.endswith("_twice"):
            super()._send(connection, text)
        if held is not None:
            super()._send(connection, held)

    def _change(self, name: str, text: str) -> str | None:
        """The message with other words in it; None where it has none that could be changed."""
        rng: Any = self._faults.rng
        if name.endswith("_garbled"):
            return text[: rng.randrange(len(text))]
        if name.endswith("_surprising"):
            return _surprising(text)
        if name.endswith("_bad_number"):
            number = rng.choice(BAD_NUMBERS)
            return _other(text, _PRICE.sub(lambda found: f'"{found[1]}":"{number}"', text, count=1))
        if name.endswith("_jumped"):
            factor = float(rng.choice(JUMPS))
            return _other(text, _PRICE.sub(lambda found: f'"{found[1]}":"{float(found[2]) * factor:.2f}"', text))
        if name.endswith("_crossed"):
            bid, ask = _BID.search(text), _ASK.search(text)
            if bid is not None and ask is not None:
                return _ASK.sub(f'"best_ask":"{bid[1]}"', _BID.sub(f'"best_bid":"{ask[1]}"', text))
        return None


def _early(events: list[wire.Json]) -> list[wire.Json] | None:
    """Without what an order that was cancelled has filled; None where there is none."""
    order = events[0]["orders"][0] if events[0]["orders"] else {}
    if order.get("status") not in ("CANCELLED", "EXPIRED") or order["cumulative_quantity"] == "0":
        return None
    nothing = {"cumulative_quantity": "0", "filled_value": "0", "total_fees": "0", "number_of_fills": "0"}
    return [{**events[0], "orders": [{**order, **nothing}]}]


def _other(text: str, changed: str) -> str | None:
    return None if changed == text else changed


def _surprising(text: str) -> str:
    """With a word that nobody knows."""
    for known in ('"OPEN"', '"FILLED"', '"CANCELLED"', '"update"', '"user"'):
        if known in text:
            return text.replace(known, '"SURPRISING"', 1)
    return text.replace('"', "'", 1)
