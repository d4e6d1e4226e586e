"""What the venue tells without changing anything: account, pairs, holdings, prices, lists of orders in pages.

Owns the JSON of those answers in both generations, filters and cursors.  A page begins after the last order of the page
before it, by the order's number: it does not move while orders arrive.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from urllib.parse import parse_qsl, urlencode

import msgspec

from connectors.robinhood.sandbox.errors import ApiError, Json, invalid
from connectors.robinhood.sandbox.exchange import Exchange
from connectors.robinhood.sandbox.records import ACCOUNT, Market, OrderRecord, plain
from connectors.robinhood.sandbox.times import NS, at, parse_ns
from engine.events import Side

_MOST_QUANTITIES = 10
_MOST_LIMIT = 1_000
_PRICE_STEP = Decimal("1E-10")
_EVER_NS = 2**63 - 1


class Query:
    """The parameters of one request, repeated ones included, and where its answer's pages lead."""

    def __init__(self, target: str, base: str) -> None:
        """``target``: path and query as sent; ``base``: scheme and host by which the client reached us."""
        self._path, _, query = target.partition("?")
        self._base = base
        self._pairs = parse_qsl(query, keep_blank_values=True)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        return values[-1] if values else None

    def page(self, cursor: str) -> str:
        """The URL of another page."""
        kept = [(key, value) for key, value in self._pairs if key != "cursor"]
        return f"{self._base}{self._path}?{urlencode([*kept, ('cursor', cursor)])}"


class Queries:
    """Over one exchange; ``api`` is ``v1`` or ``v2``."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._settings = exchange.settings

    # --- account ----------------------------------------------------------------------------------------------------

    def account(self, api: str, query: Query) -> Json:
        exchange, switches = self._exchange, self._settings.switches
        free = exchange.ledger.balance(ACCOUNT, "USD").available
        if switches.buying_power_digits is not None:
            free = free.quantize(Decimal(1).scaleb(-switches.buying_power_digits), ROUND_FLOOR)
        made: Json = {
            "account_number": self._settings.account_number,
            "status": exchange.account_status,
            "buying_power": plain(free),
            "buying_power_currency": "USD",
        }
        if api == "v1":
            return made
        made |= {
            "account_type": "individual",
            "is_api_tradable": exchange.is_api_tradable,
            "fee_tier_status": {
                "fee_ratio": plain(self._settings.fee_ratio),
                "thirty_day_volume": plain(exchange.traded_value),
                "next_fee_tier_ratio": None,
                "next_fee_tier_threshold": None,
            },
        }
        return self._pages([made], query)

    def check_account(self, api: str, query: Query) -> None:
        """What v2 wants with orders and holdings.  Raises ``ApiError``."""
        if api == "v1":
            return
        given = query.one("account_number")
        if not given:
            raise invalid("account_number", "This field is required.")
        if given != self._settings.account_number:
            raise ApiError(404, "Account not found.", "account_number")

    def holdings(self, api: str, query: Query) -> Json:
        self.check_account(api, query)
        wanted = query.all("asset_code")
        rows: list[Json] = []
        for code, balance in self._exchange.ledger.balances(ACCOUNT).items():
            if code == "USD" or (wanted and code not in wanted) or not balance.total:
                continue
            amounts = {"total_quantity": balance.total, "quantity_available_for_trading": balance.available}
            rows.append(
                {
                    "account_number": self._settings.account_number,
                    "asset_code": code,
                    # v1 writes numbers.
                    **{k: plain(v) if api == "v2" else msgspec.Raw(plain(v).encode()) for k, v in amounts.items()},
                }
            )
        return self._pages(rows, query)

    # --- pairs and prices -------------------------------------------------------------------------------------------

    def pairs(self, api: str, query: Query) -> Json:
        rows = []
        for market in self._named(query, required=False):
            pair = market.pair
            row: Json = {
                "asset_code": pair.asset,
                "quote_code": pair.quote,
                "quote_increment": plain(pair.quote_increment),
                "asset_increment": plain(pair.asset_increment),
                "max_order_size": plain(pair.max_order_size),
                "status": pair.status,
                "symbol": pair.symbol,
            }
            if api == "v1":
                row["min_order_size"] = plain(pair.min_order_size)
            else:
                row |= {"min_order_amount": plain(pair.min_order_amount), "is_api_tradable": pair.is_api_tradable}
            rows.append(row)
        return self._pages(rows, query)

    def best_bid_ask(self, api: str, query: Query, now_ns: int) -> Json:
        rows = []
        for market in self._named(query, required=api == "v2"):
            best = market.engine.best()
            if best is None:
                continue
            bid, ask = best[0], best[2]
            if api == "v2":
                row: Json = {"symbol": market.pair.symbol, "bid": plain(bid), "ask": plain(ask)}
                if self._settings.switches.quote_times:
                    row["timestamp"] = at(now_ns)
            else:
                row = {"symbol": market.pair.symbol, "price": plain((bid + ask) / 2), **self._spread(bid, ask)}
                row["timestamp"] = at(now_ns)
            rows.append(row)
        return {"results": rows}

    def estimated_price(self, api: str, query: Query, now_ns: int) -> Json:
        market = self._named(query, required=True)[0]
        side = query.one("side")
        if side not in {"bid", "ask", "both"}:
            raise invalid("side", "Must be bid, ask or both.")
        texts = (query.one("quantity") or "").split(",")
        if len(texts) > _MOST_QUANTITIES:
            raise invalid("quantity", f"At most {_MOST_QUANTITIES} quantities.")
        rows = []
        for text in texts:
            qty = _quantity(text)
            names = ("bid", "ask") if side == "both" else (side,)
            rows += [self._estimate(api, market, name, qty, now_ns) for name in names]
        return {"results": rows}

    def _estimate(self, api: str, market: Market, name: str, qty: Decimal, now_ns: int) -> Json:
        side = Side.BUY if name == "ask" else Side.SELL
        got, worst_px = market.engine.sweep(side, qty=qty)
        best = market.engine.best()
        if not got or best is None:
            raise ApiError(503, "There is no price.")
        px = (market.engine.cost(side, got) + (qty - got) * worst_px) / qty
        ratio = self._settings.fee_ratio
        row: Json = {"symbol": market.pair.symbol, "side": name, "quantity": plain(qty), "timestamp": at(now_ns)}
        if api == "v1":
            row["price"] = plain((px * (1 + side * ratio)).quantize(_PRICE_STEP))
            return row | self._spread(best[0], best[2])
        fee = px * qty * ratio
        row["price"] = plain(px.quantize(_PRICE_STEP))
        row["fee_ratio"] = plain(ratio)
        row["est_fee"] = plain(fee.quantize(_PRICE_STEP))
        total = plain((px * qty + side * fee).quantize(_PRICE_STEP))
        row["est_total_cost"], row["est_total_credit"] = (total, None) if side is Side.BUY else (None, total)
        return row

    def _spread(self, bid: Decimal, ask: Decimal) -> Json:
        """v1's prices: the fee as a spread."""
        ratio = self._settings.fee_ratio
        return {
            "bid_inclusive_of_sell_spread": plain(bid * (1 - ratio)),
            "sell_spread": plain(ratio),
            "ask_inclusive_of_buy_spread": plain(ask * (1 + ratio)),
            "buy_spread": plain(ratio),
        }

    def _named(self, query: Query, *, required: bool) -> list[Market]:
        names = query.all("symbol")
        if not names and required:
            raise invalid("symbol", "This field is required.")
        markets = self._exchange.markets
        for name in names:
            if name not in markets:
                raise invalid("symbol", f"Invalid symbol {name[:40]}.")
        return [markets[name] for name in dict.fromkeys(names)] if names else list(markets.values())

    # --- orders -----------------------------------------------------------------------------------------------------

    def order_json(self, api: str, record: OrderRecord, *, as_arrived: bool = False) -> Json:
        settings = self._settings
        shown = record
        if as_arrived and settings.switches.answers_before_matching:
            state = "pending" if api == "v2" else "open"
            shown = OrderRecord(
                record.order_id, record.number, record.spec, record.created_ns, record.created_ns, state
            )
        return shown.json(api, settings.switches, settings.account_number, settings.fee_ratio)

    def order(self, api: str, order_id: str, query: Query) -> Json:
        self.check_account(api, query)
        record = self._exchange.orders.get(order_id)
        if record is None:
            raise ApiError(404, "Not found.")
        return self.order_json(api, record)

    def orders(self, api: str, query: Query, now_ns: int) -> Json:
        """Newest first."""
        self.check_account(api, query)
        rows: list[OrderRecord] = []
        size = _limit(query, self._settings.page_size)
        after = _read_cursor(query.one("cursor"))
        more = False
        for record in self._matching(api, query, now_ns):
            if after is not None and record.number >= after:
                continue
            if len(rows) == size:
                more = True
                break
            rows.append(record)
        following = query.page(_cursor(rows[-1].number)) if more else None
        previous = query.page(_cursor(after + size)) if after is not None and rows else None
        return {
            "next": following,
            "previous": previous,
            "results": [self.order_json(api, record) for record in rows],
        }

    def _matching(self, api: str, query: Query, now_ns: int) -> Iterator[OrderRecord]:
        """Times first: they leave out most, and a client that polls asks by them."""
        bounds = {
            name: parse_ns(text, name)
            for name in ("created_at_start", "created_at_end", "updated_at_start", "updated_at_end")
            if (text := query.one(name)) is not None
        }
        created_from_ns, updated_from_ns = bounds.get("created_at_start", 0), bounds.get("updated_at_start", 0)
        created_to_ns, updated_to_ns = bounds.get("created_at_end", _EVER_NS), bounds.get("updated_at_end", _EVER_NS)
        visible_ns = min(created_to_ns, now_ns - int(self._settings.listing_lag_s * NS))
        wanted = {name: set(query.all(name)) for name in ("id", "symbol", "side", "state", "type") if query.all(name)}
        for record in reversed(self._exchange.orders.values()):
            if record.created_ns < created_from_ns:
                return  # newest first
            if record.created_ns > visible_ns or not updated_from_ns <= record.updated_ns <= updated_to_ns:
                continue
            if all(self._told(api, record, name) in values for name, values in wanted.items()):
                yield record

    def _told(self, api: str, record: OrderRecord, name: str) -> str:
        """A member of an order by which lists are filtered."""
        match name:
            case "id":
                return record.order_id
            case "symbol":
                return record.spec.symbol
            case "side":
                return "buy" if record.spec.side is Side.BUY else "sell"
            case "type":
                return record.spec.kind
        return record.state_in(api, self._settings.switches)

    def _pages(self, rows: Sequence[Json], query: Query) -> Json:
        """Rows that do not move, by their place."""
        size = _limit(query, self._settings.page_size)
        start = _read_cursor(query.one("cursor")) or 0
        end = start + size
        return {
            "next": query.page(_cursor(end)) if end < len(rows) else None,
            "previous": query.page(_cursor(max(0, start - size))) if start else None,
            "results": list(rows[start:end]),
        }


def _limit(query: Query, default: int) -> int:
    text = query.one("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST_LIMIT):
        raise invalid("limit", "A valid integer is required.")
    return int(text)


def _cursor(number: int) -> str:
    return base64.b64encode(f"p={number}".encode()).decode()


def _read_cursor(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        told = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        told = ""
    number = told.removeprefix("p=")
    if not told.startswith("p=") or not (number.isascii() and number.isdecimal()) or len(number) > 12:
        raise invalid("cursor", "Invalid cursor.")
    return int(number)


def _quantity(text: str) -> Decimal:
    try:
        qty = Decimal(text)
    except InvalidOperation:
        qty = Decimal("NaN")
    if not qty.is_finite() or not 0 < qty < Decimal(10) ** 12:
        raise invalid("quantity", "A valid number is required.")
    return qty
