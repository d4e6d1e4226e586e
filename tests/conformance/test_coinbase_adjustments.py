"""Executions that the sandbox adjusts after the fact, through the connector: what is told is what the account holds."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.events import AccountSettled, FillCorrected, OrderFilled
from tests.support.coinbase_account import D, Hand, One, session, still_exchange
from tests.support.waiting import until


def adjust(hand: Hand, told: OrderFilled, kind: str, **fields: Any) -> None:
    given: dict[str, Any] = {"px": told.px, "qty": told.qty, "alone": False, **fields}
    hand.exchange.executions.adjust(told.trade_id, kind, time.time_ns(), **given)
    hand.sandbox.hub.pump()


def spent(one: One) -> Decimal:
    """What all that was told has cost in dollars, fees included."""
    total = D(0)
    for event in one.log:
        if isinstance(event, OrderFilled):
            total += event.side * event.qty * event.px + event.fee
        elif isinstance(event, FillCorrected):
            total += event.side * (event.new_qty * event.new_px - event.qty * event.px) + event.new_fee - event.fee
    return total


async def confirmed(one: One) -> AccountSettled:
    before = len(one.settled())
    one.venue.confirm()
    await until(lambda: len(one.settled()) > before)
    return one.settled()[-1]


@pytest.mark.fault("B10")
async def test_adjusted_executions_are_told_and_add_up(tmp_path: Path) -> None:
    """One is taken back, one set right by two entries and one by a single one: the next confirmation finds them, tells
    what they mean before the balances, and those are explained by it to the last digit."""
    adjusted: dict[str, tuple[str, dict[str, Any]]] = {
        "reversed": ("REVERSAL", {}),
        "by two": ("CORRECTION", {"px": D(90)}),
        "by one": ("CORRECTION", {"px": D(80), "alone": True}),
    }
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        start = hand.totals()["USD"]
        for client, (kind, fields) in adjusted.items():
            one.submit(client, qty=D("0.01"), limit_px=hand.best()[0] + D("0.05"))
            await one.accepted(client)
            hand.fill(client, "0.01")
            await until(lambda client=client: OrderFilled in one.kinds(client))
            adjust(hand, one.of(client)[-1], kind, **fields)
        await confirmed(one)
        settled = await confirmed(one)
        assert dict(settled.balances)["USD"] == hand.totals()["USD"] == start - spent(one)
        corrections = {event.client_order_id: event.new_px for event in one.log.of(FillCorrected) if event.new_qty}
        assert corrections == {"by one": D(80)}
        assert sorted(event.client_order_id for event in one.log.of(FillCorrected)) == sorted(adjusted)
        assert [event.px for event in one.of("by two") if type(event) is OrderFilled][1:] == [D(90)]
