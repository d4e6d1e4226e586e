"""How Kraken shows an account: orders and fills over REST, executions and balances over WebSockets.

Owns shapes only.  Source: Kraken spot REST API, "Account data"; WebSocket v2, "executions" and "balances".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from connectors.kraken.sandbox.naming import PairNames, make_id
from connectors.kraken.sandbox.wire import Json, plain, seconds
from connectors.local.records import Act, FillRecord, OrderEvent, OrderRecord, OrderSpec
from connectors.local.settings import ZERO
from connectors.matching.orders import CloseReason
from engine.commands import OrderType
from engine.events import Side

_NS = 1_000_000_000
MONEY_PLACES = 10
"""Of balances, and of what moved them: as many as a price times a quantity of the default products has."""
_FEE_PLACES = 5
_REASONS = {
    CloseReason.CANCELLED: "User requested",
    CloseReason.IOC: "Immediate or cancel",
    CloseReason.NO_LIQUIDITY: "Insufficient liquidity",
    CloseReason.STP: "Self trade prevented",
    CloseReason.EXPIRED: "Expired",
}
_WORDS = {
    "stop-loss": "stop loss",
    "take-profit": "take profit",
    "stop-loss-limit": "stop loss",
    "take-profit-limit": "take profit",
}


def order_id(record: OrderRecord) -> str:
    return make_id("O", record.number)


def trade_id(fill: FillRecord) -> str:
    """Of one side of a match: who trades with himself has two of the same number."""
    return make_id("T", 2 * fill.number + fill.maker)


def status(record: OrderRecord) -> str:
    """``open closed canceled expired``; a market order that found something is closed, whatever was left."""
    if record.reason is None:
        return "open"
    if record.reason is CloseReason.FILLED or (record.filled_qty and record.spec.kind is OrderType.MARKET):
        return "closed"
    return "expired" if record.reason is CloseReason.EXPIRED else "canceled"


# --- REST -------------------------------------------------------------------------------------------------------------


def sentence(spec: OrderSpec, names: PairNames) -> str:
    """``buy 0.02100000 XBTUSD @ limit 330.0``"""
    volume = plain(spec.qty if spec.quote_qty is None else spec.quote_qty, names.qty_decimals)
    px, trigger_px = (plain(each or ZERO, names.px_decimals) for each in (spec.limit_px, spec.trigger_px))
    kind = _WORDS.get(spec.name, spec.name)
    text = f"{spec.side.name.lower()} {volume} {names.altname} @ {kind}"
    if spec.trigger_px is not None:
        text += f" {trigger_px}"
        return f"{text} -> limit {px}" if spec.limit_px is not None else text
    return f"{text} {px}" if spec.limit_px is not None else text


def flags(spec: OrderSpec) -> str:
    return ",".join(
        name for name, on in (("post", spec.post_only), ("fciq", True), ("viqc", spec.quote_qty is not None)) if on
    )


def order(record: OrderRecord, names: PairNames, fills: Iterable[FillRecord] | None = None) -> Json:
    """A row of OpenOrders, ClosedOrders and QueryOrders; with ``fills``, the ids of its trades."""
    spec, px = record.spec, names.px_decimals
    first, second = (spec.trigger_px, spec.limit_px) if spec.trigger_px is not None else (spec.limit_px, None)
    made: Json = {
        "refid": None,
        "userref": spec.reference,
        **({"cl_ord_id": spec.client_id} if spec.client_id else {}),
        "status": status(record),
        "opentm": seconds(record.created_ns),
        "starttm": 0,
        "expiretm": 0 if spec.expire_ns is None else spec.expire_ns // _NS,
        "descr": {
            "pair": names.altname,
            "aclass": "forex",
            "type": spec.side.name.lower(),
            "ordertype": spec.name,
            "price": "0" if first is None else plain(first, px),
            "price2": "0" if second is None else plain(second, px),
            "leverage": "none",
            "order": sentence(spec, names),
            "close": "",
        },
        "vol": plain(spec.qty if spec.quote_qty is None else spec.quote_qty, names.qty_decimals),
        "vol_exec": plain(record.filled_qty, names.qty_decimals),
        "cost": plain(record.filled_value, 5),
        "fee": _fee_text(_fee(record)),
        "price": plain(record.average_px, px),
        "stopprice": plain(ZERO, px),
        "limitprice": plain(ZERO, px),
        "misc": "",
        "oflags": flags(spec),
    }
    if record.reason is not None:
        made |= {"closetm": seconds(record.closed_ns), "reason": _REASONS.get(record.reason)}
    if fills is not None:
        made["trades"] = [trade_id(fill) for fill in fills]
    return made


def fill(each: FillRecord, names: PairNames) -> Json:
    """A row of TradesHistory and QueryTrades."""
    spec = each.order.spec
    return {
        "ordertxid": order_id(each.order),
        "postxid": make_id("T", each.order.number << 1),
        "pair": names.id,
        "time": seconds(each.ts_ns),
        "type": spec.side.name.lower(),
        "ordertype": spec.name,
        "price": plain(each.px, names.px_decimals),
        "cost": plain(each.px * each.qty, 5),
        "fee": _fee_text(each.fee),
        "vol": plain(each.qty, names.qty_decimals),
        "margin": "0.00000",
        "leverage": "0",
        "misc": "",
        "trade_id": each.number,
        "maker": each.maker,
    }


def _fee(record: OrderRecord) -> Decimal:
    return sum(record.fees.values(), ZERO)


def _fee_text(fee: Decimal) -> str:
    """Exactly what was paid: five decimals of quote currency, as many as there are of coins."""
    exponent = fee.normalize().as_tuple().exponent
    return plain(fee, max(_FEE_PLACES, -exponent if isinstance(exponent, int) else 0))


# --- WebSockets -------------------------------------------------------------------------------------------------------


def number(value: Decimal, places: int) -> msgspec.Raw:
    """A JSON number with exactly these decimals: the checksum of a book is of the text."""
    return msgspec.Raw(plain(value, places).encode())


def at(ts_ns: int) -> str:
    """``2023-09-25T07:49:37.708706Z``"""
    whole = datetime.fromtimestamp(ts_ns // _NS, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ts_ns % _NS // 1_000:06d}Z"


def _report(record: OrderRecord, names: PairNames, kind: str, state: str, ts_ns: int) -> Json:
    """What every report of an order says, when it says all."""
    spec, px, qty = record.spec, names.px_decimals, names.qty_decimals
    made: Json = {
        "order_id": order_id(record),
        **({"cl_ord_id": spec.client_id} if spec.client_id else {}),
        "order_userref": spec.reference or 0,
        "symbol": names.symbol,
        "side": spec.side.name.lower(),
        "order_type": spec.name,
        "order_qty": number(spec.qty or record.filled_qty, qty),
        "limit_price_type": "static",
        "time_in_force": spec.time_in_force.value.upper(),
        "post_only": spec.post_only,
        "reduce_only": False,
        "margin": False,
        "exec_type": kind,
        "order_status": state,
        "cum_qty": number(record.filled_qty, qty),
        "cum_cost": number(record.filled_value, 5),
        "avg_price": number(record.average_px, px),
        "fee_usd_equiv": msgspec.Raw(_fee_text(_fee(record)).encode()),
        "fee_ccy_pref": "fciq",
        "timestamp": at(ts_ns),
    }
    if spec.limit_px is not None:
        made["limit_price"] = number(spec.limit_px, px)
    if spec.trigger_px is not None:
        made["triggers"] = {"reference": "last", "price": number(spec.trigger_px, px), "price_type": "static"}
        made["stop_price"] = number(spec.trigger_px, px)
    if spec.quote_qty is not None:
        made["cash_order_qty"] = number(spec.quote_qty, 5)
    return made


def open_report(record: OrderRecord, names: PairNames) -> Json:
    """Of the snapshot of open orders."""
    state = "partially_filled" if record.filled_qty else "new"
    return _report(record, names, "new", state, record.created_ns)


def trade_report(each: FillRecord, record: OrderRecord, names: PairNames) -> Json:
    """Of a fill; ``record`` as it was right after it."""
    whole = record.filled_qty == record.spec.qty
    made = _report(record, names, "trade", "filled" if whole else "partially_filled", each.ts_ns)
    return made | {
        "exec_id": trade_id(each),
        "trade_id": each.number,
        "last_qty": number(each.qty, names.qty_decimals),
        "last_price": number(each.px, names.px_decimals),
        "cost": number(each.px * each.qty, 5),
        "liquidity_ind": "m" if each.maker else "t",
        "fees": [{"asset": each.fee_asset, "qty": msgspec.Raw(_fee_text(each.fee).encode())}],
    }


_OF_AN_END = ("order_id", "cl_ord_id", "order_userref", "exec_type", "order_status", "cum_qty", "cum_cost", "avg_price",
              "fee_usd_equiv", "timestamp", "reason", "cancel_reason")  # fmt: skip


def reports(event: OrderEvent, names: PairNames, *, full: bool) -> list[Json]:
    """What is told of one event, a message each.  An order is first pending, then new."""
    record = event.order
    if event.act is Act.NEW:
        kinds = ("pending_new", "new")
        return [_report(record, names, kind, kind, event.ts_ns) for kind in kinds]
    if event.act is Act.FILL and event.fill is not None:
        return [trade_report(event.fill, record, names)]
    state = "partially_filled" if record.filled_qty else "new"
    if event.act is Act.TRIGGER:
        return [_report(record, names, "status", state, event.ts_ns)]
    if event.act is Act.AMEND:
        return [_report(record, names, "amended", state, event.ts_ns)]
    word = {"closed": "filled"}.get(status(record), status(record))
    made = _report(record, names, word, word, event.ts_ns)
    if word != "filled" and record.reason is not None:
        text = _REASONS.get(record.reason, "")
        made |= {"reason": text, "cancel_reason": text}
    return [made if full else {name: made[name] for name in _OF_AN_END if name in made}]


def balance_row(asset: str, total: Decimal) -> Json:
    """Of the snapshot of balances."""
    told = number(total, MONEY_PLACES)
    return {
        "asset": asset,
        "asset_class": "currency",
        "balance": told,
        "wallets": [{"type": "spot", "id": "main", "balance": told}],
    }


def balance_changes(each: FillRecord, names: PairNames, totals: dict[str, Decimal]) -> list[Json]:
    """What a fill did to both currencies: ``amount`` before the fee, ``balance`` after everything so far."""
    base, _, quote = names.symbol.partition("/")
    bought = each.order.spec.side is Side.BUY
    value = each.px * each.qty
    made = []
    for asset, amount in ((base, each.qty if bought else -each.qty), (quote, -value if bought else value)):
        fee = each.fee if asset == each.fee_asset else ZERO
        made.append(
            {
                "ledger_id": make_id("L", 4 * each.number + 2 * each.maker + (asset == base)),
                "ref_id": trade_id(each),
                "timestamp": at(each.ts_ns),
                "type": "trade",
                "asset": asset,
                "asset_class": "currency",
                "category": "trade",
                "wallet_type": "spot",
                "wallet_id": "main",
                "amount": number(amount, MONEY_PLACES),
                "fee": msgspec.Raw(_fee_text(fee).encode()),
                "balance": number(totals[asset], MONEY_PLACES),
            }
        )
    return made
