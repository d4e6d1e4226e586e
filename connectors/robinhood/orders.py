"""Orders as bodies for the venue, and its answers as verdicts: pure.

Owns which kinds the venue takes, how a command becomes bytes, and what an answer to it proves.  Does not send.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.robinhood import wire
from connectors.robinhood.names import venue_name
from connectors.robinhood.offer import OFFER
from connectors.verdicts import Verdict
from engine.commands import NewOrder, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from engine.instruments import Instrument
from engine.refusals import REFUSED, worded


class Answer(msgspec.Struct, frozen=True):
    """``order`` is set for ACCEPTED, ``reason`` (and the venue's ``text``, and the field it names) otherwise."""

    verdict: Verdict
    order: wire.Order | None = None
    reason: str = ""
    text: str = ""
    attr: str = ""


_KINDS: Final = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP: "stop_loss",
    OrderType.STOP_LIMIT: "stop_limit",
}
_UNKNOWN_STATUSES: Final = frozenset({408, 409, 425})
_BY_STATUS: Final = {401: "unauthorized", 403: "permission_denied", 404: "not_found", 429: "rate_limited"}
_BY_WORD: Final = (
    ("buying power", "insufficient_funds"),
    ("insufficient", "insufficient_funds"),
    ("not enough", "insufficient_funds"),
    ("only sell", "sell_only"),
    ("not tradable", "trading_halted"),
    ("untradable", "trading_halted"),
    ("too small", "below_minimum"),
    ("at least", "below_minimum"),
    ("minimum", "below_minimum"),
    ("at most", "above_maximum"),
    ("maximum", "above_maximum"),
)
_BY_FIELD: Final = (
    ("time_in_force", "unsupported"),
    ("limit_price", "invalid_px"),
    ("stop_price", "invalid_px"),
    ("asset_quantity", "invalid_qty"),
    ("quote_amount", "invalid_qty"),
    ("symbol", "unknown_instrument"),
)


def encode_order(order: NewOrder, symbol: str, *, with_time_in_force: bool = True) -> bytes:
    """The JSON body of an order.

    ``reduce_only`` is not sent: what is held there is owned, and a sell cannot exceed it.  Raises
    ``LocalProtocolError`` for what the venue does not offer: nothing is taken for the nearest kind.
    """
    intent = order.intent
    kind = _KINDS.get(intent.order_type)
    waits = (OrderType.STOP, TimeInForce.GTC)
    if kind is None or not (
        OFFER.takes(intent.order_type, intent.time_in_force) or (intent.order_type, intent.time_in_force) == waits
    ):
        raise _unsupported(f"{intent.order_type} with {intent.time_in_force}")
    if intent.post_only or intent.trailing_px is not None:
        raise _unsupported("post-only" if intent.post_only else "a trailing stop")
    if intent.side is not Side.BUY and intent.side is not Side.SELL:
        raise LocalProtocolError(f"order side {intent.side!r}", expected="Side.BUY or Side.SELL")
    config = {"asset_quantity": _positive(intent.qty, "quantity")}
    if intent.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        config["limit_price"] = _positive(intent.limit_px, "limit price")
    if intent.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
        config["stop_price"] = _positive(intent.trigger_px, "trigger price")
    if kind != "market" and with_time_in_force:
        config["time_in_force"] = "gtc"
    body: dict[str, Any] = {
        "client_order_id": venue_name(order.client_order_id),
        "side": "buy" if intent.side is Side.BUY else "sell",
        "type": kind,
        "symbol": symbol,
        f"{kind}_order_config": config,
    }
    return wire.encode_json(body)


def rule_broken(order: NewOrder, instrument: Instrument) -> tuple[str, str] | None:
    """``(reason, words)`` of the first rule of its pair that an order breaks; the venue would refuse it as well."""
    intent = order.intent
    if intent.qty <= 0:
        return "invalid_qty", f"quantity {intent.qty}; expected more than 0"
    if intent.qty % instrument.lot_qty:
        return "invalid_qty_precision", f"quantity {intent.qty}; expected a multiple of {instrument.lot_qty}"
    for what, px in (("limit price", intent.limit_px), ("trigger price", intent.trigger_px)):
        if px is not None and px % instrument.tick_px:
            return "invalid_px_precision", f"{what} {px}; expected a multiple of {instrument.tick_px}"
    if intent.qty < instrument.min_qty:
        return "below_minimum", f"quantity {intent.qty}; expected at least {instrument.min_qty}"
    if intent.qty > instrument.max_qty:
        return "above_maximum", f"quantity {intent.qty}; expected at most {instrument.max_qty}"
    px = intent.limit_px if intent.limit_px is not None else intent.trigger_px
    if px is not None and instrument.notional(intent.qty, px) < instrument.min_notional:
        return "below_minimum", f"worth {intent.qty * px}; expected at least {instrument.min_notional}"
    return None


def _positive(value: Decimal | None, what: str) -> str:
    if not isinstance(value, Decimal) or not value.is_finite() or value <= 0:
        raise LocalProtocolError(f"{what} {value}", expected="more than 0")
    return wire.plain(value)


def _unsupported(what: str) -> LocalProtocolError:
    return LocalProtocolError(f"{what} on Robinhood", expected="market, limit, stop or stop-limit, good till cancelled")


def read_answer(status: int, body: bytes) -> Answer:
    """What the answer to an order proves.

    A refusal that names ``client_order_id`` says that an order of this id may exist: nothing is assumed, it is looked
    for.  So it is with every answer that is not the venue's own word.
    """
    if 200 <= status < 300:
        try:
            return Answer(Verdict.ACCEPTED, wire.decode(body, wire.Order))
        except wire.UNREADABLE:
            return Answer(Verdict.UNKNOWN, reason="unreadable_answer")
    if not 400 <= status < 500 or status in _UNKNOWN_STATUSES:
        return Answer(Verdict.UNKNOWN, reason=f"http_{status}")
    reason, text, attr = refusal(status, body)
    if attr.endswith("client_order_id"):
        return Answer(Verdict.UNKNOWN, reason="duplicate_client_id", text=text, attr=attr)
    word, said = worded(reason, text)
    return Answer(Verdict.REJECTED, reason=word, text=said, attr=attr)


def refusal(status: int, body: bytes) -> tuple[str, str, str]:
    """``(reason, the venue's words, the field)`` of a refusal.

    Of an order or of a cancel.  The venue has no codes: the reason is read from the status, from what its words speak
    of, then from the field.
    """
    attr, text = "", " ".join(body[:300].decode("utf-8", "replace").split())
    try:
        errors = wire.decode(body, wire.Errors).errors
    except wire.UNREADABLE:
        errors = []
    if errors:
        attr, text = errors[0].attr or "", " ".join(errors[0].detail.split())[:300]
    if status in _BY_STATUS:
        return _BY_STATUS[status], text, attr
    if status != 400:
        return f"http_{status}", text, attr
    words = text.lower()
    for word, reason in _BY_WORD:
        if word in words:
            return reason, text, attr
    for field, reason in _BY_FIELD:
        if attr.endswith(field):
            return reason, text, attr
    return REFUSED, text, attr
