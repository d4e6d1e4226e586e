"""Answers that are not a success: the venue's texts, in ``{"error":["EOrder:Insufficient funds"]}`` with HTTP 200.

Owns their shape and the venue's words for what an order is refused for.  Source: Kraken spot API, "Error messages".
"""

from __future__ import annotations

from connectors.local.records import Refused


class ApiError(Exception):
    """One text of the venue's list."""


def invalid(name: str = "") -> ApiError:
    return ApiError(f"EGeneral:Invalid arguments:{name[:40]}" if name else "EGeneral:Invalid arguments")


_REFUSALS = {
    "tick_px": "EOrder:Tick size check failed",
    "bad_px": "EOrder:Invalid price",
    "lot_qty": "EGeneral:Invalid arguments:volume",
    "bad_qty": "EGeneral:Invalid arguments:volume",
    "min_qty": "EOrder:Order minimum not met",
    "max_qty": "EGeneral:Invalid arguments:volume",
    "min_notional": "EOrder:Cost minimum not met",
    "too_many": "EOrder:Orders limit exceeded",
    "halted": "EService:Market in cancel_only mode",
    "funds": "EOrder:Insufficient funds",
    "post_only": "EOrder:Post only order",
    "stop_side": "EOrder:Invalid price",
    "expired": "EGeneral:Invalid arguments:expiretm",
}


def refusal(why: Refused) -> ApiError:
    """The venue's word for what the exchange refused."""
    return ApiError(_REFUSALS.get(why.reason, "EOrder:Invalid order"))


def unknown_order() -> ApiError:
    return ApiError("EOrder:Unknown order")
