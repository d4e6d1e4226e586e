"""Trades and positions: closed on request or by force, given exits, told what they are called.

Owns those requests and their answers.  A close is a market order whose trades are named beforehand; executions are
``fills``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.desk import Desk, guarantee_problem
from connectors.oanda.sandbox.errors import ApiError, Json, Rejection, invalid, sentence
from connectors.oanda.sandbox.fills import Want
from connectors.oanda.sandbox.market import Market
from connectors.oanda.sandbox.records import Order, OrderSpec, Trade, plain
from connectors.oanda.sandbox.requests import OrderReader, exit_order, extensions
from engine.events import Side

_DEPENDENT = {
    "takeProfit": ("TAKE_PROFIT", "takeProfitOrder"),
    "stopLoss": ("STOP_LOSS", "stopLossOrder"),
    "trailingStopLoss": ("TRAILING_STOP_LOSS", "trailingStopLossOrder"),
    "guaranteedStopLoss": ("GUARANTEED_STOP_LOSS", "guaranteedStopLossOrder"),
}


class Closing:
    """The caller has begun a batch for each request."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # --- trades -------------------------------------------------------------------------------------------------------

    def trade(self, account: Account, which: str, body: Mapping[str, Any], now_ns: int) -> Json:
        """Answer of PUT trades/{spec}/close: ``units`` are ALL or a part, unsigned."""
        asked = str(body.get("units", "ALL"))
        try:
            trade = account.find_trade(which, closed=False)
        except ApiError:
            raise self._reject(
                account, {"tradeClose": _named(which, asked)}, "TRADE_DOESNT_EXIST", 404, now_ns
            ) from None
        close = {"tradeID": trade.id, "units": asked}
        market = self._desk.markets.by_name[trade.instrument]
        units = abs(trade.units)
        if asked != "ALL":
            units = _units(asked, "units")
            reason = _units_problem(units, abs(trade.units), market)
            if reason == "TOO_MANY":
                reason = "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE"
            if reason:
                raise self._reject(account, {"tradeClose": close}, reason, 400, now_ns)
        signed = units if trade.units < 0 else -units
        order, created = self._market_order(account, market, signed, "TRADE_CLOSE", {"tradeClose": close}, now_ns)
        made: Json = {"orderCreateTransaction": created}
        if account.settings.fifo and not account.settings.hedging and _older_twin(account, trade):
            made["orderCancelTransaction"] = self._desk.fills.cancel(account, order, "FIFO_VIOLATION", now_ns)
        else:
            want = Want(signed, "MARKET_ORDER_TRADE_CLOSE", closing=(trade,))
            made |= self._desk.execute(account, order, want, now_ns)
            # A halted market closes it later in the venue's own time: not here, the request has been answered.
        return _answer(account, made)

    def extend_trade(self, account: Account, which: str, body: Mapping[str, Any], now_ns: int) -> Json:
        """Answer of PUT trades/{spec}/clientExtensions."""
        name = {"clientTradeID": which[1:]} if which.startswith("@") else {"tradeID": which}
        kind = "TRADE_CLIENT_EXTENSIONS_MODIFY"
        reason, status = "", 400
        modify: Json = {}
        trade: Trade | None = None
        if not body.get("clientExtensions"):
            raise ApiError(400, "clientExtensions missing", "CLIENT_EXTENSIONS_DATA_MISSING")
        try:
            trade = account.find_trade(which, closed=False)
            modify = extensions(body["clientExtensions"], "clientExtensions", "CLIENT_TRADE")
        except ApiError as missing:
            if missing.status != 404:
                raise
            reason, status = "TRADE_DOESNT_EXIST", 404
        except Rejection as rejection:
            reason = rejection.reason
        if reason or trade is None:
            made = account.log.add(f"{kind}_REJECT", now_ns, {**name, "rejectReason": reason})
            answer = _answer(account, {"tradeClientExtensionsModifyRejectTransaction": made})
            raise ApiError(status, sentence(reason), reason, **answer)
        trade.extensions = {**(trade.extensions or {}), **modify}
        members = {"tradeID": trade.id, "clientTradeID": trade.client_id or None}
        made = account.log.add(kind, now_ns, {**members, "tradeClientExtensionsModify": modify})
        return _answer(account, {"tradeClientExtensionsModifyTransaction": made})

    def exits(self, account: Account, which: str, body: Mapping[str, Any], now_ns: int) -> Json:
        """Answer of PUT trades/{spec}/orders: an object makes or replaces an exit, null cancels it."""
        trade = account.find_trade(which, closed=False)
        market = self._desk.markets.by_name[trade.instrument]
        reader = OrderReader(account, self._desk.markets, self._desk.settings.switches, now_ns)
        specs = {}
        for name, (kind, key) in _DEPENDENT.items():
            if body.get(name) is None:
                continue
            if not isinstance(body[name], dict):
                raise invalid(name)
            try:
                specs[kind] = reader.exit(body[name], kind, market)
                if kind == "GUARANTEED_STOP_LOSS" and (reason := guarantee_problem(market, specs[kind].px)):
                    raise Rejection(reason)
            except Rejection as rejection:
                echo = {"tradeID": trade.id, **body[name], "reason": "CLIENT_ORDER"}
                members = {**echo, "rejectReason": rejection.reason}
                rejected = account.log.add(f"{kind}_ORDER_REJECT", now_ns, members)
                answer = _answer(account, {f"{key}RejectTransaction": rejected})
                raise ApiError(400, sentence(rejection.reason), rejection.reason, **answer) from None
        made: Json = {}
        for name, (kind, key) in _DEPENDENT.items():
            if name not in body:
                continue
            old = trade.exits.get(kind)
            spec = specs.get(kind)
            links: Json = {}
            if old is not None:
                reason = "CLIENT_REQUEST" if spec is None else "CLIENT_REQUEST_REPLACED"
                heir = {} if spec is None else {"replacedByOrderID": str(account.log.last + 2)}
                cancelled = self._desk.fills.cancel(account, old, reason, now_ns, heir)
                made[f"{key}CancelTransaction"] = cancelled
                links = {"replacesOrderID": old.id, "cancellingTransactionID": cancelled["id"]}
            if spec is not None and trade.state == "OPEN":
                reason = "REPLACEMENT" if old is not None else "CLIENT_ORDER"
                opened = self._desk.open_exit(account, exit_order(spec, trade), reason, now_ns, links)
                made[f"{key}Transaction"] = opened.pop("orderCreateTransaction")
                if "orderFillTransaction" in opened:
                    made[f"{key}FillTransaction"] = opened["orderFillTransaction"]
        return _answer(account, made)

    # --- positions ----------------------------------------------------------------------------------------------------

    def position(self, account: Account, instrument: str, body: Mapping[str, Any], now_ns: int) -> Json:
        """Answer of PUT positions/{instrument}/close."""
        market = self._desk.markets.by_name.get(instrument)
        if market is None:
            raise invalid("instrument")
        asked = {"long": str(body.get("longUnits", "NONE")), "short": str(body.get("shortUnits", "NONE"))}
        if not body or (asked["long"] == "NONE" and asked["short"] == "NONE"):
            asked = {"long": "ALL", "short": "ALL"} if not body else asked
            if body:
                self._refuse(account, market, asked, "CLOSEOUT_POSITION_INCOMPLETE_SPECIFICATION", 400, now_ns)
        sides = dict(zip(("long", "short"), account.units_of(instrument), strict=True))
        if not sides["long"] and not sides["short"]:
            self._refuse(account, market, asked, "CLOSEOUT_POSITION_DOESNT_EXIST", 404, now_ns)
        wanted: dict[str, Decimal] = {}
        for side, text in asked.items():
            if text == "NONE" or (not body and not sides[side]):
                continue
            there = sides[side]
            if not there:
                self._refuse(account, market, {side: text}, "CLOSEOUT_POSITION_DOESNT_EXIST", 400, now_ns)
            wanted[side] = there if text == "ALL" else _units(text, f"{side}Units")
            reason = _units_problem(wanted[side], there, market)
            if reason == "TOO_MANY":
                reason = "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE"
            if reason:
                self._refuse(account, market, {side: text}, reason, 400, now_ns)
        made: Json = {}
        for side, units in wanted.items():
            made |= self._close_side(account, market, side, units, asked[side], body, now_ns)
        return _answer(account, made)

    def _close_side(
        self,
        account: Account,
        market: Market,
        side: str,
        units: Decimal,
        text: str,
        body: Mapping[str, Any],
        now_ns: int,
    ) -> Json:
        long = side == "long"
        trades = tuple(account.trades_of(market.rules.name, Side.BUY if long else Side.SELL))
        signed = -units if long else units
        members: Json = {f"{side}PositionCloseout": {"instrument": market.rules.name, "units": text}}
        named = body.get(f"{side}ClientExtensions")
        if named and self._desk.settings.switches.closeout_extensions:
            try:
                members["clientExtensions"] = extensions(named, f"{side}ClientExtensions", "CLIENT_ORDER")
            except Rejection as rejection:
                self._refuse(account, market, {side: text}, rejection.reason, 400, now_ns)
        order, created = self._market_order(account, market, signed, "POSITION_CLOSEOUT", members, now_ns)
        want = Want(signed, "MARKET_ORDER_POSITION_CLOSEOUT", closing=trades)
        done = self._desk.execute(account, order, want, now_ns)
        return {f"{side}OrderCreateTransaction": created} | {
            f"{side}O{name[1:]}": transaction for name, transaction in done.items()
        }

    def _refuse(
        self, account: Account, market: Market, asked: dict[str, str], reason: str, status: int, now_ns: int
    ) -> None:
        made: Json = {}
        for side, text in asked.items():
            if text == "NONE" and len(asked) > 1 and reason.endswith("DOESNT_EXIST"):
                continue
            closeout = {f"{side}PositionCloseout": {"instrument": market.rules.name, "units": text}}
            members = {
                "instrument": market.rules.name,
                "reason": "POSITION_CLOSEOUT",
                **closeout,
                "rejectReason": reason,
            }
            made[f"{side}OrderRejectTransaction"] = account.log.add("MARKET_ORDER_REJECT", now_ns, members)
        raise ApiError(status, sentence(reason), reason, **_answer(account, made))

    # --- by force -----------------------------------------------------------------------------------------------------

    def margin_closeout(self, account: Account, now_ns: int) -> None:
        """Every trade that its market lets close is closed, the oldest first."""
        for trade in list(account.open_trades.values()):
            market = self._desk.markets.by_name[trade.instrument]
            if not market.is_open(now_ns) or market.available(trade.side.opposite) < abs(trade.units):
                continue
            account.log.begin("")
            signed = -trade.units
            closeout = {"marginCloseout": {"reason": "MARGIN_CHECK_VIOLATION"}}
            order, _ = self._market_order(account, market, signed, "MARGIN_CLOSEOUT", closeout, now_ns)
            want = Want(signed, "MARKET_ORDER_MARGIN_CLOSEOUT", closing=(trade,))
            self._desk.execute(account, order, want, now_ns)

    # --- inside -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _market_order(
        account: Account, market: Market, units: Decimal, reason: str, members: Json, now_ns: int
    ) -> tuple[Order, Json]:
        fields: Json = {
            "instrument": market.rules.name,
            "units": plain(units),
            "timeInForce": "FOK",
            "positionFill": "REDUCE_ONLY",
            **members,
        }
        created = account.log.add("MARKET_ORDER", now_ns, {**fields, "reason": reason})
        client_id = str((members.get("clientExtensions") or {}).get("id", ""))
        order = Order(
            account.log.last, OrderSpec("MARKET", market.rules.name, fields, "FOK", units, client_id=client_id), now_ns
        )
        account.orders[order.number] = order
        return order, created

    @staticmethod
    def _reject(account: Account, members: Json, reason: str, status: int, now_ns: int) -> ApiError:
        made = account.log.add(
            "MARKET_ORDER_REJECT", now_ns, {**members, "reason": "TRADE_CLOSE", "rejectReason": reason}
        )
        return ApiError(status, sentence(reason), reason, **_answer(account, {"orderRejectTransaction": made}))


def _named(which: str, units: str) -> Json:
    return {"clientTradeID" if which.startswith("@") else "tradeID": which.removeprefix("@"), "units": units}


def _units(text: str, field: str) -> Decimal:
    try:
        units = Decimal(text)
    except InvalidOperation:
        raise invalid(field) from None
    if not units.is_finite() or len(text) > 40:
        raise invalid(field)
    return units


def _units_problem(units: Decimal, there: Decimal, market: Market) -> str:
    if units <= 0:
        return "UNITS_INVALID"
    if units % market.rules.lot_qty:
        return "UNITS_PRECISION_EXCEEDED"
    return "TOO_MANY" if units > there else ""


def _older_twin(account: Account, trade: Trade) -> bool:
    """Whether an older open trade of the same size and side would have to be closed first."""
    return any(
        older.number < trade.number and older.units == trade.units for older in account.trades_of(trade.instrument)
    )


def _answer(account: Account, members: Json) -> Json:
    return {**members, "relatedTransactionIDs": list(account.log.made), "lastTransactionID": str(account.log.last)}
