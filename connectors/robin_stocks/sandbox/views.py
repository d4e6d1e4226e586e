"""The venue's JSON of what can be read: accounts, stocks, quotes, hours, contracts, positions, coins.

Owns shapes.  Orders have theirs in ``records``, lists and pages are ``api``'s.
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_DOWN, Decimal

from connectors.robin_stocks.sandbox.account import Account, Contract, Holding
from connectors.robin_stocks.sandbox.errors import Json
from connectors.robin_stocks.sandbox.exchange import Exchange, Listed
from connectors.robin_stocks.sandbox.market import ZERO, Market
from connectors.robin_stocks.sandbox.options import ABOVE_TICK, BELOW_TICK, CUTOFF, Chain, Greeks
from connectors.robin_stocks.sandbox.records import API
from connectors.robin_stocks.sandbox.times import ALL_DAY, CLOSED, EXTENDED, REGULAR, MarketHours, iso, iso_seconds
from connectors.robin_stocks.settings import PLAY_NICKNAME
from engine.events import Side

MARKETS = {
    "XNYS": ("New York Stock Exchange, Inc.", "NYSE"),
    "XNAS": ("NASDAQ - All Markets", "NASDAQ"),
    "ARCX": ("NYSE Arca", "NYSE Arca"),
}


def money(value: Decimal) -> str:
    return f"{value.quantize(Decimal('0.0001'), ROUND_DOWN):f}"


def px(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.6f}"


# --- accounts ---------------------------------------------------------------------------------------------------------


def account_json(account: Account) -> Json:
    held = account.held_cash
    return {
        "url": f"{API}/accounts/{account.number}/",
        "account_number": account.number,
        "nickname": PLAY_NICKNAME,
        "type": "cash",
        "state": "active",
        "deactivated": False,
        "buying_power": money(account.buying_power),
        "cash": money(account.cash),
        "portfolio_cash": money(account.cash),
        "cash_held_for_orders": money(held),
        "cash_available_for_withdrawal": money(max(ZERO, account.buying_power)),
        "uncleared_deposits": "0.0000",
        "unsettled_funds": "0.0000",
        "option_level": "option_level_3",
        "portfolio": f"{API}/portfolios/{account.number}/",
        "positions": f"{API}/positions/?account_number={account.number}",
    }


def portfolio_json(account: Account) -> Json:
    worth = ZERO
    for holding in account.holdings.values():
        quote = holding.market.quote
        worth += holding.qty * (holding.avg_px if quote is None else quote.mid) * holding.market.multiplier
    equity = worth + account.cash
    return {
        "url": f"{API}/portfolios/{account.number}/",
        "account": f"{API}/accounts/{account.number}/",
        "equity": money(equity),
        "extended_hours_equity": money(equity),
        "market_value": money(worth),
        "extended_hours_market_value": money(worth),
        "equity_previous_close": money(equity),
        "withdrawable_amount": money(max(ZERO, account.buying_power)),
    }


def position_json(account: Account, listed: Listed, holding: Holding) -> Json:
    symbol = listed.rules.symbol
    return {
        "url": f"{API}/positions/{account.number}/{listed.id}/",
        "account": f"{API}/accounts/{account.number}/",
        "account_number": account.number,
        "instrument": f"{API}/instruments/{listed.id}/",
        "instrument_id": listed.id,
        "symbol": symbol,
        "quantity": f"{holding.qty:.8f}",
        "average_buy_price": money(holding.avg_px),
        "shares_held_for_buys": f"{account.held_qty(symbol, Side.BUY):.8f}",
        "shares_held_for_sells": f"{account.held_qty(symbol, Side.SELL):.8f}",
        "shares_available_for_exercise": f"{account.free_qty(symbol):.8f}",
        "created_at": iso(holding.opened_ns),
        "updated_at": iso(holding.opened_ns),
    }


def option_position_json(account: Account, contract: Contract, holding: Holding) -> Json:
    long = holding.qty > 0
    return {
        "id": f"{account.number}-{contract.id}",
        "url": f"{API}/options/positions/{account.number}-{contract.id}/",
        "account": f"{API}/accounts/{account.number}/",
        "account_number": account.number,
        "chain_id": contract.chain_id,
        "chain_symbol": contract.symbol,
        "option": f"{API}/options/instruments/{contract.id}/",
        "option_id": contract.id,
        "expiration_date": contract.expiry,
        "type": "long" if long else "short",
        "quantity": f"{abs(holding.qty):.4f}",
        "average_price": money(holding.avg_px * holding.market.multiplier * (1 if long else -1)),
        "trade_value_multiplier": money(holding.market.multiplier),
        "pending_buy_quantity": f"{account.held_qty(contract.id, Side.BUY):.4f}",
        "pending_sell_quantity": f"{account.held_qty(contract.id, Side.SELL):.4f}",
    }


# --- stocks -----------------------------------------------------------------------------------------------------------


def instrument_json(listed: Listed, chain: Chain | None) -> Json:
    rules = listed.rules
    return {
        "id": listed.id,
        "url": f"{API}/instruments/{listed.id}/",
        "quote": f"{API}/quotes/{rules.symbol}/",
        "fundamentals": f"{API}/fundamentals/{rules.symbol}/",
        "splits": f"{API}/instruments/{listed.id}/splits/",
        "market": f"{API}/markets/{rules.market}/",
        "symbol": rules.symbol,
        "simple_name": rules.name,
        "name": rules.name,
        "type": rules.kind,
        "state": "active",
        "tradeable": True,
        "tradability": "tradable",
        "fractional_tradability": "tradable" if rules.fractional else "position_closing_only",
        "all_day_tradability": "tradable",
        "min_tick_size": None,
        "country": "US",
        "list_date": "1990-01-02",
        "tradable_chain_id": None if chain is None else chain.id,
    }


def quote_json(listed: Listed, *, zero: bool) -> Json:
    """``zero``: both sides show nothing."""
    market, rules = listed.market, listed.rules
    quote = market.quote
    shown = quote is not None and not zero
    last = market.last_px or rules.start_px
    return {
        "symbol": rules.symbol,
        "instrument": f"{API}/instruments/{listed.id}/",
        "instrument_id": listed.id,
        "bid_price": px(quote.bid if quote is not None and shown else ZERO),
        "bid_size": max(1, int(quote.bid_qty)) if quote is not None and shown else 0,
        "ask_price": px(quote.ask if quote is not None and shown else ZERO),
        "ask_size": max(1, int(quote.ask_qty)) if quote is not None and shown else 0,
        "last_trade_price": px(last),
        "last_extended_hours_trade_price": None,
        "previous_close": px(listed.previous_close),
        "adjusted_previous_close": px(listed.previous_close),
        "trading_halted": market.halted,
        "has_traded": True,
        "state": "active",
        "last_trade_price_source": "consolidated",
        "updated_at": iso(0 if quote is None else quote.ts_ns),
    }


def book_json(listed: Listed) -> Json:
    sides = {}
    for name, side in (("asks", Side.SELL), ("bids", Side.BUY)):
        sides[name] = [
            {"side": name[:3], "price": {"amount": px(at), "currency_code": "USD"}, "quantity": int(qty)}
            for at, qty in listed.market.levels(side, 20)
        ]
    quote = listed.market.quote
    return {**sides, "instrument_id": listed.id, "updated_at": iso(0 if quote is None else quote.ts_ns)}


def fundamentals_json(exchange: Exchange, listed: Listed, now_ns: int) -> Json:
    year = exchange.stocks[listed.rules.symbol].chart.bars("day", "year", "regular", now_ns)
    today = year[-1]
    return {
        "open": px(today.open),
        "high": px(today.high),
        "low": px(today.low),
        "volume": f"{today.volume:.6f}",
        "average_volume": f"{sum(bar.volume for bar in year) // len(year):.6f}",
        "high_52_weeks": px(max(bar.high for bar in year)),
        "low_52_weeks": px(min(bar.low for bar in year)),
        "market_cap": f"{listed.rules.start_px * 1_000_000_000:.6f}",
        "pe_ratio": "24.000000",
        "dividend_yield": "0.500000",
        "description": f"{listed.rules.name} of the sandbox.",
        "instrument": f"{API}/instruments/{listed.id}/",
        "sector": "Sandbox",
        "industry": "Sandbox",
    }


# --- hours ------------------------------------------------------------------------------------------------------------


def market_json(mic: str, today: date) -> Json:
    name, acronym = MARKETS[mic]
    return {
        "url": f"{API}/markets/{mic}/",
        "todays_hours": hours_url(mic, today),
        "mic": mic,
        "operating_mic": mic,
        "name": name,
        "acronym": acronym,
        "city": "New York",
        "country": "US - United States of America",
        "timezone": "US/Eastern",
        "website": "",
    }


def hours_url(mic: str, day: date) -> str:
    return f"{API}/markets/{mic}/hours/{day.isoformat()}/"


def hours_json(hours: MarketHours, mic: str, day: date) -> Json:
    spans = hours.day(day).spans
    made: Json = {"date": day.isoformat(), "is_open": bool(spans)}
    for name, kind in (("", REGULAR), ("extended_", EXTENDED), ("all_day_", ALL_DAY)):
        span = spans.get(kind)
        made[f"{name}opens_at"] = None if span is None else iso_seconds(span.opens_ns)
        made[f"{name}closes_at"] = None if span is None else iso_seconds(span.closes_ns)
    made["previous_open_hours"] = hours_url(mic, hours.next_open(day, -1))
    made["next_open_hours"] = hours_url(mic, hours.next_open(day))
    return made


def shows_zero(exchange: Exchange, now_ns: int) -> bool:
    closed = exchange.hours.session(now_ns) == CLOSED
    return closed and exchange.settings.switches.quotes_when_closed == "zero"


# --- options ----------------------------------------------------------------------------------------------------------


def chain_json(chain: Chain, instrument_id: str) -> Json:
    return {
        "id": chain.id,
        "symbol": chain.stock.symbol,
        "can_open_position": True,
        "cash_component": None,
        "expiration_dates": list(chain.expiries),
        "trade_value_multiplier": "100.0000",
        "underlying_instruments": [
            {"id": chain.id, "instrument": f"{API}/instruments/{instrument_id}/", "quantity": 100}
        ],
        "min_ticks": ticks_json(),
    }


def ticks_json() -> Json:
    return {"above_tick": f"{ABOVE_TICK}", "below_tick": f"{BELOW_TICK}", "cutoff_price": f"{CUTOFF:.2f}"}


def contract_json(contract: Contract, now_ns: int) -> Json:
    alive = contract.expires_ns > now_ns
    return {
        "id": contract.id,
        "url": f"{API}/options/instruments/{contract.id}/",
        "chain_id": contract.chain_id,
        "chain_symbol": contract.symbol,
        "expiration_date": contract.expiry,
        "strike_price": money(contract.strike),
        "type": contract.kind,
        "state": "active" if alive else "expired",
        "tradability": "tradable" if alive else "untradable",
        "rhs_tradability": "tradable" if alive else "untradable",
        "min_ticks": ticks_json(),
        "issue_date": "2020-01-02",
        "sellout_datetime": iso_seconds(contract.expires_ns),
    }


def option_quote_json(contract: Contract, market: Market, greeks: Greeks | None) -> Json:
    quote = market.quote
    mark = None if quote is None else quote.mid
    told = (
        {}
        if greeks is None
        else {
            "delta": f"{greeks.delta:.6f}",
            "gamma": f"{greeks.gamma:.6f}",
            "theta": f"{greeks.theta:.6f}",
            "vega": f"{greeks.vega:.6f}",
            "rho": f"{greeks.rho:.6f}",
            "implied_volatility": "0.280000",
        }
    )
    return {
        "instrument": f"{API}/options/instruments/{contract.id}/",
        "instrument_id": contract.id,
        "symbol": contract.symbol,
        "adjusted_mark_price": px(mark),
        "mark_price": px(mark),
        "bid_price": px(None if quote is None else quote.bid),
        "bid_size": 0 if quote is None else int(quote.bid_qty),
        "ask_price": px(None if quote is None else quote.ask),
        "ask_size": 0 if quote is None else int(quote.ask_qty),
        "last_trade_price": px(market.last_px or mark),
        "previous_close_price": px(mark),
        "open_interest": 100,
        "volume": int(market.volume),
        "chance_of_profit_long": "0.500000",
        "chance_of_profit_short": "0.500000",
        "updated_at": iso(0 if quote is None else quote.ts_ns),
        **told,
    }  # fmt: skip


# --- coins ------------------------------------------------------------------------------------------------------------


def pair_json(exchange: Exchange) -> Json:
    rules = exchange.coin.instrument
    return {
        "id": exchange.coin_id,
        "symbol": f"{rules.base}-USD",
        "name": "Bitcoin to US Dollar",
        "asset_currency": {"code": rules.base, "increment": f"{rules.lot_qty:f}", "type": "cryptocurrency"},
        "quote_currency": {"code": "USD", "increment": f"{rules.tick_px:f}", "type": "fiat"},
        "min_order_size": f"{rules.lot_qty:f}",
        "max_order_size": "100.0",
        "min_order_price_increment": f"{rules.tick_px:f}",
        "min_order_quantity_increment": f"{rules.lot_qty:f}",
        "tradability": "tradable",
    }


def coin_quote_json(exchange: Exchange) -> Json:
    quote = exchange.coin.quote
    return {
        "id": exchange.coin_id,
        "symbol": f"{exchange.coin.key}USD",
        "bid_price": px(None if quote is None else quote.bid),
        "ask_price": px(None if quote is None else quote.ask),
        "mark_price": px(None if quote is None else quote.mid),
        "open_price": px(exchange.coin.last_px),
        "high_price": px(exchange.coin.last_px),
        "low_price": px(exchange.coin.last_px),
        "volume": f"{exchange.coin.volume:.6f}",
        "updated_at": iso(0 if quote is None else quote.ts_ns),
    }


def coin_holding_json(account: Account, exchange: Exchange) -> Json:
    key = exchange.coin.key
    holding = account.holdings.get(key)
    qty = ZERO if holding is None else holding.qty
    return {
        "id": f"{account.number}-{key}",
        "account_id": account.number,
        "currency": {"code": key, "name": "Bitcoin", "type": "cryptocurrency"},
        "quantity": f"{qty:.18f}",
        "quantity_available": f"{account.free_qty(key):.18f}",
        "quantity_held_for_buy": f"{account.held_qty(key, Side.BUY):.18f}",
        "quantity_held_for_sell": f"{account.held_qty(key, Side.SELL):.18f}",
        "cost_bases": [
            {
                "direct_cost_basis": money(qty * (ZERO if holding is None else holding.avg_px)),
                "direct_quantity": f"{qty}",
            }
        ],
    }
