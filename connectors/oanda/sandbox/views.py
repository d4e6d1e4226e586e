"""What accounts, positions and prices look like in answers.

Owns the JSON of state; nothing here changes any.  Orders and trades draw themselves (``records``).
"""

from __future__ import annotations

from decimal import Decimal

from connectors.oanda.sandbox.account import Account, Worth
from connectors.oanda.sandbox.errors import Json
from connectors.oanda.sandbox.market import Level, Market, Markets, Quote
from connectors.oanda.sandbox.records import ZERO, Totals, Trade, money, plain
from connectors.oanda.sandbox.settings import SandboxInstrument
from connectors.oanda.sandbox.times import at

_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def charged_days(day: str) -> int:
    """Days of interest that the roll of a weekday charges: Wednesday's has the weekend, as settlement comes later."""
    return {"WEDNESDAY": 3, "SATURDAY": 0, "SUNDAY": 0}.get(day, 1)


# --- prices and instruments -----------------------------------------------------------------------------------------


def price_json(market: Market, quote: Quote) -> Json:
    """``{"type":"PRICE","instrument":"EUR_USD","time":"2026-11-20T14:03:07.123456789Z","status":"tradeable",...}``."""
    digits = market.rules.display_precision
    return {
        "type": "PRICE",
        "instrument": market.rules.name,
        "time": at(quote.ts_ns),
        "status": "tradeable" if market.tradeable else "non-tradeable",
        "tradeable": market.tradeable,
        "bids": _buckets(quote.bids, digits),
        "asks": _buckets(quote.asks, digits),
        "closeoutBid": f"{quote.closeout_bid:.{digits}f}",
        "closeoutAsk": f"{quote.closeout_ask:.{digits}f}",
    }


def _buckets(levels: tuple[Level, ...], digits: int) -> list[Json]:
    return [{"price": f"{px:.{digits}f}", "liquidity": int(qty)} for px, qty in levels if qty >= 1]


def units_available(account: Account, market: Market) -> Json:
    """By position fill, what the margin that is free can carry."""
    worth = account.worth()
    free = max(ZERO, account.balance + worth.unrealised - worth.margin_used)
    each = account.margin(market, Decimal(1_000_000)) / 1_000_000
    most = (free / each // market.rules.lot_qty) * market.rules.lot_qty if each else ZERO
    longs, shorts = account.units_of(market.rules.name)
    turn = ZERO if account.settings.hedging else Decimal(2)
    made: Json = {}
    for name, buy, sell in (
        ("default", most + turn * shorts, most + turn * longs),
        ("reduceFirst", most + 2 * shorts, most + 2 * longs),
        ("reduceOnly", shorts, longs),
        ("openOnly", most if not shorts else ZERO, most if not longs else ZERO),
    ):
        made[name] = {"long": plain(buy), "short": plain(sell)}
    return made


def instrument_json(rules: SandboxInstrument) -> Json:
    digits = rules.display_precision
    made: Json = {
        "name": rules.name,
        "type": rules.kind,
        "displayName": rules.name.replace("_", "/"),
        "pipLocation": rules.pip_location,
        "displayPrecision": digits,
        "tradeUnitsPrecision": rules.units_precision,
        "minimumTradeSize": plain(rules.minimum_units),
        "maximumTrailingStopDistance": f"{rules.maximum_trailing:.{digits}f}",
        "minimumTrailingStopDistance": f"{rules.minimum_trailing:.{digits}f}",
        "maximumPositionSize": plain(rules.maximum_position),
        "maximumOrderUnits": plain(rules.maximum_order_units),
        "marginRate": plain(rules.margin_rate),
        "guaranteedStopLossOrderMode": rules.guaranteed,
        "tags": [{"type": "ASSET_CLASS", "name": rules.kind}],
        "financing": {
            "longRate": f"{rules.long_rate:.4f}",
            "shortRate": f"{rules.short_rate:.4f}",
            "financingDaysOfWeek": [{"dayOfWeek": day, "daysCharged": charged_days(day)} for day in _DAYS],
        },
    }
    if rules.guaranteed != "DISABLED":
        made["minimumGuaranteedStopLossDistance"] = f"{rules.guaranteed_distance:.{digits}f}"
        made["guaranteedStopLossOrderExecutionPremium"] = f"{rules.guaranteed_premium:.{digits}f}"
    return made


def home_conversions(markets: Markets, account: Account, named: list[Market]) -> list[Json]:
    currencies = dict.fromkeys(word for market in named for word in (market.rules.base, market.rules.quote))
    made = []
    for currency in currencies:
        try:
            gain, loss, middle = markets.rates(currency, account.currency)
        except KeyError:
            continue  # an index, or a currency that nothing here quotes
        made.append(
            {
                "currency": currency,
                "accountGain": plain(gain),
                "accountLoss": plain(loss),
                "positionValue": plain(middle),
            }
        )
    return made


# --- accounts ---------------------------------------------------------------------------------------------------------


def state_json(account: Account, worth: Worth) -> Json:
    """What the market alone changes; members of summaries and of ``changes``."""
    nav = account.balance + worth.unrealised
    closeout_nav = account.balance + worth.closeout_unrealised
    return {
        "unrealizedPL": money(worth.unrealised),
        "NAV": money(nav),
        "marginUsed": money(worth.margin_used),
        "marginAvailable": money(max(ZERO, nav - worth.margin_used)),
        "positionValue": money(worth.position_value),
        "marginCloseoutUnrealizedPL": money(worth.closeout_unrealised),
        "marginCloseoutNAV": money(closeout_nav),
        "marginCloseoutMarginUsed": money(worth.margin_used),
        "marginCloseoutPercent": f"{account.closeout_percent(worth):.5f}",
        "marginCloseoutPositionValue": money(worth.position_value),
        "withdrawalLimit": money(max(ZERO, min(account.balance, nav - worth.margin_used))),
        "marginCallMarginUsed": money(worth.margin_used),
        "marginCallPercent": f"{account.call_percent(worth):.5f}",
    }


def summary_json(account: Account, markets: Markets) -> Json:
    worth = account.worth()
    made: Json = {
        "id": account.id,
        "alias": account.alias,
        "currency": account.currency,
        "balance": money(account.balance),
        "createdByUserID": account.user_id,
        "createdTime": at(account.created_ns),
        "guaranteedStopLossOrderMode": "ALLOWED" if _guarantees(markets) else "DISABLED",
        "pl": money(account.profit),
        "resettablePL": money(account.profit),
        "resettablePLTime": "0",
        "financing": money(account.financing),
        "commission": "0.0000",
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": money(account.guarantees),
        "marginRate": plain(account.margin_rate),
        "openTradeCount": len(account.open_trades),
        "openPositionCount": len({trade.instrument for trade in account.open_trades.values()}),
        "pendingOrderCount": len(account.pending),
        "hedgingEnabled": account.settings.hedging,
        **state_json(account, worth),
        "lastTransactionID": str(account.log.last),
    }
    if account.last_fill_ns is not None:
        made["lastOrderFillTimestamp"] = at(account.last_fill_ns)
    if account.margin_call_ns is not None:
        made["marginCallEnterTime"] = at(account.margin_call_ns)
        made["marginCallExtensionCount"] = 0
    return made


def _guarantees(markets: Markets) -> bool:
    return any(market.rules.guaranteed != "DISABLED" for market in markets.by_name.values())


def details_json(account: Account, markets: Markets) -> Json:
    return {
        **summary_json(account, markets),
        "trades": [trade_json(account, markets, trade, summary=True) for trade in account.open_trades.values()],
        "positions": [position_json(account, markets.by_name[name]) for name in account.totals],
        "orders": [order.json(digits(markets, order.spec.instrument)) for order in account.pending.values()],
    }


def digits(markets: Markets, instrument: str) -> int:
    return markets.by_name[instrument].rules.display_precision


def trade_json(account: Account, markets: Markets, trade: Trade, *, summary: bool = False) -> Json:
    market = markets.by_name[trade.instrument]
    if trade.state == "CLOSED":
        return trade.json(market.rules.display_precision, ZERO, ZERO, summary=summary)
    unrealised, margin = account.unrealised(trade), account.margin(market, trade.units)
    return trade.json(market.rules.display_precision, unrealised, margin, summary=summary)


# --- positions --------------------------------------------------------------------------------------------------------


def position_json(account: Account, market: Market) -> Json:
    """An instrument that was ever traded; flat sides have no units."""
    name = market.rules.name
    totals = account.totals.get(name) or Totals()
    sides = {long: _side_json(account, market, totals, long=long) for long in (True, False)}
    longs, shorts = account.units_of(name)
    unrealised = sum((account.unrealised(trade) for trade in account.trades_of(name)), ZERO)
    profit = totals.profit[True] + totals.profit[False]
    made: Json = {
        "instrument": name,
        "pl": money(profit),
        "resettablePL": money(profit),
        "unrealizedPL": money(unrealised),
        "financing": money(totals.financing[True] + totals.financing[False]),
        "commission": "0.0000",
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": money(totals.guarantees[True] + totals.guarantees[False]),
        "long": sides[True],
        "short": sides[False],
    }
    if longs or shorts:
        made["marginUsed"] = money(account.margin_of(market, longs, shorts))
    return made


def _side_json(account: Account, market: Market, totals: Totals, *, long: bool) -> Json:
    trades = [trade for trade in account.trades_of(market.rules.name) if (trade.units > 0) is long]
    units = sum((trade.units for trade in trades), ZERO)
    made: Json = {
        "units": plain(units),
        "pl": money(totals.profit[long]),
        "resettablePL": money(totals.profit[long]),
        "unrealizedPL": money(sum((account.unrealised(trade) for trade in trades), ZERO)),
        "financing": money(totals.financing[long]),
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": money(totals.guarantees[long]),
    }
    if units:
        average = sum((trade.units * trade.px for trade in trades), ZERO) / units
        made["averagePrice"] = f"{average:.{market.rules.display_precision}f}"
        made["tradeIDs"] = [trade.id for trade in trades]
    return made
