"""What the venue's own people do to it, and what breaks: the requests of ``POST /sandbox/operator``.

Owns those requests and nothing of their effect: markets are ``market``, logins ``login``, answers
``connectors.local.faults``.  The venue has no such path; a sandbox answers it to its own machine alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from connectors.local.faults import FaultScript
from connectors.robin_stocks.sandbox.account import Account
from connectors.robin_stocks.sandbox.errors import Json, detail
from connectors.robin_stocks.sandbox.exchange import Exchange
from connectors.robin_stocks.sandbox.market import Level, Market
from connectors.robin_stocks.sandbox.times import NS

OPERATOR_PATH = "/sandbox/operator"


class _Door(Protocol):
    """What every request passes."""

    maintenance: bool
    offset_ns: int

    def now_ns(self) -> int: ...


class Operator:
    """``act`` takes one of

    - ``{"act":"halt","symbol":"AAPL"}`` and ``open``: trading stops and goes on, of all stocks without a symbol;
    - ``{"act":"price","symbol":"AAPL","price":"231.5"}``: the market lives on around another price;
    - ``{"act":"pin","symbol":"AAPL","bids":[["231.40","100"]],"asks":[["231.42","100"]]}``: these levels and no others,
      until ``price`` comes; ``"option":ID`` or ``"symbol":"BTC"`` in place of a stock;
    - ``{"act":"fund","amount":"-100"}``: money comes or goes;
    - ``{"act":"clock","at":"2026-11-21T15:00:00+00:00"}``: the venue's clock goes on from there;
      ``{"act":"hours","hours":"venue"}``: New York's hours are kept from now on, or ``always``;
    - ``{"act":"expire_tokens"}``: everybody logs in again; ``{"act":"forget_devices"}``: and is approved again;
    - ``{"act":"approve"}`` and ``deny``: what the customer's telephone says to every open question;
    - ``{"act":"maintenance"}``, with ``"on":false`` it is over: every answer is 503 in HTML;
    - ``{"act":"answer","path":"/orders/","status":503,"apply":"before"}``: answers go wrong (``AnswerFault``);
      ``{"act":"answers"}`` forgets those that were not used;
    - ``{"act":"step"}``: a moment passes for orders, where time stands still otherwise.
    """

    def __init__(self, exchange: Exchange, faults: FaultScript, door: _Door) -> None:
        self._exchange = exchange
        self._door = door
        login = exchange.login
        self._acts: dict[str, Callable[[dict[str, Any], int], object]] = {
            "halt": lambda fields, now: self._halt(fields, now, halted=True),
            "open": lambda fields, now: self._halt(fields, now, halted=False),
            "price": self._price,
            "pin": self._pin,
            "fund": self._fund,
            "clock": self._clock,
            "hours": self._hours,
            "expire_tokens": lambda *_: login.expire_all(),
            "forget_devices": lambda *_: login.forget_devices(),
            "approve": lambda *_: login.decide(approved=True),
            "deny": lambda *_: login.decide(approved=False),
            "maintenance": lambda fields, _: setattr(door, "maintenance", fields.get("on") is not False),
            "answer": lambda fields, _: faults.add(fields),
            "answers": lambda *_: faults.clear(),
            "step": lambda _, now: exchange.advance(now),
        }

    def act(self, body: Mapping[str, Any], now_ns: int) -> Json:
        """Raises ``ApiError`` 400 for what is none of these."""
        name, fields = str(body.get("act")), {key: value for key, value in body.items() if key != "act"}
        act = self._acts.get(name)
        if act is None:
            raise detail(400, f"no such act; there are {', '.join(sorted(self._acts))}")
        act(fields, now_ns)
        return {"done": name}

    def _market(self, fields: dict[str, Any], now_ns: int) -> Market:
        symbol, option = str(fields.get("symbol")), str(fields.get("option", ""))
        if option:
            if option not in self._exchange.options.contracts:
                raise detail(400, "unknown option")
            return self._exchange.options.market(option, now_ns)
        if symbol == self._exchange.coin.key:
            return self._exchange.coin
        listed = self._exchange.stocks.get(symbol)
        if listed is None:
            raise detail(400, "unknown symbol")
        return listed.market

    def _account(self, fields: dict[str, Any]) -> Account:
        accounts = self._exchange.accounts
        account = accounts.get(str(fields["account"])) if "account" in fields else next(iter(accounts.values()))
        if account is None:
            raise detail(400, "unknown account")
        return account

    def _halt(self, fields: dict[str, Any], now_ns: int, *, halted: bool) -> None:
        every = [listed.market for listed in self._exchange.stocks.values()]
        for market in [self._market(fields, now_ns)] if "symbol" in fields else every:
            market.halted = halted
        self._exchange.look(now_ns)

    def _price(self, fields: dict[str, Any], now_ns: int) -> None:
        market = self._market(fields, now_ns)
        market.jump(_on_grid(market, fields.get("price")), now_ns)
        self._exchange.options.step(now_ns)
        self._exchange.look(now_ns)

    def _pin(self, fields: dict[str, Any], now_ns: int) -> None:
        market = self._market(fields, now_ns)
        bids, asks = _levels(market, fields.get("bids")), _levels(market, fields.get("asks"))
        if max(px for px, _ in bids) >= min(px for px, _ in asks):
            raise detail(400, "bids must be below asks")
        market.pin(bids, asks, now_ns)
        market.last_px = _on_grid(market, fields["last"]) if "last" in fields else bids[0][0]
        self._exchange.options.step(now_ns)
        self._exchange.look(now_ns)

    def _fund(self, fields: dict[str, Any], _: int) -> None:
        self._account(fields).cash += _number(fields.get("amount"))

    def _clock(self, fields: dict[str, Any], now_ns: int) -> None:
        try:
            at = datetime.fromisoformat(str(fields.get("at")))
        except ValueError:
            raise detail(400, "at is a time such as 2026-11-21T15:00:00+00:00") from None
        if at.tzinfo is None:
            raise detail(400, "at needs its offset from UTC")
        self._door.offset_ns += int(at.timestamp() * 1_000) * (NS // 1_000) - now_ns
        self._exchange.advance(self._door.now_ns())

    def _hours(self, fields: dict[str, Any], now_ns: int) -> None:
        if fields.get("hours") not in ("always", "venue"):
            raise detail(400, "hours are always or venue")
        self._exchange.hours.always = fields["hours"] == "always"
        self._exchange.advance(now_ns)


def _levels(market: Market, raw: object) -> list[Level]:
    if not isinstance(raw, list) or not raw or not all(isinstance(row, list) and len(row) == 2 for row in raw):
        raise detail(400, "levels are pairs of a price and a quantity, best first")
    made = [(_on_grid(market, px), _number(qty)) for px, qty in raw]
    if any(qty <= 0 or qty % market.instrument.lot_qty for _, qty in made):
        raise detail(400, "quantities are above 0 and whole steps")
    return made


def _on_grid(market: Market, raw: object) -> Decimal:
    px = _number(raw)
    if px <= 0 or px % market.instrument.tick_px:
        raise detail(400, f"a price is above 0 and a multiple of {market.instrument.tick_px}")
    return px.quantize(market.instrument.tick_px)


def _number(raw: object) -> Decimal:
    try:
        value = Decimal(str(raw))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise detail(400, "expected a number as text")
    return value
