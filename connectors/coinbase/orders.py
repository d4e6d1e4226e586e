"""Orders and cancels as Coinbase's REST bodies, and the venue's answers as verdicts: pure.

Owns which order kinds the venue takes, how a command becomes bytes, and what an answer to it proves.  Does not send.
The venue carries out market, limit, stop-limit and bracket orders; it has no stop at market, no trailing stop and no
other orders that exclude each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.offer import OFFER
from connectors.coinbase.refusals import refusal_reason, told
from connectors.verdicts import Verdict
from engine.commands import NewOrder, NewOrderWithExits, OrderIntent, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side

PREFIX = "/api/v3/brokerage"
ORDERS_ROUTE = ("POST", f"{PREFIX}/orders")
CLOSE_ROUTE = ("POST", f"{PREFIX}/orders/close_position")
CANCEL_ROUTE = ("POST", f"{PREFIX}/orders/batch_cancel")
MAX_CLIENT_ID_CHARS = 128
MAX_CANCELS = 100
"""Ids in one batch_cancel."""


def request_head(route: tuple[str, str], host: str, user_agent: str = "kestrel") -> bytes:
    """The constant part of a request, up to and including ``Bearer ``."""
    method, path = route
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {user_agent}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer "
    ).encode()


class Answer(msgspec.Struct, frozen=True):
    """``venue_order_id`` is set for ACCEPTED, ``reason`` (and the venue's ``text``) otherwise.

    ``exit_order_id`` is that of the exit which came with it, where the answer names it.
    """

    verdict: Verdict
    venue_order_id: str = ""
    reason: str = ""
    text: str = ""
    exit_order_id: str = ""


# Bound once: looking a member up on its class costs more than the rest of the line.
_MARKET, _LIMIT, _STOP_LIMIT, _BRACKET = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.BRACKET
_GTC, _IOC, _FOK, _GTD = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTD
_BUY, _SELL = Side.BUY, Side.SELL
_ZERO = Decimal(0)
_encode_json = wire.encode_json


def encode_order(order: NewOrder, product_id: str) -> bytes:
    """The JSON body of POST /orders.

    ``reduce_only`` is not sent: the venue has no such field on spot, where a sell cannot exceed the holding; of a
    contract it is another request (``encode_close``).  Raises
    ``LocalProtocolError`` for what the venue does not offer (market FOK, trailing stops, post-only IOC, ...) and for a
    side, type or time in force that is no member of its enum: nothing is taken for the nearest kind.
    """
    intent = order.intent
    tif, side = intent.time_in_force, intent.side
    if (
        type(order) is NewOrder
        and intent.order_type is _LIMIT
        and (tif is _IOC or tif is _GTC)
        and (side is _BUY or side is _SELL)
        and not intent.post_only
        and type(intent.qty) is Decimal
        and type(intent.limit_px) is Decimal
    ):
        # The common orders, written as text for a third of the cost; ``encode_any_order`` gives the same bytes.
        qty, px = str(intent.qty), str(intent.limit_px)
        client_id = order.client_order_id
        if (
            "0" <= qty[0] <= "9"  # neither NaN nor Infinity nor negative
            and "0" <= px[0] <= "9"
            and "E" not in qty
            and "E" not in px
            and intent.qty > _ZERO
            and intent.trailing_px is None
            and 0 < len(client_id) <= MAX_CLIENT_ID_CHARS
        ):
            name, product = _encode_json(client_id).decode(), _encode_json(product_id).decode()  # quoted and escaped
            way = "BUY" if side is _BUY else "SELL"
            if tif is _IOC:
                fields = f'"sor_limit_ioc":{{"base_size":"{qty}","limit_price":"{px}"}}'
            else:
                fields = f'"limit_limit_gtc":{{"base_size":"{qty}","limit_price":"{px}","post_only":false}}'
            return (
                f'{{"client_order_id":{name},"product_id":{product},"side":"{way}","order_configuration":{{{fields}}}}}'
            ).encode()
    return encode_any_order(order, product_id)


def closes_contracts(order: NewOrder) -> bool:
    """Whether an order for a contract is one that the venue carries out against the position alone: however much of
    that is left when it arrives, it cannot become a position on the other side."""
    intent = order.intent
    return intent.reduce_only and intent.order_type is _MARKET and intent.time_in_force is not _FOK


def encode_close(order: NewOrder, product_id: str) -> bytes:
    """The JSON body of POST /orders/close_position; its answer is that of POST /orders.

    ``{"client_order_id":"eng-1","product_id":"BIP-20DEC30-CDE","size":"3"}``: the side is that of the position.  Raises
    ``LocalProtocolError`` as ``encode_order`` does.
    """
    encode_any_order(order, product_id)  # for what it refuses
    size = wire.plain(order.intent.qty)
    return wire.encode_json({"client_order_id": order.client_order_id, "product_id": product_id, "size": size})


def encode_any_order(order: NewOrder, product_id: str) -> bytes:
    """``encode_order`` of any kind, and the reasons why it cannot be encoded."""
    if not 0 < len(order.client_order_id) <= MAX_CLIENT_ID_CHARS:
        raise LocalProtocolError(
            f"client order id of {len(order.client_order_id)} characters", expected=f"1 to {MAX_CLIENT_ID_CHARS}"
        )
    intent = order.intent
    if not intent.qty.is_finite() or intent.qty <= 0:
        raise LocalProtocolError(f"order quantity {intent.qty}", expected="more than 0")
    side = intent.side
    side_name = "BUY" if side is _BUY else "SELL" if side is _SELL else ""
    if not side_name:
        raise LocalProtocolError(f"order side {side!r}", expected="Side.BUY or Side.SELL")
    name, fields = configuration(intent)
    if isinstance(order, NewOrderWithExits):
        way_out = {"trigger_bracket_gtc": _attached(order)}
        return wire.encode_json(wire.EntryBody(order.client_order_id, product_id, side_name, {name: fields}, way_out))
    return wire.encode_json(wire.OrderBody(order.client_order_id, product_id, side_name, {name: fields}))


def _attached(order: NewOrderWithExits) -> dict[str, str]:
    """Of an entry: the bracket that the venue is to place for what it fills."""
    intent = order.intent
    target_px, trigger_px = _price(order.target_px, _BRACKET, "limit"), _price(order.trigger_px, _BRACKET, "trigger")
    if not OFFER.attaches_to(intent):
        raise _unsupported(f"a bracket with an entry of type {intent.order_type.value} {intent.time_in_force.value}")
    if (order.target_px - order.trigger_px) * intent.side <= 0:
        where = "above it for one that buys" if intent.side is _BUY else "below it for one that sells"
        raise LocalProtocolError(
            f"an entry with its target at {target_px} and its stop at {trigger_px}", expected=where
        )
    return {"limit_price": target_px, "stop_trigger_price": trigger_px}


def configuration(intent: OrderIntent) -> tuple[str, dict[str, str | bool]]:
    """The venue's name for this kind of order, and its fields.  Raises ``LocalProtocolError``."""
    kind, tif = intent.order_type, intent.time_in_force
    fields: dict[str, str | bool] = {"base_size": wire.plain(intent.qty)}
    if intent.trailing_px is not None:
        raise _unsupported("a trailing stop")
    if kind is _MARKET:
        if (tif is not _IOC and tif is not _GTC and tif is not _GTD) or intent.post_only:
            raise _unsupported(f"a market order with {'post-only' if intent.post_only else repr(tif)}")
        return "market_market_ioc", fields
    if kind is not _LIMIT and kind is not _STOP_LIMIT and kind is not _BRACKET:
        raise _unsupported(f"order type {kind!r}")
    fields["limit_price"] = _price(intent.limit_px, kind, "limit")
    if kind is _STOP_LIMIT:
        return _stop(intent, fields)
    if kind is _BRACKET:
        return _bracket(intent, fields)
    if tif is _IOC or tif is _FOK:
        if intent.post_only:
            raise _unsupported(f"a post-only order with {tif.value}")
        return ("sor_limit_ioc" if tif is _IOC else "limit_limit_fok"), fields
    fields["post_only"] = intent.post_only
    if tif is _GTD:
        fields["end_time"] = _end_time(intent)
        return "limit_limit_gtd", fields
    if tif is not _GTC:
        raise _unsupported(f"time in force {tif!r}")
    return "limit_limit_gtc", fields


def _stop(intent: OrderIntent, fields: dict[str, str | bool]) -> tuple[str, dict[str, str | bool]]:
    tif = intent.time_in_force
    if intent.post_only or (tif is not _GTC and tif is not _GTD):
        raise _unsupported(f"a stop order with {'post-only' if intent.post_only else repr(tif)}")
    fields["stop_price"] = _price(intent.trigger_px, intent.order_type, "trigger")
    # A stop waits for the market to move against the position: a buy above it, a sell below it.
    fields["stop_direction"] = "STOP_DIRECTION_STOP_UP" if intent.side is _BUY else "STOP_DIRECTION_STOP_DOWN"
    if tif is _GTD:
        fields["end_time"] = _end_time(intent)
        return "stop_limit_stop_limit_gtd", fields
    return "stop_limit_stop_limit_gtc", fields


def _bracket(intent: OrderIntent, fields: dict[str, str | bool]) -> tuple[str, dict[str, str | bool]]:
    tif, limit_px, trigger_px = intent.time_in_force, intent.limit_px, intent.trigger_px
    if intent.post_only or (tif is not _GTC and tif is not _GTD):
        raise _unsupported(f"a bracket with {'post-only' if intent.post_only else repr(tif)}")
    fields["stop_trigger_price"] = _price(trigger_px, intent.order_type, "trigger")
    # The venue refuses these too; known here, it costs no request and no doubt.
    if limit_px is None or trigger_px is None or (limit_px - trigger_px) * intent.side >= 0:
        where = "above it for a buy" if intent.side is _BUY else "below it for a sell"
        raise LocalProtocolError(f"a bracket at {limit_px} with its trigger at {trigger_px}", expected=where)
    if tif is _GTD:
        fields["end_time"] = _end_time(intent)
        return "trigger_bracket_gtd", fields
    return "trigger_bracket_gtc", fields


def _price(px: Decimal | None, kind: OrderType, which: str) -> str:
    if px is None or not px.is_finite():
        seen = f"a {kind.value} order with {which} price {px}" if px is not None else f"a {kind.value} order without"
        raise LocalProtocolError(seen if px is not None else f"{seen} {which} price", expected=f"a {which} price")
    return wire.plain(px)


def _end_time(intent: OrderIntent) -> str:
    if intent.expire_ns is None:
        raise LocalProtocolError("a good-till-date order without expiry", expected="expire_ns")
    return wire.format_time(intent.expire_ns)


def _unsupported(what: str) -> LocalProtocolError:
    return LocalProtocolError(f"{what} is not offered by coinbase", expected="another order type or time in force")


def encode_cancels(venue_order_ids: Sequence[str]) -> bytes:
    """The JSON body of POST /orders/batch_cancel; at most ``MAX_CANCELS`` ids."""
    return wire.encode_json({"order_ids": list(venue_order_ids)})


def read_order_answer(status: int, body: bytes) -> Answer:
    """What the answer to POST /orders proves.  In doubt the verdict is UNKNOWN: the order may live.

    The venue answers business refusals with HTTP 200 and ``success: false``.  A refusal for a duplicate client id is
    proof that an order with it exists (fault B15), so it is UNKNOWN until the listing shows it.  A refusal without a
    reason, or with an inner failure as its reason, proves nothing either.
    """
    if status == 401:
        return Answer(Verdict.REJECTED, reason="unauthorized", text=_text(body))
    if status == 429:
        return Answer(Verdict.REJECTED, reason="rate_limited", text=_text(body))
    if 400 <= status < 500 and status not in _UNCLEAR_STATUSES:
        reason = _error_name(body) or f"http_{status}"
        if _proves_nothing(reason):
            return Answer(Verdict.UNKNOWN, reason=reason, text=_text(body))
        return _rejected(reason, _text(body), status)
    if status != 200:
        return Answer(Verdict.UNKNOWN, reason=f"http_{status}", text=_text(body))
    try:
        answer = wire.decode_order_answer(body)
    except wire.UNREADABLE:
        return Answer(Verdict.UNKNOWN, reason="unreadable_answer", text=_text(body))
    if answer.success:
        if answer.success_response is None or not answer.success_response.order_id:
            return Answer(Verdict.UNKNOWN, reason="unreadable_answer", text=_text(body))
        made = answer.success_response
        return Answer(Verdict.ACCEPTED, venue_order_id=made.order_id, exit_order_id=made.attached_order_id or "")
    error = answer.error_response or wire.OrderError(error=answer.failure_reason)
    reason = refusal_reason(error)
    if _proves_nothing(reason):
        return Answer(Verdict.UNKNOWN, reason=reason, text=error.message[:200])
    named = error.error or error.new_order_failure_reason or error.preview_failure_reason
    return _rejected(reason, (error.message or error.error_details or named)[:200])


def _proves_nothing(reason: str) -> bool:
    """Whether a refusal names a failure inside the venue, or an order of this id that is there."""
    return reason in _UNCLEAR_REASONS or reason.startswith("duplicate_client_order_id")


def _rejected(reason: str, text: str, status: int = 200) -> Answer:
    word, said = told(reason, text, status)
    return Answer(Verdict.REJECTED, reason=word, text=said)


_UNCLEAR_STATUSES = frozenset({408, 409, 425, 499})
"""Timeout, conflict (a duplicate id is one), too early, client closed: none says that the order was not taken."""
_UNCLEAR_REASONS = frozenset(
    {
        "unknown_reason",
        "unknown",
        "internal",
        "internal_error",
        "internal_server_error",
        "unavailable",
        "service_unavailable",
        "deadline_exceeded",
        "timeout",
        "request_timeout",
        "aborted",
        "already_exists",
        "cancelled",
        "canceled",
        "data_loss",
    }
)
"""Refusals that name a failure inside the venue and not a fault of the order."""


def _error_name(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=wire.OrderError, strict=False)
    except wire.UNREADABLE:
        return ""
    return refusal_reason(error) if error.error else ""


def _text(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())
