"""Which trades an execution closes, in which parts, and what that earns.

Owns the order in which trades are closed and the money of each part.  When an execution may happen, and what else it
does, is ``fills``.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import Json
from connectors.oanda.sandbox.market import Market
from connectors.oanda.sandbox.records import ZERO, Trade, money, plain


class Part(msgspec.Struct, frozen=True):
    """What an execution takes from one trade: signed as the trade is."""

    trade: Trade
    units: Decimal


def split(trades: tuple[Trade, ...], units: Decimal) -> list[Part]:
    """Which units of which trades an execution of so many closes, in the order given."""
    parts: list[Part] = []
    left = units
    for trade in trades:
        part = min(left, abs(trade.units))
        if not part:
            break
        parts.append(Part(trade, part if trade.units > 0 else -part))
        left -= part
    return parts


class Closed(msgspec.Struct):
    """What an execution closed, and what it earned in the account's currency and in the quote's."""

    closed: list[Json] = []
    reduced: Json | None = None
    gone: list[Trade] = []
    profit: Decimal = ZERO
    quote_profit: Decimal = ZERO


def close(
    account: Account,
    market: Market,
    parts: list[Part],
    px: Decimal,
    fill_id: str,
    guarantee: Decimal,
    half_spread: Decimal,
    now_ns: int,
) -> Closed:
    """Close the parts at ``px``; the guarantee is paid with the first."""
    done = Closed()
    for part in parts:
        quote_profit = (px - part.trade.px) * part.units
        earned = account.home(quote_profit, market.rules.quote)
        done.quote_profit += quote_profit
        done.profit += earned
        told = {
            "tradeID": part.trade.id,
            "units": plain(-part.units),
            "price": f"{px:.{market.rules.display_precision}f}",
            "realizedPL": money(earned),
            "financing": "0.0000",
            "baseFinancing": "0",
            "guaranteedExecutionFee": money(guarantee if part is parts[0] else ZERO),
            "halfSpreadCost": money(abs(part.units) * half_spread),
            "plHomeConversionCost": "0.0000",
        }
        _reduce(account, part, px, earned, fill_id, now_ns)
        if part.trade.state == "CLOSED":
            done.closed.append(told)
            done.gone.append(part.trade)
        else:
            done.reduced = told
    return done


def _reduce(account: Account, part: Part, px: Decimal, earned: Decimal, fill_id: str, now_ns: int) -> None:
    trade = part.trade
    trade.units -= part.units
    trade.realised += earned
    trade.closed_units += abs(part.units)
    trade.closed_value += abs(part.units) * px
    trade.closing_ids.append(fill_id)
    if not trade.units:
        trade.state, trade.closed_ns = "CLOSED", now_ns
        account.trade_is_closed(trade)
