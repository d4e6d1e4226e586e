"""What the venue's own people do to it, and what breaks: the requests of ``POST /sandbox/operator``.

Owns those requests and nothing of their effect: books are ``exchange``, keys ``auth``, answers ``faults``.  The venue
has no such path; a sandbox answers it to its own machine alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from connectors.local.faults import FaultScript
from connectors.robinhood.sandbox.auth import Verifier
from connectors.robinhood.sandbox.errors import ApiError, Json
from connectors.robinhood.sandbox.exchange import Exchange
from connectors.robinhood.sandbox.settings import ACCOUNT_STATUSES, STATUSES
from engine.events import Side

OPERATOR_PATH = "/sandbox/operator"
_RULES = ("quote_increment", "asset_increment", "min_order_size", "max_order_size", "min_order_amount")


class Door(Protocol):
    """What every request passes."""

    maintenance: bool

    def drain_limits(self) -> None: ...


class Operator:
    """``act`` takes one of

    - ``{"act":"pin","symbol":"BTC-USD","bids":[["60000","1"]],"asks":[["60010","1"]]}``: these levels and no others,
      until ``{"act":"unpin","symbol":"BTC-USD"}``;
    - ``{"act":"trade","symbol":"BTC-USD","side":"sell","price":"59000","quantity":"0.5"}``: somebody else takes what
      there is up to a price;
    - ``{"act":"pair","symbol":"BTC-USD","status":"sellonly","is_api_tradable":false,"quote_increment":"0.1"}``;
    - ``{"act":"account","status":"sell_only","is_api_tradable":false}``;
    - ``{"act":"fund","currency":"USD","amount":"-100"}``: money or coins come or go;
    - ``{"act":"expire_key"}``, ``{"act":"restore_key"}``, ``{"act":"permit","can_trade":false}``: keys;
    - ``{"act":"skew","seconds":5}``: how far a timestamp may be away;
    - ``{"act":"maintenance"}``, with ``"on":false`` it is over: every answer is 503 in HTML;
    - ``{"act":"drain"}``: the limit on requests is used up;
    - ``{"act":"answer","path":"/orders/","status":503,"apply":"before"}``: answers go wrong (``faults.AnswerFault``);
      ``{"act":"answers"}`` forgets those that were not used.
    """

    def __init__(
        self, exchange: Exchange, verifier: Verifier, faults: FaultScript, door: Door, now_ns: Callable[[], int]
    ) -> None:
        self._exchange = exchange
        self._verifier = verifier
        self._door = door
        self._now_ns = now_ns
        self._acts: dict[str, Callable[[dict[str, Any]], object]] = {
            "pin": self._pin,
            "unpin": lambda fields: exchange.unpin(self._symbol(fields)),
            "trade": self._trade,
            "pair": self._pair,
            "account": self._account,
            "fund": lambda fields: exchange.fund(str(fields.get("currency")), _number(fields.get("amount"))),
            "expire_key": lambda _: verifier.expire(),
            "restore_key": lambda _: verifier.restore(),
            "permit": self._permit,
            "skew": lambda fields: setattr(verifier, "skew_s", float(_number(fields.get("seconds")))),
            "maintenance": lambda fields: setattr(door, "maintenance", fields.get("on") is not False),
            "drain": lambda _: door.drain_limits(),
            "answer": faults.add,
            "answers": lambda _: faults.clear(),
        }

    def act(self, body: Mapping[str, Any]) -> Json:
        """Raises ``ApiError`` 400 for what is none of these."""
        name, fields = str(body.get("act")), {key: value for key, value in body.items() if key != "act"}
        act = self._acts.get(name)
        if act is None:
            raise ApiError(400, f"no such act; there are {', '.join(sorted(self._acts))}")
        act(fields)
        return {"done": name}

    def _symbol(self, fields: Mapping[str, Any]) -> str:
        symbol = fields.get("symbol")
        if not isinstance(symbol, str) or symbol not in self._exchange.markets:
            raise ApiError(400, "unknown symbol")
        return symbol

    def _pin(self, fields: dict[str, Any]) -> None:
        symbol = self._symbol(fields)
        levels = [*_levels(fields.get("bids"), Side.BUY), *_levels(fields.get("asks"), Side.SELL)]
        bids = [px for side, px, _ in levels if side is Side.BUY]
        asks = [px for side, px, _ in levels if side is Side.SELL]
        pair = self._exchange.markets[symbol].pair
        if max(bids) >= min(asks) or any(px % pair.quote_increment for px in (*bids, *asks)):
            raise ApiError(400, f"bids are below asks, both multiples of {pair.quote_increment}")
        self._exchange.pin(symbol, levels, self._now_ns())

    def _trade(self, fields: dict[str, Any]) -> None:
        side = {"buy": Side.BUY, "sell": Side.SELL}.get(str(fields.get("side")))
        if side is None:
            raise ApiError(400, "side is buy or sell")
        qty, px = _positive(fields.get("quantity")), _positive(fields.get("price"))
        self._exchange.trade(self._symbol(fields), side, qty, px, self._now_ns())

    def _pair(self, fields: dict[str, Any]) -> None:
        changes: dict[str, Any] = {}
        for name, value in fields.items():
            if name in _RULES:
                changes[name] = _positive(value)
            elif (name == "status" and value in STATUSES) or (name == "is_api_tradable" and type(value) is bool):
                changes[name] = value
            elif name != "symbol":
                raise ApiError(400, f"{name} is no rule and no state of a pair, or not written as one")
        self._exchange.replace_pair(self._symbol(fields), changes)

    def _account(self, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            if name == "status" and value in ACCOUNT_STATUSES:
                self._exchange.account_status = str(value)
            elif name == "is_api_tradable" and type(value) is bool:
                self._exchange.is_api_tradable = value
            else:
                raise ApiError(400, f"{name} is no state of an account, or not written as one")

    def _permit(self, fields: dict[str, Any]) -> None:
        if not fields.keys() <= {"can_read", "can_trade"} or not all(type(value) is bool for value in fields.values()):
            raise ApiError(400, "can_read and can_trade are true or false")
        self._verifier.permit(**fields)


def _levels(raw: object, side: Side) -> list[tuple[Side, Decimal, Decimal]]:
    if not isinstance(raw, list) or not raw or not all(isinstance(row, list) and len(row) == 2 for row in raw):
        raise ApiError(400, "levels are pairs of a price and a quantity, best first")
    return [(side, _positive(px), _positive(qty)) for px, qty in raw]


def _positive(raw: object) -> Decimal:
    value = _number(raw)
    if value <= 0:
        raise ApiError(400, "expected a number above 0")
    return value


def _number(raw: object) -> Decimal:
    try:
        value = Decimal(str(raw))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ApiError(400, "expected a number as text")
    return value
