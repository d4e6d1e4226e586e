"""The portfolio of the sandbox as REST shows it: who it is, what lies in it, what it is worth.

Owns the answers of ``/portfolios``.  Changes nothing; a sandbox has one portfolio, to which every key is bound.
"""

from __future__ import annotations

from decimal import Decimal

from connectors.coinbase.sandbox import wire
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.records import ZERO

_CURRENCY = "USD"
_CENT = Decimal("0.01")


def portfolios(exchange: Exchange, kind: str | None) -> wire.Json:
    wanted = kind in {None, "DEFAULT", "UNDEFINED"}
    return {"portfolios": [_portfolio(exchange)] if wanted else []}


def breakdown(exchange: Exchange, uuid: str) -> wire.Json | None:
    """None when there is no such portfolio."""
    if uuid != exchange.portfolio_id:
        return None
    spot = [_spot(exchange, wallet.currency, wallet.uuid) for wallet in exchange.wallets]
    worth = sum((_worth(exchange, wallet.currency) for wallet in exchange.wallets), ZERO)
    cash = sum(exchange.wallets.amounts(_CURRENCY), ZERO)
    positions = exchange.futures.positions()
    unrealised = sum((Decimal(one["unrealized_pnl"]) for one in positions), ZERO)
    made = {
        "portfolio": _portfolio(exchange),
        "portfolio_balances": {
            "total_balance": _amount(worth + unrealised),
            "total_futures_balance": _amount(unrealised),
            "total_cash_equivalent_balance": _amount(cash),
            "total_crypto_balance": _amount(worth - cash),
            "futures_unrealized_pnl": _amount(unrealised),
            "perp_unrealized_pnl": _amount(ZERO),
        },
        "spot_positions": spot,
        "perp_positions": [],
        "futures_positions": positions,
    }
    return {"breakdown": made}


def _portfolio(exchange: Exchange) -> wire.Json:
    return {"name": "Default", "uuid": exchange.portfolio_id, "type": "DEFAULT", "deleted": False}


def _spot(exchange: Exchange, currency: str, uuid: str) -> wire.Json:
    available, hold = exchange.wallets.amounts(currency)
    worth = _worth(exchange, currency)
    return {
        "asset": currency,
        "account_uuid": uuid,
        "total_balance_fiat": float(worth),
        "total_balance_crypto": float(available + hold),
        "available_to_trade_fiat": float(worth * available / (available + hold)) if available + hold else 0.0,
        "available_to_trade_crypto": float(available),
        "allocation": 0.0,
        "is_cash": currency == _CURRENCY,
        "account_type": "ACCOUNT_TYPE_FIAT" if currency == _CURRENCY else "ACCOUNT_TYPE_CRYPTO",
    }


def _worth(exchange: Exchange, currency: str) -> Decimal:
    """In dollars, at the last price; nothing for what has no dollar market here."""
    amount = sum(exchange.wallets.amounts(currency), ZERO)
    if currency == _CURRENCY:
        return amount
    market = exchange.markets.get(f"{currency}-{_CURRENCY}")
    return ZERO if market is None else (amount * wire.last_price(market)).quantize(_CENT)


def _amount(value: Decimal) -> wire.Json:
    return {"value": wire.number(value), "currency": _CURRENCY}
