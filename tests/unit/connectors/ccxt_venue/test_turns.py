"""Whose request is next, and that a turn is never lost."""

from __future__ import annotations

import asyncio

from connectors.ccxt_venue.turns import Lane, Turns


async def test_cancels_go_before_orders_and_orders_before_questions() -> None:
    """Each lane in the order of arrival."""
    turns, done = Turns(), []

    async def one(name: str, lane: Lane) -> None:
        await turns.take(lane)
        done.append(name)
        turns.give_on()

    await turns.take(Lane.QUESTION)
    waiting = [
        ("q1", Lane.QUESTION),
        ("o1", Lane.ORDER),
        ("q2", Lane.QUESTION),
        ("c1", Lane.CANCEL),
        ("o2", Lane.ORDER),
    ]
    tasks = [asyncio.create_task(one(*each)) for each in waiting]
    await asyncio.sleep(0)
    turns.give_on()
    await asyncio.gather(*tasks)
    assert done == ["c1", "o1", "o2", "q1", "q2"]


async def test_who_leaves_the_queue_takes_no_turn_along() -> None:
    """Cancelled while it waits, and in the moment in which the turn was given to it."""
    turns = Turns()
    await turns.take(Lane.QUESTION)
    leaving = asyncio.create_task(turns.take(Lane.ORDER))
    given = asyncio.create_task(turns.take(Lane.ORDER))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    turns.give_on()
    given.cancel()
    await asyncio.gather(leaving, given, return_exceptions=True)
    assert given.cancelled()
    async with asyncio.timeout(1):
        await turns.take(Lane.QUESTION)
