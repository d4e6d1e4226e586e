"""What a purchase is paid with, where that is a coin which strategies hold: BTC that buys ETH is somebody's position.

Owns how much of a coin a strategy may spend.  A venue takes whatever the account has of it, so the other strategy could
never leave what its books say it holds.  Whether the account has enough at all is the venue's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.arithmetic import plain
from engine.commands import OrderIntent
from engine.instruments import FULLY_PAID, Instrument
from engine.ports import OpenOrder, View
from engine.stakes import CLOSERS, EVERYONE, other_half
from risk.checks import ZERO, Finding
from risk.exposure import dearest, hidden_worth, known_mark, worth


def check_coins(
    intent: OrderIntent,
    view: View,
    instrument: Instrument,
    *,
    orders: Sequence[OpenOrder],
    mark_px: Decimal,
    market_factor: Decimal,
) -> Finding | None:
    """For an order that buys and owns.  Raises ``UnknownValueError`` where an open order that is paid in the same coin
    has no price."""
    coin, venue = instrument.quote, instrument.venue
    coins = [name for name in view.held() if _is_of(view.instrument(name), coin, venue)]
    if not coins:
        return None
    names = (intent.strategy, other_half(intent.strategy))
    others_qty = sum([_others_qty(view, name, names) for name in coins], ZERO)
    if not others_qty:
        return None
    left_qty = sum([view.position(name).qty for name in coins], ZERO) - others_qty
    for order in orders:
        rules = view.instrument(order.instrument)
        if order.instrument in coins and order.side < 0 and order.strategy in (*names, EVERYONE, *CLOSERS):
            left_qty -= order.leaves_qty
        elif order.side > 0 and (rules.quote, rules.venue) == (coin, venue) and rules.asset_class in FULLY_PAID:
            at_mark = worth(rules, known_mark(view, rules))
            px = max(dearest(at_mark, order.limit_px, rules, market_factor), hidden_worth(order, rules, market_factor))
            left_qty -= _with_fee(px * order.leaves_qty, rules)
    costs_qty = _with_fee(
        dearest(worth(instrument, mark_px), intent.limit_px, instrument, market_factor) * intent.qty, instrument
    )
    if costs_qty <= left_qty:
        return None
    return (
        "coins_of_others",
        f"{plain(costs_qty)} {coin}",
        f"{plain(max(left_qty, ZERO))} that no other strategy holds",
    )


def _is_of(rules: Instrument, coin: str, venue: str) -> bool:
    return rules.base == coin and rules.venue == venue and rules.asset_class in FULLY_PAID


def _others_qty(view: View, name: str, own: Sequence[str]) -> Decimal:
    own_qty = sum([view.strategy_qty(strategy, name) for strategy in own], ZERO)
    return max(view.stake(EVERYONE, name).qty - own_qty, ZERO)


def _with_fee(amount: Decimal, rules: Instrument) -> Decimal:
    return amount * (1 + max(rules.taker_fee_rate, rules.maker_fee_rate, ZERO))
