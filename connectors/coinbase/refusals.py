"""Why Coinbase refuses an order, in the words of ``engine.refusals``: pure.

Owns that translation.  The set of the venue's names is open: one never seen before stays as it is for whoever has to
know whether it proves a refusal at all (``orders``), and is told as ``refused``.
"""

from __future__ import annotations

from typing import Final

from connectors.coinbase import wire
from engine.refusals import REFUSED, worded

_REASONS: Final = (
    ("INSUFFICIENT_FUND", "insufficient_funds"),
    ("INVALID_LIMIT_PRICE_POST_ONLY", "post_only_would_cross"),
    ("INVALID_SIZE_PRECISION", "invalid_qty_precision"),
    ("INVALID_PRICE_PRECISION", "invalid_px_precision"),
    ("INVALID_BASE_SIZE_TOO_SMALL", "below_minimum"),
    ("INVALID_QUOTE_SIZE_TOO_SMALL", "below_minimum"),
    ("INVALID_BASE_SIZE_TOO_LARGE", "above_maximum"),
    ("INVALID_QUOTE_SIZE_TOO_LARGE", "above_maximum"),
    ("INVALID_PRODUCT_ID", "unknown_instrument"),
    ("INVALID_NO_LIQUIDITY", "no_liquidity"),
    ("TRADING_DISABLED", "trading_halted"),
    ("PRODUCT_TRADING_HALTED", "trading_halted"),
    ("ORDER_ENTRY_DISABLED", "trading_halted"),
    ("UNTRADABLE_PRODUCT", "trading_halted"),
    ("INELIGIBLE_PAIR", "trading_halted"),
    ("INVALID_FCM_TRADING_SESSION", "trading_halted"),
    ("INVALID_LEDGER_BALANCE", "insufficient_funds"),
    ("IN_LIQUIDATION", "account_locked"),
    ("INVALID_LIMIT_PRICE", "invalid_px"),
    ("LIMIT_PRICE_TOO_FAR_FROM_MARKET", "too_far"),
    ("BRACKET_LIMIT_PRICE_OUT_OF_BOUNDS", "too_far"),
    ("STOP_TRIGGER_PRICE_OUT_OF_BOUNDS", "too_far"),
    ("INVALID_BRACKET", "invalid_px"),
    ("STOP_PRICE_", "invalid_px"),
    ("MISSING_MARKET_TRADE_DATA", "no_price"),
    ("END_TIME_IS_IN_THE_PAST", "expiry_in_past"),
    ("GTD_ORDERS_MUST_HAVE_END_TIME", "invalid_expiry"),
    ("UNSUPPORTED_ORDER_CONFIGURATION", "unsupported"),
    ("INVALID_ORDER_CONFIG", "unsupported"),
    ("BRACKET_ORDER_NOT_SUPPORTED", "unsupported"),
    ("REDUCE_ONLY_NOT_ALLOWED", "unsupported"),
    ("FOK_DISABLED", "unsupported"),
    ("PERMISSION_DENIED", "permission_denied"),
    ("INVALID_SIDE", "invalid_request"),
    ("INVALID_REQUEST", "invalid_request"),
    ("INVALID_ARGUMENT", "invalid_request"),
)
"""Prefixes, because the venue writes INSUFFICIENT_FUND and INSUFFICIENT_FUNDS; a longer one stands before a shorter."""
_STATUSES: Final = {400: "invalid_request", 403: "permission_denied", 404: "invalid_request", 422: "invalid_request"}


def refusal_reason(error: wire.OrderError) -> str:
    """One name for a refusal: ours where the meaning is known, else the venue's own in lower case.

    The set of names is open: one never seen before passes through.
    """
    for name in (error.error, error.new_order_failure_reason, error.preview_failure_reason):
        bare = name.removeprefix("PREVIEW_")
        if not bare or bare.startswith("UNKNOWN_"):
            continue
        for prefix, reason in _REASONS:
            if bare.startswith(prefix):
                return reason
        return bare.lower()[:80]
    return "unknown_reason"


def told(reason: str, text: str = "", status: int = 200) -> tuple[str, str]:
    """``(word, text)`` of a refusal that ``refusal_reason`` has named, or that has nothing but a status."""
    return worded(_STATUSES.get(status, reason) if reason.startswith("http_") else reason, text)


def told_end(said: str) -> tuple[str, str]:
    """``(word, text)`` of an order that the venue shows as failed, by what it says of it: a name, or a sentence."""
    if not said:
        return worded(REFUSED, "the venue shows the order as failed")
    return worded(refusal_reason(wire.OrderError(error=said)), said)
