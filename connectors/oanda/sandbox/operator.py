"""What the venue's own people do to it, and what breaks: the requests of ``POST /sandbox/operator``.

Owns those requests and nothing of their effect: markets are ``market``, answers ``faults``, streams ``stream``.  The
venue has no such path; a sandbox answers it to its own machine alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from connectors.local.faults import FaultScript
from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import ApiError, Json, Rejection, sentence
from connectors.oanda.sandbox.exchange import Exchange
from connectors.oanda.sandbox.market import Level, Market
from connectors.oanda.sandbox.stream import Hub

OPERATOR_PATH = "/sandbox/operator"


class _Door(Protocol):
    """Where the token is checked."""

    token: str | None
    maintenance: bool


class Operator:
    """``act`` takes one of

    - ``{"act":"halt","instrument":"EUR_USD"}`` and ``open``: trading stops and goes on, of all without a name;
    - ``{"act":"price","instrument":"EUR_USD","price":"1.1"}``: the market lives on around another price;
    - ``{"act":"pin","instrument":"EUR_USD","bids":[["1.08400","1000000"]],"asks":[["1.08410","1000000"]]}``: these
      levels and no others, until ``price`` comes;
    - ``{"act":"financing"}``: a day's interest is charged now; ``{"act":"fund","amount":"-100"}``: money comes or goes;
    - ``{"act":"expire_key"}`` and ``restore_key``: the token;
    - ``{"act":"maintenance"}``, with ``"on":false`` it is over: streams are cut, every answer is 503 in HTML;
    - ``{"act":"answer","path":"/orders","status":503,"apply":"before"}``: answers go wrong (``faults.AnswerFault``);
      ``{"act":"answers"}`` forgets those that were not used;
    - ``{"act":"end"}``, ``disconnect``, ``mute``, ``unmute``, ``double``, each for streams of ``"kind"`` (``prices``
      or ``transactions``) or all: they end, are cut, say nothing, say everything twice;
    - ``{"act":"say","text":"..."}``: a stream says this as well.
    """

    def __init__(
        self,
        exchange: Exchange,
        hub: Hub,
        faults: FaultScript,
        door: _Door,
        token: str,
        now_ns: Callable[[], int],
    ) -> None:
        self._exchange = exchange
        self._door = door
        self._hub = hub
        self._now_ns = now_ns
        self._acts: dict[str, Callable[[dict[str, Any]], object]] = {
            "halt": lambda fields: self._halt(fields, halted=True),
            "open": lambda fields: self._halt(fields, halted=False),
            "price": self._price,
            "pin": self._pin,
            "financing": lambda _: exchange.charge_financing(now_ns()),
            "fund": self._fund,
            "expire_key": lambda _: setattr(door, "token", None),
            "restore_key": lambda _: setattr(door, "token", token),
            "maintenance": self._maintain,
            "answer": faults.add,
            "answers": lambda _: faults.clear(),
            "end": lambda fields: hub.end(_kind(fields)),
            "disconnect": lambda fields: hub.cut(_kind(fields)),
            "mute": lambda fields: hub.mute(_kind(fields)),
            "unmute": lambda fields: hub.mute(_kind(fields), muted=False),
            "double": lambda fields: hub.double(_kind(fields), doubled=fields.get("on") is not False),
            "say": lambda fields: hub.say(str(fields.get("text", ""))),
        }

    def act(self, body: Mapping[str, Any]) -> Json:
        """Raises ``ApiError`` 400 for what is none of these."""
        name, fields = str(body.get("act")), {key: value for key, value in body.items() if key != "act"}
        act = self._acts.get(name)
        if act is None:
            raise ApiError(400, f"no such act; there are {', '.join(sorted(self._acts))}")
        act(fields)
        return {"done": name}

    def _markets(self, fields: dict[str, Any], *, one: bool) -> list[Market]:
        name = fields.get("instrument")
        if name is None and not one:
            return list(self._exchange.markets.by_name.values())
        market = self._exchange.markets.by_name.get(str(name))
        if market is None:
            raise ApiError(400, "unknown instrument")
        return [market]

    def _account(self, fields: dict[str, Any]) -> Account:
        accounts = self._exchange.accounts
        account = accounts.get(str(fields["account"])) if "account" in fields else next(iter(accounts.values()))
        if account is None:
            raise ApiError(400, "unknown account")
        return account

    def _maintain(self, fields: dict[str, Any]) -> None:
        self._door.maintenance = fields.get("on") is not False
        if self._door.maintenance:
            self._hub.cut()

    def _halt(self, fields: dict[str, Any], *, halted: bool) -> None:
        now_ns = self._now_ns()
        for market in self._markets(fields, one=False):
            market.halted = halted
            market.step(now_ns)
        self._exchange.look(now_ns)

    def _price(self, fields: dict[str, Any]) -> None:
        market, now_ns = self._markets(fields, one=True)[0], self._now_ns()
        market.jump(_on_grid(market, fields.get("price")), now_ns)
        self._exchange.look(now_ns)

    def _pin(self, fields: dict[str, Any]) -> None:
        market, now_ns = self._markets(fields, one=True)[0], self._now_ns()
        bids, asks = _levels(market, fields.get("bids")), _levels(market, fields.get("asks"))
        if max(px for px, _ in bids) >= min(px for px, _ in asks):
            raise ApiError(400, "bids must be below asks")
        market.pin(bids, asks, now_ns)
        self._exchange.look(now_ns)

    def _fund(self, fields: dict[str, Any]) -> None:
        try:
            self._exchange.transfer(self._account(fields), _number(fields.get("amount")), self._now_ns())
        except Rejection as rejection:
            raise ApiError(400, sentence(rejection.reason), rejection.reason) from None


def _kind(fields: dict[str, Any]) -> str:
    kind = fields.get("kind", "")
    if kind not in {"", "prices", "transactions"}:
        raise ApiError(400, "kind is prices or transactions")
    return str(kind)


def _levels(market: Market, raw: object) -> list[Level]:
    if not isinstance(raw, list) or not raw or not all(isinstance(row, list) and len(row) == 2 for row in raw):
        raise ApiError(400, "levels are pairs of a price and units, best first")
    made = [(_on_grid(market, px), _number(units)) for px, units in raw]
    if any(units <= 0 or units % market.rules.lot_qty for _, units in made):
        raise ApiError(400, "units are above 0 and whole steps")
    return made


def _on_grid(market: Market, raw: object) -> Decimal:
    px = _number(raw)
    if px <= 0 or px % market.rules.tick_px:
        raise ApiError(400, f"a price is above 0 and a multiple of {market.rules.tick_px}")
    return px.quantize(market.rules.tick_px)


def _number(raw: object) -> Decimal:
    try:
        value = Decimal(str(raw))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ApiError(400, "expected a number as text")
    return value
