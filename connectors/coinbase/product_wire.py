"""The messages of Coinbase Advanced Trade about what can be traded, as typed structs.

Owns shapes and number kinds, like ``wire``; what a product means is ``directory``'s and ``contracts``'s.

Source: Coinbase Advanced Trade API, REST reference (docs.cdp.coinbase.com/advanced-trade).
"""

from __future__ import annotations

from decimal import Decimal

import msgspec


class MarginRates(msgspec.Struct):
    """Shares of the notional."""

    long_margin_rate: str = ""
    short_margin_rate: str = ""


class ContractTerms(msgspec.Struct):
    """``{"contract_expiry":"2030-12-20T16:00:00Z","contract_size":"0.01","contract_root_unit":"BTC",
    "contract_expiry_type":"EXPIRING","funding_rate":"0.00001","intraday_margin_rate":{"long_margin_rate":"0.1",
    "short_margin_rate":"0.1"},"overnight_margin_rate":{...},...}``; a funding rate makes it one of the perpetual style.
    """

    contract_expiry: str | None = ""
    contract_size: str | None = ""
    contract_root_unit: str | None = ""
    contract_expiry_type: str | None = ""
    funding_rate: str | None = ""
    twenty_four_by_seven: bool | None = False
    intraday_margin_rate: MarginRates | None = None
    overnight_margin_rate: MarginRates | None = None


class TradingSession(msgspec.Struct):
    """``{"is_session_open":true,"open_time":"...","close_time":"...",...}``."""

    is_session_open: bool | None = None
    open_time: str | None = ""
    close_time: str | None = ""


class Product(msgspec.Struct):
    """``{"product_id":"BTC-USD","base_increment":"0.00000001","price_increment":"0.01","quote_increment":"0.01",
    "quote_min_size":"1","base_min_size":"0.00000001","base_max_size":"3400","status":"online",...}``."""

    product_id: str
    base_increment: Decimal
    quote_increment: Decimal
    base_min_size: Decimal
    base_max_size: Decimal
    price: str | None = ""
    price_increment: str = ""
    quote_min_size: str = ""
    base_currency_id: str = ""
    quote_currency_id: str = ""
    status: str = ""
    product_type: str = "SPOT"
    alias: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    cancel_only: bool = False
    limit_only: bool = False
    post_only: bool = False
    auction_mode: bool = False
    view_only: bool = False
    future_product_details: ContractTerms | None = None
    fcm_trading_session_details: TradingSession | None = None


class ProductId(msgspec.Struct):
    product_id: str


class ProductIds(msgspec.Struct):
    products: list[ProductId]
