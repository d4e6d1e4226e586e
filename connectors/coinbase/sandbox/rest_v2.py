"""The few paths of the venue's older API that third-party clients still ask: currencies, rates, time, wallets.

Owns their shapes.  Wallets tell no holds there: what is held is missing from the balance.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from connectors.coinbase.sandbox import wire
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.replies import reply
from connectors.coinbase.sandbox.times import at

PREFIX = "/v2"
PUBLIC = frozenset({f"{PREFIX}/{name}" for name in ("currencies", "currencies/crypto", "exchange-rates", "time")})
"""Paths that need no key."""
_FIAT = {"USD": ("US Dollar", "0.01"), "EUR": ("Euro", "0.01"), "GBP": ("British Pound", "0.01")}


class OlderRoutes:
    """Handlers over one exchange."""

    def __init__(self, exchange: Exchange, now_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._now_ns = now_ns

    def add(self, app: web.Application) -> None:
        get = app.router.add_get
        get(f"{PREFIX}/currencies", self.fiat)
        get(f"{PREFIX}/currencies/crypto", self.crypto)
        get(f"{PREFIX}/exchange-rates", self.rates)
        get(f"{PREFIX}/time", self.time)
        get(f"{PREFIX}/accounts", self.accounts)

    async def fiat(self, _: web.Request) -> web.Response:
        rows = [{"id": code, "name": name, "min_size": step} for code, (name, step) in _FIAT.items()]
        return reply({"data": rows})

    async def crypto(self, _: web.Request) -> web.Response:
        names = {m.product.base: m.product.base_name for m in self._exchange.markets.values() if not m.product.future}
        codes = [wallet.currency for wallet in self._exchange.wallets if wallet.currency not in _FIAT]
        rows = [
            {
                "asset_id": f"asset-{code}",
                "code": code,
                "name": names.get(code) or code,
                "color": "#000000",
                "sort_index": number,
                "exponent": 8,
                "type": "crypto",
                "address_regex": "",
            }
            for number, code in enumerate(codes, 100)
        ]
        return reply({"data": rows})

    async def rates(self, _: web.Request) -> web.Response:
        """Units of each currency that one dollar buys."""
        rates = {"USD": "1"}
        for market in self._exchange.markets.values():
            px = wire.last_price(market)
            if market.product.future is None and market.product.quote == "USD" and px > 0:
                rates[market.product.base] = f"{1 / px:.18f}"
        return reply({"data": {"currency": "USD", "rates": rates}})

    async def time(self, _: web.Request) -> web.Response:
        now_ns = self._now_ns()
        return reply({"data": {"iso": f"{at(now_ns)[:19]}Z", "epoch": now_ns // 1_000_000_000}})

    async def accounts(self, _: web.Request) -> web.Response:
        rows = []
        for wallet in self._exchange.wallets:
            code = wallet.currency
            available, _hold = self._exchange.wallets.amounts(code)
            rows.append(
                {
                    "id": wallet.uuid,
                    "name": f"{code} Wallet",
                    "primary": code == "BTC",
                    "type": "fiat" if code in _FIAT else "wallet",
                    "currency": {"code": code, "name": code, "type": "fiat" if code in _FIAT else "crypto"},
                    "balance": {"amount": wire.number(available), "currency": code},
                    "created_at": at(wallet.created_ns),
                    "updated_at": at(wallet.updated_ns),
                    "resource": "account",
                    "resource_path": f"{PREFIX}/accounts/{wallet.uuid}",
                }
            )
        none = {"ending_before": None, "starting_after": None, "previous_uri": None, "next_uri": None}
        page = {**none, "limit": len(rows), "order": "desc"}
        return reply({"pagination": page, "data": rows})
