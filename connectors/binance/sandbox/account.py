"""Requests about the account, over REST or the WebSocket API: orders placed, cancelled, replaced, listed; balances.

Owns their parameters and answers.  What an order then does is ``connectors.local.exchange``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from connectors.binance.sandbox import views
from connectors.binance.sandbox.errors import (
    ApiError,
    Json,
    duplicate_order,
    illegal,
    missing,
    no_such_order,
    not_needed,
    refusal,
    unknown_order,
)
from connectors.binance.sandbox.params import Params, amount, integer
from connectors.binance.sandbox.queries import Queries
from connectors.binance.sandbox.settings import BinanceSettings
from connectors.binance.sandbox.wire import ORDER_TYPES
from connectors.local.exchange import ACCOUNT, Exchange
from connectors.local.records import Market, OrderRecord, OrderSpec, Refused
from connectors.local.settings import ZERO
from engine.commands import OrderType, TimeInForce
from engine.events import Side

_CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_.:/]{1,36}")
_MS_NS = 1_000_000
_DAY_MS = 86_400_000
_KINDS = {
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "MARKET": OrderType.MARKET,
    "STOP_LOSS": OrderType.STOP,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.STOP,
    "TAKE_PROFIT_LIMIT": OrderType.STOP_LIMIT,
}
_IN_FORCE = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}
_WITH_TIME = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
_RESPONSES = frozenset({"ACK", "RESULT", "FULL"})


class Account:
    """``new_id`` makes client ids for orders without one."""

    def __init__(
        self, settings: BinanceSettings, exchange: Exchange, queries: Queries, new_id: Callable[[], str]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._queries = queries
        self._new_id = new_id
        self.orders_received = 0

    # --- orders -------------------------------------------------------------------------------------------------------

    def place(self, params: Params, now_ns: int) -> Json:
        self.orders_received += 1
        spec, kind = self._spec(params), self._response(params)
        self._check_unique(spec)
        try:
            record = self._exchange.place(spec, now_ns)
        except Refused as why:
            raise refusal(why) from None
        return views.placed(record, self._exchange.fills_of.get(record.number, ()), kind)

    def test(self, params: Params, now_ns: int) -> Json:
        """As ``place``, and nothing comes of it."""
        spec = self._spec(params)
        try:
            self._exchange.check(spec, now_ns)
        except Refused as why:
            raise refusal(why) from None
        return {}

    def cancel(self, params: Params, now_ns: int) -> Json:
        record = self._find(params, unknown_order)
        if not self._exchange.cancel(record, now_ns):
            raise unknown_order()
        return views.cancelled(record, params.get("newClientOrderId") or self._new_id())

    def cancel_all(self, params: Params, now_ns: int) -> list[Json]:
        market = self._queries.market(params)
        mine = self._open_of(market)
        if not mine:
            raise unknown_order()
        cancel_id = self._new_id()
        return [views.cancelled(record, cancel_id) for record in mine if self._exchange.cancel(record, now_ns)]

    def cancel_replace(self, params: Params, now_ns: int) -> Json:
        """One order goes and another comes; ``STOP_ON_FAILURE``: only if the first went."""
        mode = params.get("cancelReplaceMode", "")
        if mode not in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
            raise missing("cancelReplaceMode")
        self._spec(params)  # what cannot be read is refused before anything goes
        result: Json = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None}
        named = {
            "orderId": params.get("cancelOrderId", ""),
            "origClientOrderId": params.get("cancelOrigClientOrderId", ""),
        }
        try:
            result["cancelResponse"] = self.cancel(
                {"symbol": params.get("symbol", ""), **{name: value for name, value in named.items() if value}}, now_ns
            )
        except ApiError as error:
            result |= {"cancelResult": "FAILURE", "cancelResponse": error.body()}
        if result["cancelResult"] == "SUCCESS" or mode == "ALLOW_FAILURE":
            try:
                result |= {"newOrderResponse": self.place(params, now_ns), "newOrderResult": "SUCCESS"}
            except ApiError as error:
                result |= {"newOrderResponse": error.body(), "newOrderResult": "FAILURE"}
        outcomes = (result["cancelResult"], result["newOrderResult"])
        if outcomes == ("SUCCESS", "SUCCESS"):
            return result
        if "SUCCESS" in outcomes:
            raise ApiError(-2021, "Order cancel-replace partially failed.", 409, data=result)
        raise ApiError(-2022, "Order cancel-replace failed.", data=result)

    def order(self, params: Params, _: int) -> Json:
        return views.order(self._find(params, no_such_order))

    def open_orders(self, params: Params, _: int) -> list[Json]:
        if "symbol" in params:
            return [views.order(record) for record in self._open_of(self._queries.market(params))]
        return [views.order(record) for record in self._exchange.open_orders.values()]

    def all_orders(self, params: Params, _: int) -> list[Json]:
        """Of a symbol, oldest first: from a number on, or of a window of at most a day, or the newest."""
        symbol, limit = self._queries.market(params).product.symbol, min(integer(params, "limit", 500, low=1), 1_000)
        from_ms, to_ms = _window(params)
        first = integer(params, "orderId", 0)
        found = [
            record
            for record in self._exchange.orders.values()
            if record.spec.symbol == symbol
            and record.number >= first
            and from_ms <= record.created_ns // _MS_NS <= to_ms
        ]
        from_there = "orderId" in params or "startTime" in params
        return [views.order(record) for record in (found[:limit] if from_there else found[-limit:])]

    def my_trades(self, params: Params, _: int) -> list[Json]:
        symbol, limit = self._queries.market(params).product.symbol, min(integer(params, "limit", 500, low=1), 1_000)
        from_ms, to_ms = _window(params)
        first, order = integer(params, "fromId", 0), integer(params, "orderId", 0)
        found = [
            fill
            for fill in (self._exchange.fills_of.get(order, ()) if order else self._exchange.fills)
            if fill.order.spec.symbol == symbol and fill.number >= first and from_ms <= fill.ts_ns // _MS_NS <= to_ms
        ]
        from_there = "fromId" in params or "startTime" in params
        return [views.fill(fill) for fill in (found[:limit] if from_there else found[-limit:])]

    # --- money --------------------------------------------------------------------------------------------------------

    def account(self, params: Params, now_ns: int) -> Json:
        settings, found = self._settings, self._exchange.ledger.balances(ACCOUNT)
        if params.get("omitZeroBalances") == "true":
            found = {asset: balance for asset, balance in found.items() if balance.total}
        maker, taker = settings.maker_fee_rate, settings.taker_fee_rate
        return {
            "makerCommission": int(maker * 10_000),
            "takerCommission": int(taker * 10_000),
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": f"{maker:.8f}",
                "taker": f"{taker:.8f}",
                "buyer": "0.00000000",
                "seller": "0.00000000",
            },
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": now_ns // _MS_NS,
            "accountType": "SPOT",
            "balances": [views.balance(asset, balance) for asset, balance in found.items()],
            "permissions": ["SPOT"],
            "uid": 354_937_868,
        }

    def coins(self, _: Params, __: int) -> list[Json]:
        """``GET /sapi/v1/capital/config/getall``: names and steps; nothing is deposited or withdrawn here."""
        return [
            {"coin": asset, "name": asset, "trading": True, "isLegalMoney": False, "depositAllEnable": False,
             "withdrawAllEnable": False, "free": views.balance(asset, found)["free"], "networkList": []}
            for asset, found in self._exchange.ledger.balances(ACCOUNT).items()
        ]  # fmt: skip

    def fees(self, params: Params, _: int) -> list[Json]:
        """``GET /sapi/v1/asset/tradeFee``."""
        markets = [self._queries.market(params)] if "symbol" in params else self._exchange.markets.values()
        maker, taker = f"{self._settings.maker_fee_rate}", f"{self._settings.taker_fee_rate}"
        symbols = [market.product.symbol.replace("/", "") for market in markets]
        return [{"symbol": symbol, "makerCommission": maker, "takerCommission": taker} for symbol in symbols]

    # --- reading ------------------------------------------------------------------------------------------------------

    def _open_of(self, market: Market) -> list[OrderRecord]:
        symbol = market.product.symbol
        return [record for record in self._exchange.open_orders.values() if record.spec.symbol == symbol]

    def _find(self, params: Params, absent: Callable[[], ApiError]) -> OrderRecord:
        """By ``orderId`` or ``origClientOrderId``; with both they have to agree."""
        symbol = self._queries.market(params).product.symbol
        number, client_id = params.get("orderId", ""), params.get("origClientOrderId", "")
        if not number and not client_id:
            raise ApiError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        record = self._exchange.orders.get(integer(params, "orderId")) if number else self._exchange.find(client_id)
        if record is None or record.spec.symbol != symbol or (client_id and record.spec.client_id != client_id):
            raise absent()
        return record

    def _check_unique(self, spec: OrderSpec) -> None:
        known = self._exchange.find(spec.client_id)
        if known is not None and (known.is_open or self._settings.duplicate_client_ids == "ever"):
            raise duplicate_order()

    @staticmethod
    def _response(params: Params) -> str:
        default = "FULL" if params.get("type") in ("MARKET", "LIMIT") else "ACK"
        kind = params.get("newOrderRespType") or default
        if kind not in _RESPONSES:
            raise ApiError(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
        return kind

    def _spec(self, params: Params) -> OrderSpec:
        """Raises ``ApiError`` for what is no order."""
        symbol = self._queries.market(params).product.symbol
        side, name = params.get("side", ""), params.get("type", "")
        for field, value, legal, code, text in (
            ("side", side, ("BUY", "SELL"), -1117, "Invalid side."),
            ("type", name, ORDER_TYPES, -1116, "Invalid orderType."),
        ):
            if not value:
                raise missing(field)
            if value not in legal:
                raise ApiError(code, text)
        client_id = params.get("newClientOrderId") or self._new_id()
        if _CLIENT_ID.fullmatch(client_id) is None:
            raise illegal("newClientOrderId")
        qty, quote_qty = amount(params, "quantity"), amount(params, "quoteOrderQty")
        limit_px, trigger_px = amount(params, "price"), amount(params, "stopPrice")
        wants_px, wants_trigger = "LIMIT" in name, name.startswith(("STOP", "TAKE"))
        in_force = params.get("timeInForce", "")
        if quote_qty is not None and name != "MARKET":
            raise not_needed("quoteOrderQty")
        if (qty is None) == (quote_qty is None):
            raise missing("quantity") if qty is None else not_needed("quoteOrderQty")
        for field, given, wanted in (
            ("price", params.get("price"), wants_px),
            ("stopPrice", params.get("stopPrice"), wants_trigger),
            ("timeInForce", in_force, name in _WITH_TIME),
        ):
            if wanted and not given:
                raise missing(field)
            if given and not wanted:
                raise not_needed(field)
        if in_force and in_force not in _IN_FORCE:
            raise ApiError(-1115, "Invalid timeInForce.")
        side_of = Side[side]
        up = (side_of is Side.BUY) == name.startswith("STOP") if wants_trigger else None
        return OrderSpec(
            symbol,
            side_of,
            _KINDS[name],
            name,
            qty=ZERO if qty is None else qty,
            quote_qty=quote_qty,
            limit_px=limit_px,
            trigger_px=trigger_px,
            stop_up=up,
            time_in_force=_IN_FORCE.get(in_force, TimeInForce.GTC),
            post_only=name == "LIMIT_MAKER",
            client_id=client_id,
        )


def _window(params: Params) -> tuple[int, int]:
    """Of creation or execution, milliseconds.  Raises ``ApiError`` for more than a day."""
    from_ms, to_ms = integer(params, "startTime", 0), integer(params, "endTime", 1 << 62)
    if "startTime" in params and "endTime" in params and to_ms - from_ms > _DAY_MS:
        raise ApiError(-1127, "More than 24 hours between startTime and endTime.")
    return from_ms, to_ms
