"""Why OANDA refuses an order, in the words of ``engine.refusals``: pure.

Owns that translation.  The venue names some two hundred reasons; what a strategy or an operator does about them falls
into few kinds.  The venue's own word stays in the text of the refusal.

Source: OANDA v20 REST API, transaction definitions (developer.oanda.com/rest-live-v20/transaction-df).
"""

from __future__ import annotations

import re
from typing import Final

from engine.errors import LocalProtocolError

_EXACT: Final = {
    "INTERNAL_SERVER_ERROR": "internal",
    "INSTRUMENT_PRICE_UNKNOWN": "no_price",
    "INSTRUMENT_NOT_TRADEABLE": "trading_halted",
    "INSTRUMENT_UNKNOWN": "unknown_instrument",
    "INSTRUMENT_MISSING": "unknown_instrument",
    "ORDER_DOESNT_EXIST": "unknown_order",
    "NO_SUCH_ORDER": "unknown_order",
    "TRADE_DOESNT_EXIST": "unknown_trade",
    "NO_SUCH_TRADE": "unknown_trade",
    "NO_SUCH_POSITION": "nothing_to_close",
    "CLOSEOUT_POSITION_DOESNT_EXIST": "nothing_to_close",
    "INSUFFICIENT_MARGIN": "insufficient_funds",
    "INSUFFICIENT_FUNDS": "insufficient_funds",
    "UNITS_LIMIT_EXCEEDED": "above_maximum",
    "MARKET_HALTED": "trading_halted",
}
_RULES: Final = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"MARGIN_RATE_WOULD_TRIGGER", "insufficient_funds"),
        (r"^ACCOUNT_(NOT_ACTIVE|LOCKED|\w+_LOCKED)$", "account_locked"),
        (r"^UNITS_M\w+MUM_NOT_MET$", "below_minimum"),  # the vendor's list misspells it
        (r"_NOT_SUPPORTED$", "unsupported"),
        (r"_ALREADY_EXISTS$", "exit_exists"),
        (r"^FIFO_VIOLATION", "exit_refused"),
        (r"DUPLICATE_CLIENT_ORDER_IDS$", "duplicate_client_id"),
        (r"_ALLOWED_EXCEEDED$", "too_many_orders"),
        (r"UNITS_EXCEED_", "above_maximum"),
        (r"_GTD_TIMESTAMP_IN_PAST$", "expiry_in_past"),
        (r"_GTD_TIMESTAMP_MISSING$|TIME_IN_FORCE_", "invalid_expiry"),
        (r"GUARANTEED|_HALTED_|_NOT_CANCELABLE$|_NOT_REPLACEABLE$|STOP_LOSS_ON_FILL_REQUIRED", "exit_refused"),
        (r"_DISTANCE_MAXIMUM_EXCEEDED$", "too_far"),
        (r"_DISTANCE_MINIMUM_NOT_MET$", "too_near"),
        (r"CLIENT_(ORDER|TRADE)_(ID|TAG|COMMENT)_INVALID$", "invalid_client_id"),
        (r"UNITS_PRECISION_EXCEEDED$", "invalid_qty_precision"),
        (r"(PRICE|DISTANCE|BOUND)_PRECISION_EXCEEDED$", "invalid_px_precision"),
        (r"UNITS_(MISSING|INVALID)$", "invalid_qty"),
        (r"(PRICE|DISTANCE|BOUND)_(MISSING|INVALID)$|PRICE_AND_DISTANCE_BOTH_", "invalid_px"),
    )
)
"""The first that fits."""
_STATUSES: Final = {401: "unauthorized", 403: "permission_denied", 429: "rate_limited"}


GUARANTEE: Final = "guarantee_refused"
_OF_ANYTHING: Final = frozenset(
    {"rate_limited", "unauthorized", "permission_denied", "unknown_trade", "exit_exists", "too_many_orders", "internal"}
)
"""Refusals that say nothing of whether the venue would guarantee a stop."""


class Unfit(LocalProtocolError):  # noqa: N818 - said as users say it
    """An order that the venue would refuse, and why; it has not left."""

    def __init__(self, reason: str, seen: str, *, expected: str = "") -> None:
        super().__init__(seen, expected=expected)
        self.reason = reason


def refusal(code: str, text: str = "", status: int = 0) -> str:
    """A word for the venue's code; by its words and the HTTP status where it names none of its reasons."""
    if code in _EXACT:
        return _EXACT[code]
    if code.startswith("CLIENT_") and code.endswith("_ID_ALREADY_EXISTS"):
        return "duplicate_client_id"
    for rule, word in _RULES:
        if rule.search(code):
            return word
    if "'order.instrument'" in text or "'instrument'" in text:
        return "unknown_instrument"
    return _STATUSES.get(status, "invalid_request")


def of_guaranteed(reason: str, code: str) -> str:
    """The word for a refusal of a guaranteed stop, or of one with a target: what asks for the same without a guarantee
    is another order, unless something else was refused."""
    return reason if reason in _OF_ANYTHING or code.startswith("TAKE_PROFIT") else GUARANTEE
