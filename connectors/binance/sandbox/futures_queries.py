"""Questions about perpetuals: what futures answer otherwise than spot, and what they alone answer.

Owns their parameters and answers.  Nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable

from connectors.binance.sandbox import funding, futures, wire
from connectors.binance.sandbox.errors import ApiError, Json
from connectors.binance.sandbox.params import Params, integer
from connectors.binance.sandbox.queries import Queries
from connectors.binance.sandbox.settings import USDM_LIMITS, RateLimits
from connectors.local.exchange import Exchange
from connectors.local.records import Market
from engine.events import Side

_MS_NS = 1_000_000
_DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1_000: 20}
_KLINES_WEIGHTS = ((99, 1), (499, 2), (1_000, 5))


class FuturesQueries(Queries):
    """As ``Queries``."""

    most_klines = 1_500

    def __init__(self, exchange: Exchange, limits: RateLimits | None, book_id: Callable[[str], int]) -> None:
        super().__init__(exchange, limits or USDM_LIMITS, book_id)

    def exchange_info(self, params: Params, now_ns: int) -> Json:  # noqa: ARG002 - all of it, whatever is asked
        told = super().exchange_info({}, now_ns)
        markets = list(self.markets.values())
        quotes = dict.fromkeys(market.product.quote for market in markets)
        told["futuresType"] = "U_MARGINED"
        told["assets"] = [futures.asset(name) for name in quotes]
        return told | {"symbols": [futures.rules(market) for market in markets]}

    def depth(self, params: Params, now_ns: int) -> Json:
        market, limit = self.market(params), integer(params, "limit", 500)
        if limit not in _DEPTH_WEIGHTS:
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        last_id, now_ms = self.book_id(market.product.symbol), now_ns // _MS_NS
        sides = {"bids": market.engine.levels(Side.BUY, limit), "asks": market.engine.levels(Side.SELL, limit)}
        told = {name: futures.levels(market, list(found)) for name, found in sides.items()}
        return {"lastUpdateId": last_id, "E": now_ms, "T": now_ms, **told}

    def trades(self, params: Params, _: int) -> list[Json]:
        market = self.market(params)
        return [futures.trade(market, each) for each in list(market.tape.trades)[-self.limit(params) :]]

    def old_trades(self, params: Params, now_ns: int) -> list[Json]:
        if "fromId" not in params:
            return self.trades(params, now_ns)
        market, first = self.market(params), integer(params, "fromId")
        return [futures.trade(market, each) for each in market.tape.since(first)][: self.limit(params)]

    def agg_trades(self, params: Params, _: int) -> list[Json]:
        market = self.market(params)
        return [futures.agg_trade(market, group) for group in self.groups(params)]

    def day_ticker(self, params: Params, now_ns: int) -> Json | list[Json]:
        return self.one_or_all(params, lambda market: futures.day_ticker(market, now_ns))

    def price(self, params: Params, now_ns: int) -> Json | list[Json]:
        def one(market: Market) -> Json:
            px = market.tape.last_px or market.product.start_px
            symbol, told = wire.venue_symbol(market.product.symbol), futures.price(market.product, px)
            return {"symbol": symbol, "price": told, "time": now_ns // _MS_NS}

        return self.one_or_all(params, one)

    def best(self, params: Params, now_ns: int) -> Json | list[Json]:
        return self.one_or_all(
            params, lambda market: futures.best(market, self.book_id(market.product.symbol), now_ns // _MS_NS)
        )

    # --- futures alone ------------------------------------------------------------------------------------------------

    def premium(self, params: Params, now_ns: int) -> Json | list[Json]:
        return self.one_or_all(
            params, lambda market: futures.premium(market, funding.mark(market, now_ns), now_ns // _MS_NS)
        )

    def funding_rates(self, params: Params, now_ns: int) -> list[Json]:
        """Those that were paid, oldest first; the newest of them without a time."""
        from_ms, to_ms = integer(params, "startTime", 0), integer(params, "endTime", now_ns // _MS_NS)
        limit = min(integer(params, "limit", 100, low=1), 1_000)
        markets = [self.market(params)] if "symbol" in params else list(self.markets.values())
        rows = [
            futures.paid(market, *row) for market in markets for row in funding.paid(market, from_ms, to_ms, now_ns)
        ]
        rows.sort(key=lambda row: row["fundingTime"])
        return rows[:limit] if "startTime" in params else rows[-limit:]

    def funding_info(self, _: Params, __: int) -> list[Json]:
        return [futures.funding_info(market) for market in self.markets.values()]


def depth_weight(params: Params) -> int:
    text = params.get("limit", "500")
    return _DEPTH_WEIGHTS.get(int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 500, 2)


def klines_weight(params: Params) -> int:
    text = params.get("limit", "500")
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 500
    return next((weight for most, weight in _KLINES_WEIGHTS if limit <= most), 10)
