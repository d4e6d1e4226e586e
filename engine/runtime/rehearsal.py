"""A start up to its first order: none leaves before the account is confirmed, nor after it where only that is wanted.

Owns the wait for the venue's word on the account, without which no live session trades, and the router that keeps
orders back until then.  How a session starts and ends is ``engine.runtime.supervisor``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from engine.commands import CancelOrder, Command, NewOrder
from engine.core import TradingCore
from engine.errors import KestrelError
from engine.ports import Publish, Router
from engine.router import refusal_of
from engine.runtime.requests import unsettled

WITHHELD: Final = "account_unconfirmed"
"""Reason of what is refused meanwhile, and in a session that only checks until its end."""
_LOOK_S: Final = 0.05


async def confirmed(core: TradingCore, venue: str, stopping: asyncio.Event, limit_s: float) -> None:
    """Returns when ``venue`` has confirmed the account and nothing about it is in doubt.

    Raises ``KestrelError`` after ``limit_s``, or when the session is stopped meanwhile: it does not trade then.
    """
    deadline_s = asyncio.get_running_loop().time() + limit_s
    while why := _doubt(core, venue):
        if stopping.is_set():
            raise KestrelError(f"stopped before the account was confirmed: {why}")
        if asyncio.get_running_loop().time() > deadline_s:
            raise KestrelError(
                f"the account is not confirmed after {limit_s:g} s: {why}",
                expected="an account that its venue has confirmed whole, with no order of unknown outcome",
                do="compare orders and balances with the venue's own page, then start again",
            )
        await asyncio.sleep(_LOOK_S)


def _doubt(core: TradingCore, venue: str) -> str:
    if venue not in core.reconciliation.settled_ns:
        return f"{venue} has not confirmed it since the start"
    return unsettled(core)


class Withheld:
    """A router in front of another that lets no order out before ``is_open`` says so, but for one that can only reduce
    a position: a stop does not wait for an unknown order to be found.  ``for_good``: nothing ever, nor a cancel.

    What it keeps is refused as an event: no gateway is asked, and a replay sees the same."""

    def __init__(self, router: Router, publish: Publish, is_open: Callable[[], bool], *, for_good: bool) -> None:
        self._router = router
        self._publish = publish
        self._is_open = is_open
        self._for_good = for_good

    def send(self, command: Command) -> None:
        adds = not (command.intent.reduce_only if isinstance(command, NewOrder) else type(command) is CancelOrder)
        if not self._for_good and (not adds or self._is_open()):
            self._router.send(command)
            return
        self._publish(refusal_of(command, WITHHELD))
