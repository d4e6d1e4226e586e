"""Rate limits as the venue applies them: weight, orders and connections in a window, a ban for who does not stop.

Owns the counters and the headers that tell them.  Time is given by the caller; state is bounded.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from connectors.binance.sandbox.errors import ApiError
from connectors.binance.sandbox.settings import RateLimits

_MINUTE_MS = 60_000
_ORDERS_MS = 10_000
_DIALS_MS = 300_000
_MOST_CALLERS = 1_024


class _Caller(msgspec.Struct):
    minute: int = 0
    weight: int = 0
    over: int = 0
    dial_window: int = 0
    dials: int = 0
    decade: int = 0
    orders: int = 0
    banned_until_ms: int = 0


class Limits:
    """By address.  ``limits`` None counts, and refuses nothing."""

    def __init__(self, limits: RateLimits | None) -> None:
        self.limits = limits
        self._callers: OrderedDict[str, _Caller] = OrderedDict()

    def take(self, address: str, weight: int, now_ms: int) -> None:
        """Raises ``ApiError`` 429, and 418 while banned."""
        caller = self._caller(address, now_ms)
        limits = self.limits
        if limits is not None and now_ms < caller.banned_until_ms:
            raise _banned(caller, now_ms)
        if limits is None or caller.weight + weight <= limits.weight_per_min:
            caller.weight += weight
            return
        caller.over += 1
        if caller.over > limits.ban_after:
            caller.banned_until_ms = now_ms + limits.ban_s * 1_000
            raise _banned(caller, now_ms)
        text = (
            f"Too much request weight used; current limit is {limits.weight_per_min} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
        wait_s = (_MINUTE_MS - now_ms % _MINUTE_MS) // 1_000 + 1
        raise ApiError(-1003, text, 429, headers={"Retry-After": str(wait_s)})

    def take_order(self, address: str, now_ms: int) -> None:
        """Raises ``ApiError`` 429."""
        caller, limits = self._caller(address, now_ms), self.limits
        if limits is not None and caller.orders >= limits.orders_per_10s:
            text = f"Too many new orders; current limit is {limits.orders_per_10s} orders per 10 SECOND."
            wait_s = (_ORDERS_MS - now_ms % _ORDERS_MS) // 1_000 + 1
            raise ApiError(-1015, text, 429, headers={"Retry-After": str(wait_s)})
        caller.orders += 1

    def take_dial(self, address: str, now_ms: int) -> None:
        """A WebSocket connection more.  Raises ``ApiError`` 429."""
        caller, limits = self._caller(address, now_ms), self.limits
        if caller.dial_window != now_ms // _DIALS_MS:
            caller.dial_window, caller.dials = now_ms // _DIALS_MS, 0
        if limits is not None and caller.dials >= limits.ws_dials_per_5min:
            wait_s = (_DIALS_MS - now_ms % _DIALS_MS) // 1_000 + 1
            raise ApiError(-1003, "Too many connections.", 429, headers={"Retry-After": str(wait_s)})
        caller.dials += 1

    def used(self, address: str, now_ms: int) -> tuple[int, int]:
        """``(weight of this minute, orders of these ten seconds)``."""
        caller = self._caller(address, now_ms)
        return caller.weight, caller.orders

    def _caller(self, address: str, now_ms: int) -> _Caller:
        caller = self._callers.pop(address, None) or _Caller()
        self._callers[address] = caller
        if len(self._callers) > _MOST_CALLERS:
            self._callers.popitem(last=False)
        if caller.minute != now_ms // _MINUTE_MS:
            caller.minute, caller.weight, caller.over = now_ms // _MINUTE_MS, 0, 0
        if caller.decade != now_ms // _ORDERS_MS:
            caller.decade, caller.orders = now_ms // _ORDERS_MS, 0
        return caller


def _banned(caller: _Caller, now_ms: int) -> ApiError:
    text = (
        f"Way too much request weight used; IP banned until {caller.banned_until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    wait_s = (caller.banned_until_ms - now_ms) // 1_000 + 1
    return ApiError(-1003, text, 418, headers={"Retry-After": str(wait_s)})
