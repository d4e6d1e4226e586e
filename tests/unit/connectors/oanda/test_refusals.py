"""The venue's reasons in our words."""

from __future__ import annotations

import pytest

from connectors.oanda.refusals import _EXACT, refusal
from engine.refusals import WORDS


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("INSUFFICIENT_MARGIN", "insufficient_funds"),
        ("MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT", "insufficient_funds"),
        ("INSTRUMENT_NOT_TRADEABLE", "trading_halted"),
        ("INSTRUMENT_UNKNOWN", "unknown_instrument"),
        ("INSTRUMENT_PRICE_UNKNOWN", "no_price"),
        ("UNITS_MIMIMUM_NOT_MET", "below_minimum"),
        ("UNITS_MINIMUM_NOT_MET", "below_minimum"),
        ("UNITS_LIMIT_EXCEEDED", "above_maximum"),
        ("CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE", "above_maximum"),
        ("UNITS_PRECISION_EXCEEDED", "invalid_qty_precision"),
        ("PRICE_PRECISION_EXCEEDED", "invalid_px_precision"),
        ("PRICE_BOUND_PRECISION_EXCEEDED", "invalid_px_precision"),
        ("STOP_LOSS_ON_FILL_DISTANCE_PRECISION_EXCEEDED", "invalid_px_precision"),
        ("UNITS_INVALID", "invalid_qty"),
        ("TAKE_PROFIT_ON_FILL_PRICE_MISSING", "invalid_px"),
        ("STOP_LOSS_ORDER_PRICE_AND_DISTANCE_BOTH_MISSING", "invalid_px"),
        ("PRICE_DISTANCE_MAXIMUM_EXCEEDED", "too_far"),
        ("PRICE_DISTANCE_MINIMUM_NOT_MET", "too_near"),
        ("TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST", "expiry_in_past"),
        ("TIME_IN_FORCE_GTD_TIMESTAMP_MISSING", "invalid_expiry"),
        ("TIME_IN_FORCE_INVALID", "invalid_expiry"),
        ("CLIENT_ORDER_ID_INVALID", "invalid_client_id"),
        ("CLIENT_ORDER_ID_ALREADY_EXISTS", "duplicate_client_id"),
        ("CLIENT_TRADE_ID_ALREADY_EXISTS", "duplicate_client_id"),
        ("ORDERS_ON_FILL_DUPLICATE_CLIENT_ORDER_IDS", "duplicate_client_id"),
        ("STOP_LOSS_ORDER_ALREADY_EXISTS", "exit_exists"),
        ("FIFO_VIOLATION", "exit_refused"),
        ("STOP_LOSS_ORDER_GUARANTEED_REQUIRED", "exit_refused"),
        ("STOP_LOSS_ON_FILL_GUARANTEED_MINIMUM_DISTANCE_NOT_MET", "exit_refused"),
        ("PENDING_ORDERS_ALLOWED_EXCEEDED", "too_many_orders"),
        ("ACCOUNT_ORDER_CREATION_LOCKED", "account_locked"),
        ("ACCOUNT_NOT_ACTIVE", "account_locked"),
        ("TRADE_DOESNT_EXIST", "unknown_trade"),
        ("ORDER_DOESNT_EXIST", "unknown_order"),
        ("CLOSEOUT_POSITION_DOESNT_EXIST", "nothing_to_close"),
        ("TRAILING_STOP_LOSS_ORDERS_NOT_SUPPORTED", "unsupported"),
        ("TRADE_ON_FILL_CLIENT_EXTENSIONS_NOT_SUPPORTED", "unsupported"),
        ("INTERNAL_SERVER_ERROR", "internal"),
        ("REPLACING_ORDER_INVALID", "invalid_request"),
        ("", "invalid_request"),
    ],
)
def test_each_kind_of_reason_has_a_word(code: str, word: str) -> None:
    """One of each family of the vendor's list, and those that a shorter rule would take wrongly."""
    assert refusal(code) == word
    assert word in WORDS


def test_where_no_reason_is_named_words_and_status_decide() -> None:
    """An instrument that the parser did not know, a token, too many requests."""
    code = "oanda::rest::core::InvalidParameterException"
    assert refusal(code, "Invalid value specified for 'order.instrument'", 400) == "unknown_instrument"
    assert refusal(code, "Invalid value specified for 'order.units'", 400) == "invalid_request"
    assert refusal("", "Insufficient authorization to perform request.", 401) == "unauthorized"
    assert refusal("", "", 403) == "permission_denied"
    assert refusal("", "", 429) == "rate_limited"
    assert set(_EXACT.values()) <= set(WORDS)
