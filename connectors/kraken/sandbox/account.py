"""Requests about the account, over REST or WebSockets: orders placed, amended, cancelled, listed; balances and trades.

Owns their parameters and answers.  What an order then does is ``connectors.local.exchange``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.kraken.sandbox import views
from connectors.kraken.sandbox.errors import ApiError, invalid, refusal, unknown_order
from connectors.kraken.sandbox.naming import asset_id, make_id, read_id
from connectors.kraken.sandbox.params import DECIMAL, Params, amount, check_deadline, integer, reference
from connectors.kraken.sandbox.queries import Queries
from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.kraken.sandbox.wire import Json, plain
from connectors.local.exchange import ACCOUNT, Exchange
from connectors.local.records import FillRecord, OrderRecord, OrderSpec, Refused
from connectors.local.settings import ZERO
from engine.commands import OrderType, TimeInForce
from engine.events import Side

_NS = 1_000_000_000
_PAGE = 50
_CLIENT_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}|[ -~]{1,18}")
_KINDS = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stop-loss": OrderType.STOP,
    "take-profit": OrderType.STOP,
    "stop-loss-limit": OrderType.STOP_LIMIT,
    "take-profit-limit": OrderType.STOP_LIMIT,
}
_IN_FORCE = {"": TimeInForce.GTC, "GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "GTD": TimeInForce.GTD}
_FLAGS = frozenset({"post", "fciq", "fcib", "nompp", "viqc"})
_MOST_TIMEOUT_S = 86_400


class Account:
    """``take_order`` counts against the limits of a market, and raises what they say."""

    def __init__(
        self,
        settings: KrakenSettings,
        exchange: Exchange,
        queries: Queries,
        take_order: Callable[[str, int], None],
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._queries = queries
        self._take_order = take_order
        self._cancel_ns: int | None = None
        self._amends = 0
        self.orders_received = 0

    def table(self) -> dict[str, tuple[Callable[[Params, int], Any], float, bool]]:
        """By the last part of the path: what to do, its cost to the counter of calls, whether it trades."""
        return {
            "Balance": (self._balance, 1, False),
            "BalanceEx": (self._balance_ex, 1, False),
            "TradeBalance": (self._trade_balance, 1, False),
            "TradeVolume": (self._trade_volume, 1, False),
            "OpenOrders": (self._open_orders, 1, False),
            "ClosedOrders": (self._closed_orders, 1, False),
            "QueryOrders": (self._query_orders, 1, False),
            "TradesHistory": (self._trades_history, 2, False),
            "QueryTrades": (self._query_trades, 1, False),
            "AddOrder": (self.add, 0, True),
            "AmendOrder": (self.amend, 0, True),
            "CancelOrder": (self.cancel, 0, True),
            "CancelOrderBatch": (self._cancel_batch, 0, True),
            "CancelAll": (self.cancel_all, 1, True),
            "CancelAllOrdersAfter": (self._cancel_after, 1, True),
        }

    # --- orders -------------------------------------------------------------------------------------------------------

    def add(self, params: Params, now_ns: int) -> Json:
        self.orders_received += 1
        check_deadline(params, now_ns)
        spec = self._spec(params, now_ns)
        told = {"descr": {"order": views.sentence(spec, self._queries.names[spec.symbol])}}
        try:
            if params.get("validate") in ("true", "1", "True"):
                self._exchange.check(spec, now_ns)
                return told
            self._take_order(spec.symbol, now_ns)
            record = self._exchange.place(spec, now_ns)
        except Refused as why:
            raise refusal(why) from None
        return {"txid": [views.order_id(record)], **told}

    def amend(self, params: Params, now_ns: int) -> Json:
        found = self._named(params)
        if not found or not found[0].is_open:
            raise unknown_order()
        record, spec = found[0], found[0].spec
        qty, limit_px = amount(params, "order_qty"), amount(params, "limit_price")
        if limit_px is not None and spec.limit_px is None:
            raise invalid("limit_price")
        self._take_order(spec.symbol, now_ns)
        try:
            self._exchange.amend(record, spec.qty if qty is None else qty, limit_px or spec.limit_px, now_ns)
        except Refused as why:
            raise refusal(why) from None
        self._amends += 1
        return {"amend_id": make_id("A", (record.number << 16) + self._amends)}

    def cancel(self, params: Params, now_ns: int) -> Json:
        """One by its id, several by a ``userref`` in its place."""
        mine = [record for record in self._named(params) if record.is_open]
        if not mine:
            raise unknown_order()
        return {"count": sum(self._exchange.cancel(record, now_ns) for record in mine)}

    def _cancel_batch(self, params: Params, now_ns: int) -> Json:
        texts = [value for name, value in params.items() if name.startswith(("orders", "cl_ord_ids"))]
        if not texts or len(texts) > _PAGE:
            raise invalid("orders")
        count = 0
        for text in texts:
            record = self._by_id(text) or self._exchange.find(text)
            count += record is not None and self._exchange.cancel(record, now_ns)
        return {"count": count}

    def cancel_all(self, _: Params, now_ns: int) -> Json:
        return {"count": sum(self._exchange.cancel(each, now_ns) for each in list(self._exchange.open_orders.values()))}

    def _cancel_after(self, params: Params, now_ns: int) -> Json:
        """The dead man's switch; 0 takes it back."""
        timeout_s = integer(params, "timeout", -1, high=1 << 31)
        if not 0 <= timeout_s <= _MOST_TIMEOUT_S:
            raise invalid("timeout")
        self._cancel_ns = now_ns + timeout_s * _NS if timeout_s else None
        at_s = now_ns // _NS
        due = "0" if self._cancel_ns is None else _calendar(at_s + timeout_s)
        return {"currentTime": _calendar(at_s), "triggerTime": due}

    def pass_time(self, now_ns: int) -> None:
        if self._cancel_ns is not None and now_ns >= self._cancel_ns:
            self._cancel_ns = None
            self.cancel_all({}, now_ns)

    # --- lists --------------------------------------------------------------------------------------------------------

    def _open_orders(self, params: Params, _: int) -> Json:
        found = [each for each in self._exchange.open_orders.values() if _wanted(each, params)]
        return {"open": self._rows(reversed(found), params)}

    def _closed_orders(self, params: Params, _: int) -> Json:
        """Newest first, fifty a page."""
        start, end = self._times(params)
        found = [
            each
            for each in self._exchange.orders.values()
            if not each.is_open and _wanted(each, params) and start < each.closed_ns <= end
        ]
        offset = integer(params, "ofs", 0)
        page = sorted(found, key=lambda each: each.closed_ns, reverse=True)[offset : offset + _PAGE]
        return {"closed": self._rows(page, params), "count": len(found)}

    def _query_orders(self, params: Params, _: int) -> Json:
        texts = [text for text in params.get("txid", "").split(",") if text]
        if (not texts and "cl_ord_id" not in params) or len(texts) > _PAGE:
            raise invalid("txid")
        found = [self._by_id(text) for text in texts]
        if "cl_ord_id" in params:
            found.append(self._exchange.find(params["cl_ord_id"]))
        if None in found:
            raise ApiError("EOrder:Unknown order" if "cl_ord_id" in params else "EOrder:Invalid order")
        return self._rows([each for each in found if each is not None and _wanted(each, params, by_id=True)], params)

    def _trades_history(self, params: Params, _: int) -> Json:
        start, end = self._times(params)
        found = [each for each in self._exchange.fills if start < each.ts_ns <= end]
        offset = integer(params, "ofs", 0)
        page = found[::-1][offset : offset + _PAGE]
        return {"trades": {views.trade_id(each): self._fill(each) for each in page}, "count": len(found)}

    def _query_trades(self, params: Params, _: int) -> Json:
        wanted = {text for text in params.get("txid", "").split(",") if text}
        found = {views.trade_id(each): self._fill(each) for each in self._exchange.fills}
        if not wanted or not wanted <= found.keys():
            raise ApiError("EQuery:Unknown trade" if wanted else "EGeneral:Invalid arguments:txid")
        return {name: found[name] for name in wanted}

    def _rows(self, found: Iterable[OrderRecord], params: Params) -> Json:
        """By id; ``trades=true`` names each order's trades."""
        with_trades = params.get("trades", "").lower() == "true"
        made = {}
        for each in found:
            fills = self._exchange.fills_of.get(each.number, ()) if with_trades else None
            made[views.order_id(each)] = views.order(each, self._queries.names[each.spec.symbol], fills)
        return made

    def _fill(self, each: FillRecord) -> Json:
        return views.fill(each, self._queries.names[each.order.spec.symbol])

    def _times(self, params: Params) -> tuple[int, int]:
        """``start`` (exclusive) and ``end`` in nanoseconds: unix seconds, or the id of an order or a trade."""
        return self._time(params, "start", -1), self._time(params, "end", 1 << 62)

    def _time(self, params: Params, name: str, default: int) -> int:
        text = params.get(name, "")
        record = self._by_id(text)
        if record is not None:
            return record.created_ns
        if not text:
            return default
        if DECIMAL.fullmatch(text) is None:
            raise invalid(name)
        return int(Decimal(text) * _NS)

    # --- money --------------------------------------------------------------------------------------------------------

    def _balance(self, _: Params, __: int) -> Json:
        found = self._exchange.ledger.balances(ACCOUNT)
        return {
            asset_id(asset): plain(balance.total, views.MONEY_PLACES)
            for asset, balance in found.items()
            if balance.total
        }

    def _balance_ex(self, _: Params, __: int) -> Json:
        found = self._exchange.ledger.balances(ACCOUNT)
        return {
            asset_id(asset): {
                "balance": plain(balance.total, views.MONEY_PLACES),
                "hold_trade": plain(balance.total - balance.available, views.MONEY_PLACES),
            }
            for asset, balance in found.items()
            if balance.total
        }

    def _trade_balance(self, _: Params, __: int) -> Json:
        """What the balances are worth in dollars, as far as the markets here say."""
        worth = ZERO
        for asset, balance in self._exchange.ledger.balances(ACCOUNT).items():
            market = self._exchange.markets.get(f"{asset}/USD")
            px = Decimal(1) if asset == "USD" else (market.engine.last_px if market is not None else None)
            worth += balance.total * (px or ZERO)
        told = plain(worth, 4)
        return {
            "eb": told,
            "tb": told,
            "m": "0.0000",
            "n": "0.0000",
            "c": "0.0000",
            "v": "0.0000",
            "e": told,
            "mf": told,
        }

    def _trade_volume(self, params: Params, _: int) -> Json:
        settings = self._settings
        names = [self._queries.market(name)[1].id for name in params.get("pair", "").split(",") if name]

        def row(rate: Decimal) -> Json:
            told = plain(rate * 100, 4)
            return {
                "fee": told,
                "minfee": told,
                "maxfee": told,
                "nextfee": None,
                "nextvolume": None,
                "tiervolume": "0.0000",
            }

        return {
            "currency": "ZUSD",
            "volume": plain(sum((each.px * each.qty for each in self._exchange.fills), ZERO), 4),
            "fees": {name: row(settings.taker_fee_rate) for name in names},
            "fees_maker": {name: row(settings.maker_fee_rate) for name in names},
        }

    # --- reading ------------------------------------------------------------------------------------------------------

    def _by_id(self, text: str) -> OrderRecord | None:
        number = read_id("O", text)
        return None if number is None else self._exchange.orders.get(number)

    def _named(self, params: Params) -> list[OrderRecord]:
        """By ``txid`` (``order_id`` over WebSockets), by a ``userref`` in its place, or by ``cl_ord_id``."""
        text, client_id = params.get("txid") or params.get("order_id", ""), params.get("cl_ord_id", "")
        if client_id:
            record = self._exchange.find(client_id)
            return [] if record is None else [record]
        if not text:
            raise invalid("txid")
        if text.isascii() and text.isdecimal() and len(text) < 12:
            return [each for each in self._exchange.open_orders.values() if each.spec.reference == int(text)]
        record = self._by_id(text)
        return [] if record is None else [record]

    def _spec(self, params: Params, now_ns: int) -> OrderSpec:
        """Raises ``ApiError`` for what is no order."""
        market, _ = self._queries.market(params.get("pair", ""))
        side, name = params.get("type", ""), params.get("ordertype", "")
        if side not in ("buy", "sell"):
            raise invalid("type")
        if name not in _KINDS:
            raise invalid("ordertype")
        if params.get("leverage", "none") not in ("none", "", "0", "1") or "close[ordertype]" in params:
            raise ApiError(
                "EGeneral:Invalid arguments:leverage" if "leverage" in params else "EGeneral:Invalid arguments:close"
            )
        asked = {flag for flag in params.get("oflags", "").split(",") if flag}
        if asked - _FLAGS or ("post" in asked and name != "limit") or ("viqc" in asked and name != "market"):
            raise invalid("oflags")
        volume = amount(params, "volume")
        if volume is None or volume <= 0:
            raise invalid("volume")
        first, second = amount(params, "price"), amount(params, "price2")
        stops = name not in ("market", "limit")
        trigger_px, limit_px = (first, second) if stops else (None, first if name == "limit" else None)
        if (stops and trigger_px is None) or (name.endswith("limit") and limit_px is None):
            raise invalid("price")
        in_force = params.get("timeinforce", "").upper()
        if in_force not in _IN_FORCE or (in_force and name == "market"):
            raise invalid("timeinforce")
        expire_ns = self._expiry(params, now_ns) if in_force == "GTD" else None
        by_cost = "viqc" in asked
        buys = side == "buy"
        return OrderSpec(
            market.product.symbol,
            Side.BUY if buys else Side.SELL,
            _KINDS[name],
            name,
            qty=ZERO if by_cost else volume,
            quote_qty=volume if by_cost else None,
            limit_px=limit_px,
            trigger_px=trigger_px,
            stop_up=buys == name.startswith("stop") if stops else None,
            time_in_force=_IN_FORCE[in_force],
            post_only="post" in asked,
            expire_ns=expire_ns,
            client_id=self._client_id(params),
            reference=reference(params),
        )

    def _client_id(self, params: Params) -> str:
        client_id = params.get("cl_ord_id", "")
        if not client_id:
            return ""
        if _CLIENT_ID.fullmatch(client_id) is None or params.get("userref"):
            raise invalid("cl_ord_id")
        known = self._exchange.find(client_id)
        if known is not None and known.is_open and self._settings.duplicate_client_ids == "open":
            raise ApiError("EOrder:cl_ord_id already in use")
        return client_id

    @staticmethod
    def _expiry(params: Params, now_ns: int) -> int:
        text = params.get("expiretm", "")
        later = text.startswith("+")
        digits = text.removeprefix("+")
        if not digits.isascii() or not digits.isdecimal() or len(digits) > 12:
            raise invalid("expiretm")
        return int(digits) * _NS + (now_ns if later else 0)


def _wanted(record: OrderRecord, params: Mapping[str, str], *, by_id: bool = False) -> bool:
    reference, client_id = params.get("userref", ""), "" if by_id else params.get("cl_ord_id", "")
    return (not reference or f"{record.spec.reference}" == reference) and client_id in ("", record.spec.client_id)


def _calendar(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")
