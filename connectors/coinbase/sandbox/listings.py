"""Products as the venue lists them: pairs and contracts over REST, and the rows of the status channel.

Owns their field names and number forms.  Holds no state; what the rules are is ``settings``.
"""

from __future__ import annotations

from decimal import Decimal

from connectors.coinbase.sandbox.records import Market
from connectors.coinbase.sandbox.settings import FutureTerms
from connectors.coinbase.sandbox.times import at
from connectors.coinbase.sandbox.wire import SNAPSHOT_TIME, Json, last_price, number


def product(market: Market, *, created_ns: int) -> Json:
    """A product, all documented fields."""
    rules = market.product
    terms = rules.future
    tape = market.tape
    best = market.engine.best()
    mid = (best[0] + best[2]) / 2 if best is not None else None
    return {
        "product_id": rules.product_id,
        "price": number(last_price(market)),
        "price_percentage_change_24h": number(tape.change_24h_percent()),
        "volume_24h": number(tape.volume_24h),
        "volume_percentage_change_24h": "0",
        "base_increment": number(rules.base_increment),
        "quote_increment": number(rules.quote_increment),
        "quote_min_size": number(rules.quote_min_size),
        "quote_max_size": number(rules.quote_max_size),
        "base_min_size": number(rules.base_min_size),
        "base_max_size": number(rules.base_max_size),
        "base_name": rules.base_name or rules.base,
        "quote_name": "US Dollar" if rules.quote == "USD" else rules.quote,
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": rules.status,
        "cancel_only": rules.cancel_only,
        "limit_only": rules.limit_only,
        "post_only": rules.post_only,
        "trading_disabled": rules.trading_disabled,
        "auction_mode": False,
        "product_type": rules.product_type,
        "quote_currency_id": rules.quote,
        "base_currency_id": rules.base if terms is None else "",
        "fcm_trading_session_details": None if terms is None else _session(terms),
        "mid_market_price": "" if mid is None else number(mid),
        "alias": rules.alias,
        "alias_to": [f"{rules.base}-USDC"] if rules.quote == "USD" and terms is None else [],
        "base_display_symbol": rules.base if terms is None else terms.root,
        "quote_display_symbol": rules.quote,
        "view_only": False,
        "price_increment": number(rules.price_increment),
        "display_name": rules.product_id,
        "product_venue": "CBE" if terms is None else "FCM",
        "approximate_quote_24h_volume": number(tape.quote_volume_24h.quantize(Decimal("0.01"))),
        "new_at": at(created_ns),
        "future_product_details": None if terms is None else _contract(market, terms, last_price(market)),
    }


def _session(terms: FutureTerms) -> Json:
    return {
        "is_session_open": terms.session_open,
        "open_time": SNAPSHOT_TIME,
        "close_time": at(terms.session_closes_ns or terms.expires_ns),
        "session_state": "FCM_TRADING_SESSION_STATE_OPEN" if terms.session_open else "FCM_TRADING_SESSION_STATE_CLOSED",
        "after_hours_order_entry_disabled": False,
        "closed_reason": "FCM_TRADING_SESSION_CLOSED_REASON_UNDEFINED",
        "maintenance": None,
    }


def _contract(market: Market, terms: FutureTerms, mark_px: Decimal) -> Json:
    code = market.product.product_id.partition("-")[0]
    rate = "" if terms.funding_rate is None else number(terms.funding_rate)
    funding_time = "" if terms.funding_rate is None else SNAPSHOT_TIME
    overnight, intraday = (
        {"long_margin_rate": number(share), "short_margin_rate": number(share)}
        for share in (terms.margin_rate, terms.intraday_margin_rate)
    )
    return {
        "venue": "cde",
        "contract_code": code,
        "contract_expiry": f"{at(terms.expires_ns)[:19]}Z",
        "contract_size": number(terms.contract_size),
        "contract_root_unit": terms.root,
        "group_description": f"{market.product.base_name} futures",
        "contract_expiry_timezone": "Europe/London",
        "group_short_description": market.product.base_name,
        "risk_managed_by": "MANAGED_BY_FCM",
        "contract_expiry_type": "EXPIRING",
        "perpetual_details": None,
        "contract_display_name": f"{market.product.base_name} {at(terms.expires_ns)[:10]}",
        "time_to_expiry_ms": None,
        "non_crypto": False,
        "contract_expiry_name": at(terms.expires_ns)[:10],
        "twenty_four_by_seven": terms.funding_rate is not None,
        "funding_interval": "3600s" if rate else None,
        "funding_rate": rate,
        "funding_time": funding_time or None,
        "open_interest": number(market.tape.volume_24h),
        "intraday_margin_rate": intraday,
        "overnight_margin_rate": overnight,
        "settlement_price": number(mark_px),
        "index_price": number(mark_px),
        "futures_asset_type": "FUTURES_ASSET_TYPE_CRYPTO",
    }


def status(market: Market) -> Json:
    rules = market.product
    return {
        "product_type": rules.product_type,
        "id": rules.product_id,
        "base_currency": rules.base,
        "quote_currency": rules.quote,
        "base_increment": number(rules.base_increment),
        "quote_increment": number(rules.quote_increment),
        "display_name": f"{rules.base}/{rules.quote}",
        "status": rules.status,
        "status_message": "",
        "min_market_funds": number(rules.quote_min_size),
    }
