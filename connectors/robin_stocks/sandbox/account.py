"""One customer's money, shares, contracts and coins, and what open orders and short contracts bind of them.

Owns who can pay for what.  Orders are made and ended by ``desk``, which is the only writer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal

import msgspec

from connectors.robin_stocks.sandbox.market import ZERO, Market
from connectors.robin_stocks.sandbox.records import Leg, Order
from connectors.robin_stocks.sandbox.settings import AccountSettings
from engine.events import Side

_CENT = Decimal("0.01")
SHARES_A_CONTRACT = Decimal(100)


class Contract(msgspec.Struct, frozen=True):
    """What an option is: ``kind`` is call or put, ``expiry`` a date as text."""

    id: str
    symbol: str
    chain_id: str
    expiry: str
    strike: Decimal
    kind: str
    expires_ns: int


class Holding(msgspec.Struct):
    """Signed quantity and average price; contracts may be short."""

    market: Market
    qty: Decimal = ZERO
    avg_px: Decimal = ZERO
    opened_ns: int = 0

    def move(self, signed: Decimal, px: Decimal) -> None:
        """Average-cost accounting of one execution."""
        after = self.qty + signed
        if self.qty * signed >= 0:
            total = abs(self.qty) + abs(signed)
            self.avg_px = (self.avg_px * abs(self.qty) + px * abs(signed)) / total if total else ZERO
        elif self.qty * after < 0:
            self.avg_px = px
        elif not after:
            self.avg_px = ZERO
        self.qty = after


class Account:
    """``contracts``: what is known of every option, by its id."""

    def __init__(self, settings: AccountSettings, contracts: Mapping[str, Contract], max_orders: int) -> None:
        self.settings = settings
        self.number = settings.account_number
        self.cash = settings.cash
        self.holdings: dict[str, Holding] = {}
        self.orders: OrderedDict[str, Order] = OrderedDict()
        self.open: dict[str, Order] = {}
        self.by_ref: dict[str, Order] = {}
        self._contracts = contracts
        self._max_orders = max_orders

    # --- questions ----------------------------------------------------------------------------------------------------

    @property
    def held_cash(self) -> Decimal:
        """Bound by open orders."""
        return sum((order.unit_hold * order.leaves for order in self.open.values()), ZERO)

    @property
    def buying_power(self) -> Decimal:
        return self.cash - self.held_cash - self.collateral()

    def qty(self, key: str) -> Decimal:
        holding = self.holdings.get(key)
        return ZERO if holding is None else holding.qty

    def held_qty(self, key: str, side: Side) -> Decimal:
        """What open orders of this side may still trade of it."""
        return sum(
            (
                order.leaves * leg.ratio
                for order in self.open.values()
                for leg in order.legs
                if leg.market.key == key and leg.side is side
            ),
            ZERO,
        )

    def free_qty(self, key: str) -> Decimal:
        """What may be sold: not promised to open orders, and not the cover of calls that were sold."""
        return self.qty(key) - self.held_qty(key, Side.SELL) - self._covering(key)

    def _covering(self, symbol: str) -> Decimal:
        """Shares under calls that were sold and that no bought call stands against."""
        naked = ZERO
        for (of, _, kind), (shorts, longs) in self._sides(()).items():
            if of == symbol and kind == "call":
                naked += max(ZERO, sum(shorts.values(), ZERO) - sum(longs.values(), ZERO))
        return naked * SHARES_A_CONTRACT

    def collateral(self, more: Iterable[tuple[str, Decimal]] = ()) -> Decimal:
        """Money that contracts which were sold bind, as if ``more`` (id, signed quantity) were held as well.

        A contract that was sold binds its distance to a bought one of the same kind and date, a put without one its
        strike, a call without one nothing here: it needs shares.
        """
        bound = ZERO
        for (_, _, kind), (shorts, longs) in self._sides(more).items():
            spare = dict(longs)
            for strike, qty in sorted(shorts.items(), reverse=kind == "put"):
                left = qty
                for other in sorted(spare, key=lambda each, at=strike: abs(each - at)):  # type: ignore[misc]
                    part = min(left, spare[other])
                    width = strike - other if kind == "put" else other - strike
                    bound += max(ZERO, width) * part * SHARES_A_CONTRACT
                    spare[other] -= part
                    left -= part
                if kind == "put":
                    bound += strike * left * SHARES_A_CONTRACT
        return bound

    def uncovered(self, more: Iterable[tuple[str, Decimal]]) -> Decimal:
        """Shares that calls would need beyond those that are free, as if ``more`` were held as well."""
        need: dict[str, Decimal] = {}
        for (symbol, _, kind), (shorts, longs) in self._sides(more).items():
            if kind == "call":
                open_calls = sum(shorts.values(), ZERO) - sum(longs.values(), ZERO)
                need[symbol] = need.get(symbol, ZERO) + max(ZERO, open_calls) * SHARES_A_CONTRACT
        short = ZERO
        for symbol, shares in need.items():
            short += max(ZERO, shares - (self.qty(symbol) - self.held_qty(symbol, Side.SELL)))
        return short

    def _sides(
        self, more: Iterable[tuple[str, Decimal]]
    ) -> dict[tuple[str, str, str], tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]]:
        """Contracts sold and bought, by ticker, date and kind: quantities by strike."""
        total = {key: holding.qty for key, holding in self.holdings.items() if key in self._contracts}
        for key, signed in more:
            total[key] = total.get(key, ZERO) + signed
        made: dict[tuple[str, str, str], tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]] = {}
        for key, qty in total.items():
            contract = self._contracts[key]
            shorts, longs = made.setdefault((contract.symbol, contract.expiry, contract.kind), ({}, {}))
            if qty:
                (longs if qty > 0 else shorts)[contract.strike] = abs(qty)
        return made

    # --- changes ------------------------------------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        self.orders[order.id] = order
        self.by_ref[order.ref_id] = order
        if order.is_open:
            self.open[order.id] = order
        for old_id in list(self.orders)[: max(0, len(self.orders) - self._max_orders)]:
            if old_id not in self.open:
                self.by_ref.pop(self.orders.pop(old_id).ref_id, None)

    def ended(self, order: Order) -> None:
        self.open.pop(order.id, None)

    def book(self, order: Order, leg: Leg, qty: Decimal, px: Decimal, fee_rate: Decimal, now_ns: int) -> None:
        """One execution of a leg: holding, cash, and the fee that sales pay, cents rounded up."""
        holding = self.holdings.get(leg.market.key)
        if holding is None:
            holding = self.holdings[leg.market.key] = Holding(leg.market, opened_ns=now_ns)
        holding.move(leg.side * qty, px)
        if not holding.qty:
            del self.holdings[leg.market.key]
        value = qty * px * leg.market.multiplier
        self.cash -= leg.side * value
        if leg.side is Side.SELL and order.kind == "stock" and fee_rate:
            fee = (value * fee_rate).quantize(_CENT, ROUND_CEILING)
            order.fees += fee
            self.cash -= fee
