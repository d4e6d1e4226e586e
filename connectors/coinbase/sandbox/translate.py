"""Between the venue's orders and the matching engine's: conversion, reasons, states.

Owns the tables of both vocabularies.  Pure functions.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from connectors.coinbase.sandbox.records import ZERO, Market, OrderRecord, OrderSpec
from connectors.coinbase.sandbox.requests import UNKNOWN_PREVIEW, OrderRefused
from connectors.matching.orders import BookOrder, CloseReason, RefuseReason
from engine.commands import OrderType, TimeInForce
from engine.events import Side

_BUDGET_STEP = Decimal("1E-8")

ACCOUNT = "portfolio"
"""The one account of the matching engine that belongs to API keys."""

TIME_IN_FORCE = {
    "GOOD_UNTIL_CANCELLED": TimeInForce.GTC,
    "GOOD_UNTIL_DATE_TIME": TimeInForce.GTD,
    "IMMEDIATE_OR_CANCEL": TimeInForce.IOC,
    "FILL_OR_KILL": TimeInForce.FOK,
}
CLOSED = {
    CloseReason.FILLED: ("FILLED", ""),
    CloseReason.CANCELLED: ("CANCELLED", "User requested cancel"),
    CloseReason.EXPIRED: ("EXPIRED", "Order expired"),
    CloseReason.IOC: ("CANCELLED", "Immediate-or-cancel remainder"),
    CloseReason.FOK: ("CANCELLED", "Fill-or-kill could not be filled whole"),
    CloseReason.STP: ("CANCELLED", "Self trade prevented"),
    CloseReason.NO_LIQUIDITY: ("CANCELLED", "No liquidity"),
    CloseReason.REDUCED: ("CANCELLED", "User requested cancel"),
}
"""Order status and cancel message for each way to leave the book."""


def budget(spec: OrderSpec, taker_fee_rate: Decimal) -> Decimal | None:
    """Quote units that a market order sized in quote currency may trade: a buyer's fee comes out of its size."""
    if spec.quote_size is None:
        return None
    if spec.side is Side.SELL:
        return spec.quote_size
    # Rounded down, so that budget and fee together never ask for more than the size.
    return (spec.quote_size / (1 + taker_fee_rate)).quantize(_BUDGET_STEP, ROUND_FLOOR)


def base_size(spec: OrderSpec, market: Market, taker_fee_rate: Decimal) -> Decimal:
    """Base units of an order with a limit price; one sized in quote currency buys whole lots at its limit."""
    if spec.base_size is not None:
        return spec.base_size
    assert spec.quote_size is not None
    assert spec.limit_px is not None
    lot = market.instrument.lot_qty
    fee = 1 + taker_fee_rate if spec.side is Side.BUY else Decimal(1)
    return spec.quote_size / (spec.limit_px * fee) // lot * lot


def book_order(record: OrderRecord, market: Market, taker_fee_rate: Decimal) -> BookOrder:
    """What is left of it; a stop-limit that has fired is a limit order."""
    spec = record.spec
    by_quote = spec.kind is OrderType.MARKET and spec.quote_size is not None
    fired = record.trigger_status == "STOP_TRIGGERED"
    return BookOrder(
        order_id=record.order_id,
        account=ACCOUNT,
        side=spec.side,
        order_type=OrderType.LIMIT if fired else spec.kind,
        qty=ZERO if by_quote else base_size(spec, market, taker_fee_rate) - record.filled_qty,
        limit_px=spec.limit_px,
        time_in_force=TIME_IN_FORCE[spec.time_in_force],
        post_only=spec.post_only,
        quote_qty=budget(spec, taker_fee_rate) if by_quote else None,
        trigger_px=None if fired else spec.stop_px,
        stop_up=None if fired else spec.stop_up,
        expire_ns=spec.expire_ns,
    )


def book_refusal(reason: RefuseReason) -> OrderRefused:
    if reason is RefuseReason.POST_ONLY_WOULD_CROSS:
        text = "a post-only order may not take liquidity"
        return OrderRefused("INVALID_LIMIT_PRICE_POST_ONLY", "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY", text)
    if reason is RefuseReason.BAD_EXPIRY:
        return OrderRefused("END_TIME_IS_IN_THE_PAST", UNKNOWN_PREVIEW, "end_time is in the past")
    text = f"the book refused the order: {reason.value}"
    return OrderRefused("COMMANDER_REJECTED_NEW_ORDER", UNKNOWN_PREVIEW, text)
