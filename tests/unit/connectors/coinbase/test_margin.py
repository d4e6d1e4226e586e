"""When the stream's word on the futures account is looked at, and when its margin is said to be thin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase import margin, wire
from connectors.coinbase.margin import MarginWatch
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.user_protocol import CoinbaseUserProtocol


class Asked:
    """In place of the reconciler: what it was asked to compare."""

    def __init__(self) -> None:
        self.compared: list[tuple[Mapping[str, Decimal], Decimal | None]] = []

    def compare(self, positions: Mapping[str, Decimal], dollars: Decimal | None) -> None:
        self.compared.append((positions, dollars))


def watched() -> tuple[CoinbaseUserProtocol, Asked, MarginWatch]:
    protocol, asked = CoinbaseUserProtocol("coinbase", OrderTracker("coinbase", {}), contracts=True), Asked()
    return protocol, asked, MarginWatch("coinbase", protocol, asked)  # type: ignore[arg-type]


def summary(**fields: Any) -> wire.StreamMargin:
    return wire.StreamMargin(**fields)


async def test_what_is_told_is_compared_once_it_is_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three changes in a row are one comparison, of the last; the same again is none, and none follows the end."""
    monkeypatch.setattr(margin, "STILL_S", 0.02)
    protocol, asked, watch = watched()
    for count in (1, 2, 3):
        protocol.positions = {"BIP-20DEC30-CDE": Decimal(count)}
        watch.look()
    await asyncio.sleep(0.05)
    watch.look()
    await asyncio.sleep(0.05)
    assert asked.compared == [({"BIP-20DEC30-CDE": Decimal(3)}, None)]
    protocol.margin = summary(total_usd_balance="100.5")
    watch.look()
    watch.stop()
    await asyncio.sleep(0.05)
    assert len(asked.compared) == 1


async def test_dollars_alone_are_not_compared_before_positions_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing told of positions is not no positions."""
    monkeypatch.setattr(margin, "STILL_S", 0.01)
    protocol, asked, watch = watched()
    protocol.margin = summary(total_usd_balance="100.5")
    watch.look()
    await asyncio.sleep(0.03)
    assert asked.compared == []


async def test_a_thin_margin_is_said_when_it_becomes_so(caplog: pytest.LogCaptureFixture) -> None:
    """Once; again after it has been well; a buffer that is no number says nothing."""
    protocol, _, watch = watched()
    for dollars, percent in enumerate(("45", "19.5", "12", "x", "18", "")):
        protocol.margin = summary(total_usd_balance=str(dollars), liquidation_buffer_percentage=percent)
        watch.look()
    watch.stop()
    assert [record.args[1] for record in caplog.records] == [Decimal("19.5"), Decimal(18)]  # type: ignore[index]
