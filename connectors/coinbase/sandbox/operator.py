"""What the venue's own people do to it: keys expire, products change their rules, halt, go; answers and streams break.

Owns the requests of ``POST /sandbox/operator`` and nothing of their effect: keys are ``auth``, products ``exchange``,
streams ``stream``, answers ``faults``.  The venue has no such path; a sandbox answers it to its own machine alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from connectors.coinbase.sandbox import wire
from connectors.coinbase.sandbox.auth import ApiKey, Verifier
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.records import Market
from connectors.coinbase.sandbox.stream import Hub
from connectors.coinbase.sandbox.times import BadRequest
from connectors.local.faults import FaultScript
from connectors.matching.orders import BookOrder
from engine.commands import OrderType, TimeInForce
from engine.events import Side

OPERATOR_PATH = "/sandbox/operator"
_PERMISSIONS = frozenset({"can_view", "can_trade", "can_transfer"})
_WITHHELD_MAX = 100
_SWITCHES = frozenset({"trading_disabled", "cancel_only", "limit_only", "post_only", "listed"})
_RULES = frozenset(
    {"price_increment", "base_increment", "quote_increment", "base_min_size", "base_max_size", "quote_min_size"}
)


class Operator:
    """``act`` takes one of

    - ``{"act":"expire_key"}``, ``{"act":"restore_key"}``: the key named by ``key``, by default the only one;
    - ``{"act":"permit","can_trade":false}``: what that key may do;
    - ``{"act":"product","product_id":"BTC-USD","cancel_only":true,"status":"offline","price_increment":"0.1"}``:
      switches and rules of a product; with ``"listed":false`` it is gone;
    - ``{"act":"trade","product_id":"BTC-USD","side":"BUY","price":"61300","size":"2"}``: somebody else takes what there
      is up to a price, 10,000 units by default; with ``"rest":true`` what is left stays in the book;
    - ``{"act":"fund","product_id":"BIP-20DEC30-CDE","rate":"0.0001"}``: funding is paid now; as a product,
      ``"session_open":false`` closes a contract's trading session;
    - ``{"act":"answer","path":"/orders","status":503,"applied":true}``: answers go wrong (``faults.AnswerFault``);
      ``{"act":"answers"}`` forgets those that were not used;
    - ``{"act":"adjust","entry_id":"...","kind":"CORRECTION","price":"61300","size":"1"}``: an execution is taken back,
      set right (``"alone":true``: without an entry that takes it back) or added (``executions.Executions.adjust``);
    - ``{"act":"withhold","count":1}``: of the next executions nothing shows, in no order, list or balance, before
      ``{"act":"tell"}``; ``{"act":"repeat"}``: each execution is listed and each order's change told twice, with
      ``"on":false`` once again;
    - ``{"act":"disconnect","code":1011}``: streams end, by a close frame of that code, without one at 1006;
    - ``{"act":"gap"}``: each stream loses one message; ``{"act":"mute"}``: streams answer nothing any more, no ping.
    """

    def __init__(
        self, exchange: Exchange, hub: Hub, verifier: Verifier, faults: FaultScript, now_ns: Callable[[], int]
    ) -> None:
        self._exchange = exchange
        self._hub = hub
        self._verifier = verifier
        self._faults = faults
        self._now_ns = now_ns
        self._expired: dict[str, ApiKey] = {}
        self._trades = 0
        self._acts: dict[str, Callable[[dict[str, Any]], object]] = {
            "product": self._product,
            "trade": self._trade,
            "fund": self._fund,
            "adjust": self._adjust,
            "withhold": self._withhold,
            "tell": self._tell,
            "repeat": self._repeat,
            "answer": faults.add,
            "answers": lambda _: faults.clear(),
            "disconnect": self._disconnect,
            "gap": lambda _: hub.lose_message(),
            "mute": lambda _: hub.mute(),
        }

    def act(self, body: Mapping[str, Any]) -> wire.Json:
        """Raises ``BadRequest`` for what is none of these."""
        name, fields = body.get("act"), {key: value for key, value in body.items() if key != "act"}
        act = self._acts.get(str(name))
        if act is not None:
            act(fields)
            return {"done": name}
        key = str(fields.pop("key", "") or self._only_key())
        if name == "expire_key" and not fields:
            found = self._verifier.remove(key)
            if found is not None:
                self._expired[key] = found
        elif name == "restore_key" and not fields:
            found = self._expired.pop(key, None)
            if found is not None:
                self._verifier.add(found)
        elif name == "permit" and fields.keys() <= _PERMISSIONS and all(type(v) is bool for v in fields.values()):
            try:
                self._verifier.permit(key, **fields)
            except KeyError:
                raise BadRequest("no such key") from None
        else:
            raise BadRequest("unknown act, or a field that it does not have")
        return {"done": name}

    def _only_key(self) -> str:
        names = {*self._verifier.names(), *self._expired}
        if len(names) != 1:
            raise BadRequest(f"there are {len(names)} keys: name one")
        return names.pop()

    def _market(self, fields: dict[str, Any]) -> Market:
        market = self._exchange.markets.get(str(fields.pop("product_id", "")))
        if market is None:
            raise BadRequest("unknown product_id")
        return market

    def _disconnect(self, fields: dict[str, Any]) -> None:
        code = fields.get("code", 1001)
        if type(code) is not int or not 1000 <= code <= 4999:
            raise BadRequest("code must be one of a close frame, 1000 to 4999")
        self._hub.disconnect_all(code)

    def _fund(self, fields: dict[str, Any]) -> None:
        """Funding now instead of at the next whole hour; ``rate`` may be below zero."""
        raw = str(fields.get("rate", ""))
        try:
            rate = Decimal(raw) if raw else None
        except InvalidOperation:
            raise BadRequest("rate must be a number") from None
        self._exchange.futures.fund(self._market(fields), self._now_ns(), rate)

    def _adjust(self, fields: dict[str, Any]) -> None:
        kind, alone = str(fields.get("kind", "")), fields.get("alone") is True
        px, qty = (_number(name, str(fields.get(name, "1"))) for name in ("price", "size"))
        executions = self._exchange.executions
        executions.adjust(str(fields.get("entry_id", "")), kind, self._now_ns(), px=px, qty=qty, alone=alone)
        self._hub.pump()

    def _withhold(self, fields: dict[str, Any]) -> None:
        count = fields.get("count", 1)
        if type(count) is not int or not 1 <= count <= _WITHHELD_MAX:
            raise BadRequest(f"count must be 1 to {_WITHHELD_MAX}")
        self._exchange.executions.withhold(count)

    def _tell(self, _: dict[str, Any]) -> None:
        self._exchange.executions.tell(self._now_ns())
        self._hub.pump()

    def _repeat(self, fields: dict[str, Any]) -> None:
        self._exchange.executions.is_listed_twice = self._hub.is_told_twice = fields.get("on") is not False

    def _trade(self, fields: dict[str, Any]) -> None:
        market, now_ns = self._market(fields), self._now_ns()
        if fields.get("side") not in {"BUY", "SELL"}:
            raise BadRequest("side must be BUY or SELL")
        size, px = _number("size", str(fields.get("size", "10000"))), _number("price", str(fields.get("price", "")))
        self._trades += 1
        in_force = TimeInForce.GTC if fields.get("rest") is True else TimeInForce.IOC
        side = Side[str(fields["side"])]
        order = BookOrder(f"~o{self._trades}", f"others-{self._trades}", side, OrderType.LIMIT, size, px, in_force)
        self._exchange.absorb(market, market.engine.submit(order, now_ns), now_ns)
        self._hub.pump()

    def _product(self, fields: dict[str, Any]) -> None:
        market = self._market(fields)
        changes: dict[str, Any] = {}
        for field, value in fields.items():
            if field in _SWITCHES and type(value) is bool:
                changes[field] = value
            elif field in _RULES and isinstance(value, str):
                changes[field] = _number(field, value)
            elif field == "status" and isinstance(value, str):
                changes[field] = value
            elif field == "session_open" and type(value) is bool and market.product.future is not None:
                changes["future"] = msgspec.structs.replace(market.product.future, session_open=value)
            else:
                raise BadRequest(f"{field} is no switch and no rule of a product, or not written as one")
        self._exchange.relist(msgspec.structs.replace(market.product, **changes), self._now_ns())
        self._hub.pump()
        self._hub.tell_status(market.product.product_id)


def _number(field: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not (value.is_finite() and value > 0):
        raise BadRequest(f"{field} must be a number above 0")
    return value
