"""Lists that REST gives of one account: orders, trades, positions, transactions, and what changed since.

Owns filters, paging and the shapes of these answers.  Nothing here changes state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Reversible
from typing import TypeVar
from urllib.parse import urlencode

from connectors.oanda.sandbox import views
from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import Json, invalid
from connectors.oanda.sandbox.log import Entry, types_named
from connectors.oanda.sandbox.market import Market, Markets
from connectors.oanda.sandbox.records import Order, Trade
from connectors.oanda.sandbox.settings import Switches
from connectors.oanda.sandbox.times import NS, at, parse_time_ns

_MOST_LISTED = 500
_MOST_PAGE = 1_000
_ORDER_STATES = frozenset({"PENDING", "FILLED", "TRIGGERED", "CANCELLED", "ALL"})
_TRADE_STATES = frozenset({"OPEN", "CLOSED", "CLOSE_WHEN_TRADEABLE", "ALL"})

Params = Mapping[str, str]
_Row = TypeVar("_Row", Order, Trade)


class Queries:
    """Questions about accounts; ``now_ns`` is given where the answer depends on it."""

    def __init__(self, markets: Markets, switches: Switches) -> None:
        self._markets = markets
        self._switches = switches

    # --- orders and trades --------------------------------------------------------------------------------------------

    def orders(self, account: Account, params: Params) -> Json:
        state = params.get("state", "PENDING")
        if state not in _ORDER_STATES:
            raise invalid("state")
        among = account.pending if state == "PENDING" and "ids" not in params else account.orders
        wanted = "ALL" if "ids" in params and "state" not in params else state
        found = _listed(
            among.values(), params, lambda order: wanted in ("ALL", order.state), lambda order: order.spec.instrument
        )
        return {"orders": [self.order_json(order) for order in found], "lastTransactionID": str(account.log.last)}

    def pending(self, account: Account) -> Json:
        made = [self.order_json(order) for order in reversed(account.pending.values())]
        return {"orders": made, "lastTransactionID": str(account.log.last)}

    def order(self, account: Account, which: str) -> Json:
        finished = self._switches.finished_orders == "served"
        order = account.find_order(which, finished=finished)
        return {"order": self.order_json(order), "lastTransactionID": str(account.log.last)}

    def order_json(self, order: Order) -> Json:
        return order.json(views.digits(self._markets, order.spec.instrument))

    def trades(self, account: Account, params: Params) -> Json:
        state = params.get("state", "OPEN")
        if state not in _TRADE_STATES:
            raise invalid("state")
        among = account.open_trades if state == "OPEN" and "ids" not in params else account.trades
        wanted = "ALL" if "ids" in params and "state" not in params else state
        found = _listed(
            among.values(), params, lambda trade: wanted in ("ALL", trade.state), lambda trade: trade.instrument
        )
        return {
            "trades": [self.trade_json(account, each) for each in found],
            "lastTransactionID": str(account.log.last),
        }

    def open_trades(self, account: Account) -> Json:
        made = [self.trade_json(account, trade) for trade in reversed(account.open_trades.values())]
        return {"trades": made, "lastTransactionID": str(account.log.last)}

    def trade(self, account: Account, which: str) -> Json:
        trade = account.find_trade(which)
        return {"trade": self.trade_json(account, trade), "lastTransactionID": str(account.log.last)}

    def trade_json(self, account: Account, trade: Trade) -> Json:
        return views.trade_json(account, self._markets, trade)

    # --- positions ----------------------------------------------------------------------------------------------------

    def positions(self, account: Account, *, open_only: bool) -> Json:
        names = [name for name in account.totals if not open_only or any(account.units_of(name))]
        made = [views.position_json(account, self._markets.by_name[name]) for name in names]
        return {"positions": made, "lastTransactionID": str(account.log.last)}

    def position(self, account: Account, instrument: str) -> Json:
        if instrument not in self._markets.by_name:
            raise invalid("instrument")
        if instrument not in account.totals:
            raise account.missing("position", "NO_SUCH_POSITION")
        made = views.position_json(account, self._markets.by_name[instrument])
        return {"position": made, "lastTransactionID": str(account.log.last)}

    # --- instruments and prices ---------------------------------------------------------------------------------------

    def named(self, params: Params, *, required: bool) -> list[Market]:
        """Markets of the parameter ``instruments``, in its order.  Raises ``ApiError`` 400."""
        text = params.get("instruments", "")
        if not text:
            if required:
                raise invalid("instruments")
            return list(self._markets.by_name.values())
        try:
            return [self._markets.by_name[name] for name in text.split(",")]
        except KeyError:
            raise invalid("instruments") from None

    def prices(self, account: Account, params: Params, now_ns: int) -> Json:
        since_ns = parse_time_ns(params["since"], "since") if "since" in params else 0
        named = self.named(params, required=True)
        prices = []
        for market in named:
            if market.quote is None or market.quote.ts_ns < since_ns:
                continue
            price = views.price_json(market, market.quote)
            if params.get("includeUnitsAvailable", "false").lower() == "true":
                price["unitsAvailable"] = views.units_available(account, market)
            prices.append(price)
        made: Json = {"prices": prices, "time": at(now_ns)}
        if params.get("includeHomeConversions", "false").lower() == "true":
            made["homeConversions"] = views.home_conversions(self._markets, account, named)
        return made

    # --- transactions -------------------------------------------------------------------------------------------------

    def transaction(self, account: Account, which: str, now_ns: int) -> Json:
        entry = account.log.get(int(which)) if which.isdecimal() and len(which) < 20 else None
        if entry is None or not self._visible([entry], now_ns):
            raise account.missing("transaction", "NO_SUCH_TRANSACTION")
        return {"transaction": entry.body, "lastTransactionID": str(account.log.last)}

    def since(self, account: Account, params: Params, now_ns: int) -> Json:
        found = account.log.since(_number(params, "id"), types_named(params.get("type", "")))
        return self._transactions(account, found[: self._switches.since_max or None], now_ns)

    def id_range(self, account: Account, params: Params, now_ns: int) -> Json:
        low, high = _number(params, "from"), _number(params, "to")
        if low > high:
            raise invalid("to")
        found = account.log.between(low, high, types_named(params.get("type", "")))
        return self._transactions(account, found, now_ns)

    def _transactions(self, account: Account, found: list[Entry], now_ns: int) -> Json:
        shown = self._visible(found, now_ns)
        return {"transactions": [entry.body for entry in shown], "lastTransactionID": self._last(account, now_ns)}

    def _last(self, account: Account, now_ns: int) -> str:
        """The last id that may be known: what is not readable yet has not happened for a reader."""
        number = account.log.last
        while self._switches.read_lag_s and number >= account.log.first:
            entry = account.log.get(number)
            if entry is None or self._visible([entry], now_ns):
                break
            number -= 1
        return str(number)

    def _visible(self, entries: list[Entry], now_ns: int) -> list[Entry]:
        lag_ns = int(self._switches.read_lag_s * NS)
        return entries if not lag_ns else [entry for entry in entries if entry.ts_ns <= now_ns - lag_ns]

    def pages(self, account: Account, params: Params, base_url: str, now_ns: int) -> Json:
        """Answer of GET transactions: addresses of id ranges, under the address that the client used."""
        from_ns = parse_time_ns(params["from"], "from") if "from" in params else account.created_ns
        to_ns = parse_time_ns(params["to"], "to") if "to" in params else now_ns + 1
        size = int(params["pageSize"]) if params.get("pageSize", "100").isdecimal() and "pageSize" in params else 100
        if not 1 <= size <= _MOST_PAGE or not params.get("pageSize", "100").isdecimal():
            raise invalid("pageSize")
        named = params.get("type", "")
        found = self._visible(account.log.made_between(from_ns, to_ns, types_named(named)), now_ns)
        pages = []
        for start in range(0, len(found), size):
            chunk = found[start : start + size]
            query = {"from": str(chunk[0].number), "to": str(chunk[-1].number)} | ({"type": named} if named else {})
            pages.append(f"{base_url}/v3/accounts/{account.id}/transactions/idrange?{urlencode(query, safe=',')}")
        made: Json = {"from": at(from_ns), "to": at(to_ns), "pageSize": size, "count": len(found), "pages": pages}
        if named:
            made["type"] = named.split(",")
        return made | {"lastTransactionID": self._last(account, now_ns)}

    # --- changes ------------------------------------------------------------------------------------------------------

    def changes(self, account: Account, params: Params) -> Json:
        """What became of what since a transaction: each thing once, under the last that happened to it."""
        entries = account.log.since(_number(params, "sinceTransactionID"))
        orders: dict[str, dict[str, None]] = {name: {} for name in ("Created", "Filled", "Cancelled", "Triggered")}
        trades: dict[str, dict[str, None]] = {name: {} for name in ("Opened", "Reduced", "Closed")}
        touched: dict[str, None] = {}
        for entry in entries:
            body = entry.body
            kind = body["type"]
            if kind.endswith("_ORDER"):
                orders["Created"][body["id"]] = None
            elif kind == "ORDER_CANCEL":
                orders["Cancelled"][body["orderID"]] = None
            elif kind == "ORDER_FILL":
                orders["Filled"][body["orderID"]] = None
                touched[body["instrument"]] = None
                if "tradeOpened" in body:
                    trades["Opened"][body["tradeOpened"]["tradeID"]] = None
                if "tradeReduced" in body:
                    trades["Reduced"][body["tradeReduced"]["tradeID"]] = None
                for closed in body.get("tradesClosed", ()):
                    trades["Closed"][closed["tradeID"]] = None
            elif kind == "DAILY_FINANCING":
                touched |= {each["instrument"]: None for each in body["positionFinancings"]}
        made: Json = {}
        for name, ids in orders.items():
            found_orders = [account.orders.get(int(number)) for number in ids]
            made[f"orders{name}"] = [self.order_json(order) for order in found_orders if order is not None]
        for name, ids in trades.items():
            found = [account.trades.get(int(number)) for number in ids]
            made[f"trades{name}"] = [
                views.trade_json(account, self._markets, trade, summary=True) for trade in found if trade is not None
            ]
        made["positions"] = [views.position_json(account, self._markets.by_name[name]) for name in touched]
        made["transactions"] = [entry.body for entry in entries]
        return {"changes": made, "state": self._state(account), "lastTransactionID": str(account.log.last)}

    def _state(self, account: Account) -> Json:
        """What moves with the market alone, of everything that is open."""
        made = views.state_json(account, account.worth())
        dynamic: list[Json] = []
        for order in account.pending.values():
            quote = self._markets.by_name[order.spec.instrument].quote
            px = order.trailing_px if order.trailing_px is not None else order.spec.px
            if quote is None or px is None:
                continue
            places = views.digits(self._markets, order.spec.instrument)
            told: Json = {"id": order.id, "triggerDistance": f"{abs(quote.mid - px):.{places}f}"}
            told["isTriggerDistanceExact"] = True
            if order.trailing_px is not None:
                told["trailingStopValue"] = f"{order.trailing_px:.{places}f}"
            dynamic.append(told)
        made["orders"] = dynamic
        made["trades"] = [
            {name: trade[name] for name in ("id", "unrealizedPL", "marginUsed")}
            for trade in (self.trade_json(account, each) for each in account.open_trades.values())
        ]
        positions = []
        for name in dict.fromkeys(trade.instrument for trade in account.open_trades.values()):
            whole = views.position_json(account, self._markets.by_name[name])
            positions.append(
                {
                    "instrument": name,
                    "netUnrealizedPL": whole["unrealizedPL"],
                    "longUnrealizedPL": whole["long"]["unrealizedPL"],
                    "shortUnrealizedPL": whole["short"]["unrealizedPL"],
                    "marginUsed": whole["marginUsed"],
                }
            )
        made["positions"] = positions
        return made


def _listed(
    rows: Reversible[_Row],
    params: Params,
    keep: Callable[[_Row], bool],
    instrument_of: Callable[[_Row], str],
) -> list[_Row]:
    """The newest ``count`` before ``beforeID`` that pass the filters, newest first."""
    count = int(params["count"]) if params.get("count", "").isdecimal() else 50
    if not 1 <= count <= _MOST_LISTED or not params.get("count", "1").isdecimal():
        raise invalid("count")
    before = _number(params, "beforeID") if "beforeID" in params else None
    ids = set(params["ids"].split(",")) if params.get("ids") else None
    name = params.get("instrument")
    found: list[_Row] = []
    for row in reversed(rows):
        if len(found) == count:
            break
        if before is not None and row.number >= before:
            continue
        if ids is not None and row.id not in ids:
            continue
        if (name is None or instrument_of(row) == name) and keep(row):
            found.append(row)
    return found


def _number(params: Params, name: str) -> int:
    text = params.get(name, "")
    if not text.isdecimal() or len(text) > 18:
        raise invalid(name)
    return int(text)
