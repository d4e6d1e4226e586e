"""What the venue says an order would cost, and why it would not take it, without placing it.

Owns the request and what its answer means.  It is a question like any other and stands on no order's path: whoever
asks waits (before the first order of a session, or when an operator wants to know).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from functools import partial

import msgspec

from connectors.coinbase import wire
from connectors.coinbase.auth import TokenPool
from connectors.coinbase.fills import exact
from connectors.coinbase.orders import PREFIX, configuration, request_head
from connectors.coinbase.refusals import refusal_reason
from connectors.http import OrderWriter
from connectors.rest import RestError, no_answer, status_error
from engine.commands import OrderIntent
from engine.errors import LocalProtocolError, VenueError
from engine.events import Side

PREVIEW_ROUTE = ("POST", f"{PREFIX}/orders/preview")
_WORDS_MAX = 20


class Preview(msgspec.Struct, frozen=True):
    """``reasons``: why it would be refused, in the words of refusals; empty where it would be taken.  ``total`` is what
    a buyer pays and a seller gets, ``fee`` is part of it, both in quote currency; None where the venue does not say."""

    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    total: Decimal | None
    fee: Decimal | None


class _Body(msgspec.Struct):
    product_id: str
    side: str
    order_configuration: dict[str, dict[str, str | bool]]


class _Answer(msgspec.Struct):
    """``{"order_total":"612.35","commission_total":"3.65","errs":[],"warning":[],...}``."""

    order_total: str = ""
    commission_total: str = ""
    errs: list[str] = []
    warning: list[str] = []


class Previews:
    """Over the connections of orders.  ``products`` maps canonical instruments to product ids."""

    def __init__(self, *, host: str, products: Mapping[str, str], writer: OrderWriter, tokens: TokenPool) -> None:
        self._products = products
        self._writer = writer
        self._tokens = tokens
        self._head = request_head(PREVIEW_ROUTE, host)

    async def ask(self, intent: OrderIntent) -> Preview:
        """Raises ``VenueError`` without an answer, ``LocalProtocolError`` for an order that the venue does not know."""
        body = encode_preview(intent, self._products)
        token = self._tokens.make(*PREVIEW_ROUTE).encode()
        request = b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, token, len(body), body)
        answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        if not self._writer.try_send(request, partial(_answer, answered), partial(_lose, answered)):
            raise VenueError("no free connection for a preview", do="try again")
        return read_preview(*await answered)


def encode_preview(intent: OrderIntent, products: Mapping[str, str]) -> bytes:
    """The JSON body of POST /orders/preview: an order without a client id."""
    product_id = products.get(intent.instrument)
    if product_id is None:
        raise LocalProtocolError(f"instrument {intent.instrument!r}", expected="one of this session")
    name, fields = configuration(intent)
    side = "BUY" if intent.side is Side.BUY else "SELL"
    return wire.encode_json(_Body(product_id, side, {name: fields}))


def read_preview(status: int, body: bytes) -> Preview:
    """Raises ``RestError`` for anything but a preview."""
    if status != 200:
        raise status_error(*PREVIEW_ROUTE, status, body)
    try:
        told = msgspec.json.decode(body, type=_Answer, strict=False)
    except wire.UNREADABLE as error:
        raise RestError(f"{PREVIEW_ROUTE[1]}: unreadable answer: {error}", expected="a preview") from error
    reasons = [refusal_reason(wire.OrderError(preview_failure_reason=name)) for name in told.errs[:_WORDS_MAX]]
    warnings = [warning[:200] for warning in told.warning[:_WORDS_MAX]]
    return Preview(tuple(reasons), tuple(warnings), exact(told.order_total), exact(told.commission_total))


def _answer(answered: asyncio.Future[tuple[int, bytes]], status: int, body: bytes) -> None:
    if not answered.done():
        answered.set_result((status, bytes(body)))


def _lose(answered: asyncio.Future[tuple[int, bytes]], reason: str) -> None:
    if not answered.done():
        answered.set_exception(no_answer(PREVIEW_ROUTE[1], reason))
