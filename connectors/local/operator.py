"""What a venue's own people do to it, and what breaks: the requests of ``POST /sandbox/operator``.

Owns those requests and nothing of their effect: markets are ``exchange``, answers ``faults``, streams ``lines``.  The
real venues have no such path; a sandbox answers it to its own machine alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from aiohttp import web

from connectors.local.exchange import ACCOUNT, Exchange
from connectors.local.faults import FaultScript
from connectors.local.lines import Lines
from connectors.local.records import Market
from engine.events import Side

OPERATOR_PATH = "/sandbox/operator"
LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Door:
    """What stands open.  ``known`` False: no key is; ``can_trade`` is the key's permission; ``maintenance``: every
    answer is the venue's word for that."""

    def __init__(self) -> None:
        self.known = True
        self.can_trade = True
        self.maintenance = False


class Operator:
    """``act`` takes one of

    - ``{"act":"halt","symbol":"BTC/USDT"}`` and ``open``: trading stops and goes on, of all without a symbol;
    - ``{"act":"trade","symbol":"BTC/USDT","side":"BUY","price":"61300","size":"2"}``: somebody else takes what there is
      up to a price; with ``"rest":true`` what is left stays in the book;
    - ``{"act":"fund","asset":"USDT","amount":"-100"}``: money comes or goes;
    - ``{"act":"expire_key"}``, ``restore_key``, and ``{"act":"permit","can_trade":false}``;
    - ``{"act":"maintenance"}``, with ``"on":false`` it is over;
    - ``{"act":"answer","path":"/order","status":503,"apply":"before"}``: answers go wrong (``faults.AnswerFault``);
      ``{"act":"answers"}`` forgets those that were not used;
    - ``{"act":"disconnect","code":1011}``: streams end, by a close frame of that code, without one at 1006;
    - ``{"act":"mute"}``: streams say nothing any more and answer no ping;
    - ``{"act":"gap"}``: each stream of changes of a book loses one.

    ``refuse`` makes the venue's own error of a text; ``pump`` tells streams what an act has changed.
    """

    def __init__(
        self,
        exchange: Exchange,
        lines: Lines,
        faults: FaultScript,
        door: Door,
        *,
        refuse: Callable[[str], Exception],
        now_ns: Callable[[], int],
        pump: Callable[[], None],
        gap: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._refuse = refuse
        self._now_ns = now_ns
        self._pump = pump
        self._lines = lines
        self._door = door
        self._acts: dict[str, Callable[[dict[str, Any]], object]] = {
            "halt": lambda fields: self._halt(fields, halted=True),
            "open": lambda fields: self._halt(fields, halted=False),
            "trade": self._trade,
            "fund": self._fund,
            "expire_key": lambda _: setattr(door, "known", False),
            "restore_key": lambda _: setattr(door, "known", True),
            "permit": lambda fields: setattr(door, "can_trade", fields.get("can_trade") is not False),
            "maintenance": lambda fields: setattr(door, "maintenance", fields.get("on") is not False),
            "answer": faults.add,
            "answers": lambda _: faults.clear(),
            "disconnect": self._disconnect,
            "mute": lambda _: lines.mute_all(),
            "gap": lambda _: gap(),
        }

    async def serve(self, request: web.Request) -> dict[str, Any]:
        """``act`` on the body of a request of this machine.  Raises what that raises, and HTTP 404 for others."""
        if request.remote not in LOOPBACK:
            raise web.HTTPNotFound
        try:
            body = msgspec.json.decode(await request.read())
        except (msgspec.DecodeError, RecursionError):
            raise self._refuse("body is not JSON") from None
        if not isinstance(body, dict):
            raise self._refuse("body must be an object")
        return self.act(body)

    def act(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises ``refuse``'s error for what is none of these."""
        name, fields = str(body.get("act")), {key: value for key, value in body.items() if key != "act"}
        act = self._acts.get(name)
        if act is None:
            raise self._refuse(f"no such act; there are {', '.join(sorted(self._acts))}")
        act(fields)
        self._pump()
        return {"done": name}

    def _markets(self, fields: dict[str, Any], *, one: bool) -> list[Market]:
        symbol, markets = fields.get("symbol"), self._exchange.markets
        if symbol is None and not one:
            return list(markets.values())
        market = markets.get(str(symbol))
        if market is None:
            raise self._refuse(f"symbol is one of {', '.join(markets)}")
        return [market]

    def _halt(self, fields: dict[str, Any], *, halted: bool) -> None:
        for market in self._markets(fields, one=False):
            market.halted = halted

    def _trade(self, fields: dict[str, Any]) -> None:
        (market,) = self._markets(fields, one=True)
        if fields.get("side") not in ("BUY", "SELL"):
            raise self._refuse("side is BUY or SELL")
        px, qty = self._number(fields.get("price")), self._number(fields.get("size", "9000"))
        if px <= 0 or px % market.product.tick_px or qty <= 0 or qty % market.product.lot_qty:
            raise self._refuse(
                f"price and size are above 0, on steps of {market.product.tick_px} and {market.product.lot_qty}"
            )
        rest = fields.get("rest") is True
        self._exchange.trade(market, Side[fields["side"]], px, qty, self._now_ns(), rest=rest)

    def _fund(self, fields: dict[str, Any]) -> None:
        asset, amount = fields.get("asset"), self._number(fields.get("amount"))
        if not isinstance(asset, str) or asset not in self._exchange.ledger.balances(ACCOUNT):
            raise self._refuse("asset is one of the account's")
        self._exchange.ledger.deposit(ACCOUNT, asset, amount)

    def _disconnect(self, fields: dict[str, Any]) -> None:
        code = fields.get("code", 1001)
        if type(code) is not int or not 1000 <= code <= 4999:
            raise self._refuse("code must be one of a close frame, 1000 to 4999")
        self._lines.end_all(code)

    def _number(self, raw: object) -> Decimal:
        try:
            value = Decimal(str(raw))
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite():
            raise self._refuse("expected a number as text")
        return value
