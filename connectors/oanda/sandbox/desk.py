"""Orders of one account at the dealer's desk: taken, replaced, cancelled, triggered by quotes, expired.

Owns what happens to an order and in which words it is answered.  Executions are ``fills``, closing trades and positions
is ``closing``.  Pure: time and request ids are given.

Pending orders are triggers on quotes.  Entries look at the price that they would trade at (``DEFAULT``), unless they
say otherwise; a limit order never trades beyond its price, a stop and a market-if-touched order are market orders once
they are reached.  A limit order that the market cannot fill whole is filled in part, and what is left goes on under a
new number; an exit waits until its trade can be closed whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import ApiError, Json, Rejection, sentence
from connectors.oanda.sandbox.fills import Fills, Want, expiry
from connectors.oanda.sandbox.market import Market, Markets, Quote
from connectors.oanda.sandbox.records import ExitSpec, Order, OrderSpec, Trade, plain
from connectors.oanda.sandbox.requests import OrderReader, Refused, extensions
from connectors.oanda.sandbox.settings import SandboxSettings
from engine.events import Side

_IMMEDIATE = frozenset({"FOK", "IOC"})


class Desk:
    """Every public call is one request, or one thing that time or the market did, and makes one batch."""

    def __init__(self, settings: SandboxSettings, markets: Markets) -> None:
        self.settings = settings
        self.markets = markets
        self.fills = Fills(settings, markets)

    # --- requests -----------------------------------------------------------------------------------------------------

    def place(self, account: Account, body: Mapping[str, Any], now_ns: int) -> Json:
        """Answer (201) of POST orders.  Raises ``ApiError``."""
        reader = OrderReader(account, self.markets, self.settings.switches, now_ns)
        try:
            spec = reader.order(body)
            self._check_now(account, spec)
        except Refused as refused:
            raise self._reject(account, refused, {"reason": "CLIENT_ORDER"}, now_ns) from None
        return self._answer(account, self._open(account, spec, "CLIENT_ORDER", now_ns))

    def replace(self, account: Account, which: str, body: Mapping[str, Any], now_ns: int) -> Json:
        """Answer (201) of PUT orders/{spec}: the old one goes, the new one has another number."""
        old = self._pending(account, which, now_ns)
        reader = OrderReader(account, self.markets, self.settings.switches, now_ns)
        raw = body.get("order")
        attached = account.trades.get(old.spec.trade_id or 0)
        if attached is not None:
            attached.exits.pop(old.spec.kind, None)  # so that its successor is not one too many
        try:
            if isinstance(raw, dict) and raw.get("type", old.spec.kind) != old.spec.kind:
                raise Refused(Rejection("REPLACING_ORDER_INVALID"), old.spec.kind, {})
            spec = reader.order(body)
            if spec.trade_id != old.spec.trade_id:
                raise Refused(Rejection("REPLACING_TRADE_ID_INVALID"), spec.kind, spec.fields)
            if spec.trade_id is None and spec.instrument != old.spec.instrument:
                raise Refused(Rejection("REPLACING_ORDER_INVALID"), spec.kind, spec.fields)
            self._check_now(account, spec)
        except Refused as refused:
            members = {"reason": "REPLACEMENT", "intendedReplacesOrderID": old.id}
            raise self._reject(account, refused, members, now_ns) from None
        finally:
            if attached is not None:
                attached.exits[old.spec.kind] = old
        if self.settings.switches.carry_extensions and "clientExtensions" in old.spec.fields:
            kept = {"clientExtensions": old.spec.fields["clientExtensions"], **spec.fields}
            spec = msgspec.structs.replace(spec, fields=kept, client_id=spec.client_id or old.spec.client_id)
        successor = {"replacedByOrderID": str(account.log.last + 2)}
        cancelled = self.fills.cancel(account, old, "CLIENT_REQUEST_REPLACED", now_ns, successor)
        links = {"replacesOrderID": old.id, "cancellingTransactionID": cancelled["id"]}
        made = self._open(account, spec, "REPLACEMENT", now_ns, links)
        if "orderCancelTransaction" in made:
            made["replacingOrderCancelTransaction"] = made.pop("orderCancelTransaction")
        return self._answer(account, {"orderCancelTransaction": cancelled, **made})

    def cancel(self, account: Account, which: str, now_ns: int) -> Json:
        """Answer of PUT orders/{spec}/cancel."""
        order = self._pending(account, which, now_ns)
        return self._answer(
            account, {"orderCancelTransaction": self.fills.cancel(account, order, "CLIENT_REQUEST", now_ns)}
        )

    def extend(self, account: Account, which: str, body: Mapping[str, Any], now_ns: int) -> Json:
        """Answer of PUT orders/{spec}/clientExtensions."""
        kinds = ("clientExtensions", "tradeClientExtensions")
        if not any(body.get(name) for name in kinds):
            raise ApiError(400, "clientExtensions missing", "CLIENT_EXTENSIONS_DATA_MISSING")
        order = self._find(account, which)
        if order is None:
            raise self._no_such_order(account, which, "ORDER_CLIENT_EXTENSIONS_MODIFY_REJECT", now_ns)
        modify: Json = {}
        try:
            for name, reason in zip(kinds, ("CLIENT_ORDER", "CLIENT_TRADE"), strict=True):
                if body.get(name) is not None:
                    modify[name] = extensions(body[name], name, reason)
        except Rejection as rejection:
            raise ApiError(400, sentence(rejection.reason), rejection.reason) from None
        fields = {name: {**order.spec.fields.get(name, {}), **changed} for name, changed in modify.items()}
        client_id = str(fields.get("clientExtensions", {}).get("id", order.spec.client_id))
        order.spec = msgspec.structs.replace(order.spec, fields={**order.spec.fields, **fields}, client_id=client_id)
        members = {"orderID": order.id, "clientOrderID": client_id or None}
        members |= {f"{name}Modify": changed for name, changed in modify.items()}
        made = account.log.add("ORDER_CLIENT_EXTENSIONS_MODIFY", now_ns, members)
        return self._answer(account, {"orderClientExtensionsModifyTransaction": made})

    # --- what requests share ------------------------------------------------------------------------------------------

    def _find(self, account: Account, which: str) -> Order | None:
        try:
            return account.find_order(which, finished=False)
        except ApiError:
            return None

    def _pending(self, account: Account, which: str, now_ns: int) -> Order:
        """An open order to cancel or replace.  Raises ``ApiError`` 404 after its reject transaction."""
        order = self._find(account, which)
        if order is None:
            raise self._no_such_order(account, which, "ORDER_CANCEL_REJECT", now_ns)
        return order

    def _no_such_order(self, account: Account, which: str, kind: str, now_ns: int) -> ApiError:
        name = {"clientOrderID": which[1:]} if which.startswith("@") else {"orderID": which}
        reason = "ORDER_DOESNT_EXIST"
        made = account.log.add(kind, now_ns, {**name, "rejectReason": reason})
        key = "orderClientExtensionsModifyRejectTransaction"
        if kind == "ORDER_CANCEL_REJECT":
            key = "orderCancelRejectTransaction"
        return ApiError(404, "The order ID specified does not exist", reason, **self._answer(account, {key: made}))

    def _check_now(self, account: Account, spec: OrderSpec) -> None:
        """What is wrong with a valid order now: no room, or a guarantee too near to the market.  Raises ``Refused``."""
        reason = ""
        if spec.kind != "MARKET" and len(account.pending) >= self.settings.max_pending:
            reason = "PENDING_ORDERS_ALLOWED_EXCEEDED"
        elif spec.kind == "GUARANTEED_STOP_LOSS":
            reason = guarantee_problem(self.markets.by_name[spec.instrument], spec.px)
        if reason:
            raise Refused(Rejection(reason), spec.kind, spec.fields)

    def _reject(self, account: Account, refused: Refused, members: Json, now_ns: int) -> ApiError:
        reason = refused.rejection.reason
        echo = {**refused.echo, **members, "rejectReason": reason}
        made = account.log.add(f"{refused.kind}_ORDER_REJECT", now_ns, echo)
        answer = self._answer(account, {"orderRejectTransaction": made})
        return ApiError(refused.rejection.status, sentence(reason), reason, **answer)

    @staticmethod
    def _answer(account: Account, members: Json) -> Json:
        return {
            **members,
            "relatedTransactionIDs": list(account.log.made),
            "lastTransactionID": str(account.log.last),
        }

    # --- life of an order ---------------------------------------------------------------------------------------------

    def _open(self, account: Account, spec: OrderSpec, reason: str, now_ns: int, members: Json | None = None) -> Json:
        """Make the order; it executes, dies or rests.  The members of the answer."""
        if spec.trade_id is not None:
            return self.open_exit(account, spec, reason, now_ns, members)
        created = account.log.add(f"{spec.kind}_ORDER", now_ns, {**spec.fields, "reason": reason, **(members or {})})
        order = Order(account.log.last, spec, now_ns)
        order.outcome = {name: value for name, value in (members or {}).items() if name == "replacesOrderID"}
        account.orders[order.number] = order
        made: Json = {"orderCreateTransaction": created}
        if spec.kind == "MARKET":
            want = Want(spec.units or Decimal(0), "MARKET_ORDER", spec.bound, spec.time_in_force == "FOK")
            return made | self.execute(account, order, want, now_ns)
        account.pending[order.number] = order
        order.expires_ns = expiry(spec.time_in_force, spec.gtd_ns, now_ns)
        market = self.markets.by_name[spec.instrument]
        if market.quote is not None and spec.kind == "MARKET_IF_TOUCHED" and spec.px is not None:
            order.wants_up = spec.px > _watched(order, market.quote, _side(spec))
            touch = market.quote.ask if _side(spec) is Side.BUY else market.quote.bid
            spec.fields["initialMarketPrice"] = f"{touch:f}"
        made |= self._look(account, order, market, now_ns)
        if order.state == "PENDING" and spec.time_in_force in _IMMEDIATE:
            made["orderCancelTransaction"] = self.fills.cancel(account, order, "TIME_IN_FORCE_EXPIRED", now_ns)
        return made

    def open_exit(self, account: Account, spec: OrderSpec, reason: str, now_ns: int, members: Json | None) -> Json:
        """A trade's exit rests, or acts at once; the members of the answer."""
        trade = account.open_trades[spec.trade_id or 0]
        created = self._attach(account, trade, spec, reason, now_ns, members)
        order = trade.exits[spec.kind]
        order.outcome = {name: value for name, value in (members or {}).items() if name == "replacesOrderID"}
        return {"orderCreateTransaction": created} | self._look(
            account, order, self.markets.by_name[spec.instrument], now_ns
        )

    def _attach(
        self, account: Account, trade: Trade, spec: OrderSpec, reason: str, now_ns: int, members: Json | None = None
    ) -> Json:
        """An exit order from a request of its own."""
        fields = {name: value for name, value in spec.fields.items() if name not in {"tradeID", "clientTradeID"}}
        exit_spec = ExitSpec(spec.kind, spec.px, spec.distance, spec.time_in_force, spec.gtd_ns, fields)
        return self.fills.attach(account, trade, exit_spec, reason, now_ns, members)

    def execute(self, account: Account, order: Order, want: Want, now_ns: int) -> Json:
        """Execute now or cancel: a member of the answer, ``orderFillTransaction`` or ``orderCancelTransaction``."""
        done = self.fills.execute(account, order, want, now_ns)
        if isinstance(done, str):
            return {"orderCancelTransaction": self.fills.cancel(account, order, done, now_ns)}
        return {"orderFillTransaction": done}

    # --- the market moves ---------------------------------------------------------------------------------------------

    def on_quote(self, account: Account, market: Market, now_ns: int) -> bool:
        """Look at every open order of an instrument; True when any acted.  Each that acts is a batch of its own."""
        acted = False
        for order in list(account.pending.values()):
            if order.spec.instrument == market.rules.name and order.state == "PENDING":
                account.log.begin("")
                acted = bool(self._look(account, order, market, now_ns)) or acted
        return acted

    def expire(self, account: Account, now_ns: int) -> None:
        """Orders whose time is up go, the earliest first."""
        due = [each for each in account.pending.values() if each.expires_ns is not None and each.expires_ns <= now_ns]
        for order in sorted(due, key=lambda each: (each.expires_ns or 0, each.number)):
            if order.state == "PENDING":
                account.log.begin("")
                self.fills.cancel(account, order, "TIME_IN_FORCE_EXPIRED", now_ns)

    def _look(self, account: Account, order: Order, market: Market, now_ns: int) -> Json:
        """Whether the quote has reached an order, and what comes of it; nothing while it waits."""
        quote = market.quote
        if quote is None or not market.is_open(now_ns):
            return {}
        spec = order.spec
        if spec.trade_id is not None:
            return self._look_exit(account, order, market, quote, now_ns)
        side = _side(spec)
        assert spec.px is not None
        assert spec.units is not None
        seen = _watched(order, quote, side)
        if spec.kind == "LIMIT":
            due = seen <= spec.px if side is Side.BUY else seen >= spec.px
            return self._limit(account, order, market, side, now_ns) if due else {}
        if spec.kind == "STOP":
            due = seen >= spec.px if side is Side.BUY else seen <= spec.px
        else:
            due = seen >= spec.px if order.wants_up else seen <= spec.px
        if not due:
            return {}
        order.state = "TRIGGERED"
        return self.execute(account, order, Want(spec.units, f"{spec.kind}_ORDER", spec.bound), now_ns)

    def _limit(self, account: Account, order: Order, market: Market, side: Side, now_ns: int) -> Json:
        spec = order.spec
        assert spec.units is not None
        there = market.available(side, spec.px)
        resting = spec.time_in_force not in _IMMEDIATE
        short = there < abs(spec.units)
        if resting and short and (not there or self.settings.switches.partial_limits == "whole"):
            return {}  # its trigger looks at another price than it trades at, or it waits for all of it
        whole = not resting and spec.time_in_force == "FOK"
        made = self.execute(account, order, Want(spec.units, "LIMIT_ORDER", spec.px, whole), now_ns)
        fill = made.get("orderFillTransaction")
        if fill is None or not resting or not short:
            return made
        left = spec.units - Decimal(str(fill["units"]))
        if spec.position_fill == "REDUCE_ONLY" or not left:
            return made
        rest = msgspec.structs.replace(spec, units=left, fields={**spec.fields, "units": plain(left)})
        links = {"replacesOrderID": order.id}
        reissue = account.log.add("LIMIT_ORDER", now_ns, {**rest.fields, "reason": "REPLACEMENT", **links})
        successor = Order(account.log.last, rest, now_ns, outcome=links, expires_ns=order.expires_ns)
        account.orders[successor.number] = account.pending[successor.number] = successor
        order.outcome["replacedByOrderID"] = successor.id
        return made | {"orderReissueTransaction": reissue}

    def _look_exit(self, account: Account, order: Order, market: Market, quote: Quote, now_ns: int) -> Json:
        trade = account.open_trades[order.spec.trade_id or 0]
        side = trade.side.opposite
        seen = _watched(order, quote, side)
        spec = order.spec
        if order.trailing_px is not None and spec.distance is not None:
            best = seen + side * spec.distance
            order.trailing_px = max(order.trailing_px, best) if trade.side is Side.BUY else min(order.trailing_px, best)
        px = order.trailing_px if order.trailing_px is not None else spec.px
        assert px is not None
        if spec.kind == "TAKE_PROFIT":
            due = seen <= px if side is Side.BUY else seen >= px
        else:
            due = seen >= px if side is Side.BUY else seen <= px
        if not due:
            return {}
        limit_px = px if spec.kind == "TAKE_PROFIT" else None
        fixed_px = px if spec.kind == "GUARANTEED_STOP_LOSS" else None
        if fixed_px is None and market.available(side, limit_px) < abs(trade.units):
            return {}
        want = Want(-trade.units, f"{spec.kind}_ORDER", limit_px, closing=(trade,), fixed_px=fixed_px)
        return self.execute(account, order, want, now_ns)


def guarantee_problem(market: Market, px: Decimal | None) -> str:
    """Why a stop-loss at ``px`` is not guaranteed now; empty where it is."""
    if market.quote is None or not market.tradeable:
        return "STOP_LOSS_ORDER_GUARANTEED_HALTED_CREATE_VIOLATION"
    if px is not None and abs(market.quote.mid - px) < market.rules.guaranteed_distance:
        return "STOP_LOSS_ORDER_GUARANTEED_MINIMUM_DISTANCE_NOT_MET"
    return ""


def _side(spec: OrderSpec) -> Side:
    return Side.BUY if (spec.units or 0) > 0 else Side.SELL


def _watched(order: Order, quote: Quote, side: Side) -> Decimal:
    """The price that triggers an order which would trade on this side."""
    condition = order.spec.trigger
    if condition == "MID":
        return quote.mid
    if condition == "INVERSE":
        side = side.opposite
    elif condition in {"BID", "ASK"}:
        side = Side.BUY if condition == "ASK" else Side.SELL
    return quote.ask if side is Side.BUY else quote.bid
