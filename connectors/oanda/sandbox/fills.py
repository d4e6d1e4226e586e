"""Executions: what an order gets from the market, which trades it closes, which it opens, what that brings.

Owns the way from a triggered or market order to its ORDER_FILL, or to the reason why there is none.  Which orders are
due and when is ``desk``.

An execution has one price: the average of what the book gave, on the price grid.  On netting accounts the oldest
opposite trades go first (FIFO).  Trades that close take the orders that were attached to them along.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import Json
from connectors.oanda.sandbox.market import Market, Markets, Quote
from connectors.oanda.sandbox.parts import Part, close, split
from connectors.oanda.sandbox.records import ZERO, ExitSpec, Order, Totals, Trade, money, plain
from connectors.oanda.sandbox.requests import exit_order
from connectors.oanda.sandbox.settings import SandboxSettings
from connectors.oanda.sandbox.times import at, next_roll_ns
from connectors.oanda.sandbox.views import price_json
from engine.events import Side


class Want(msgspec.Struct, frozen=True):
    """What is to be executed: signed ``units`` at ``limit_px`` or better, whole or as much as there is.

    ``closing`` names the trades to close instead of what the order's position fill says.  ``fixed_px``: the venue
    guarantees this price, whatever the market gives.
    """

    units: Decimal
    reason: str
    limit_px: Decimal | None = None
    whole: bool = True
    closing: tuple[Trade, ...] = ()
    fixed_px: Decimal | None = None


class Fills:
    """``execute`` returns the ORDER_FILL, or a cancel reason."""

    def __init__(self, settings: SandboxSettings, markets: Markets) -> None:
        self._settings = settings
        self._markets = markets

    def execute(self, account: Account, order: Order, want: Want, now_ns: int) -> Json | str:
        """All that one execution does to the account; nothing when it returns a reason."""
        market = self._markets.by_name[order.spec.instrument]
        quote = market.quote
        if quote is None or not market.is_open(now_ns):
            return "MARKET_HALTED"
        side = Side.BUY if want.units > 0 else Side.SELL
        reducible = self._reducible(account, order, want, side)
        if isinstance(reducible, str):
            return reducible
        trades, cap = reducible
        units = abs(want.units) if cap is None else min(abs(want.units), cap)
        if want.fixed_px is None:
            units_or_reason = self._liquid(market, side, units, want)
            if isinstance(units_or_reason, str):
                return units_or_reason
            units = units_or_reason
        parts = split(trades, units)
        opens = units - sum((abs(part.units) for part in parts), ZERO)
        if opens:
            reason = self._may_open(account, order, market, side, units, opens, trades, now_ns)
            if reason:
                return reason
        px = want.fixed_px
        if px is None:
            taken = market.take(side, units, want.limit_px, now_ns)
            units, px = taken.units, taken.px
        return self._book(account, order, want, market, quote, side, units, px, parts, opens, now_ns)

    # --- before -------------------------------------------------------------------------------------------------------

    def _reducible(
        self, account: Account, order: Order, want: Want, side: Side
    ) -> tuple[tuple[Trade, ...], Decimal | None] | str:
        """Trades that the execution closes first, and the most units it may have; or a reason."""
        if want.closing:
            return want.closing, sum((abs(trade.units) for trade in want.closing), ZERO)
        fill = order.spec.position_fill
        hedging = account.settings.hedging
        if fill == "DEFAULT":
            fill = "OPEN_ONLY" if hedging else "REDUCE_FIRST"
        opposite = tuple(account.trades_of(order.spec.instrument, side.opposite))
        if fill == "OPEN_ONLY":
            return "FIFO_VIOLATION" if opposite and not hedging else ((), None)
        if fill == "REDUCE_ONLY":
            cap = sum((abs(trade.units) for trade in opposite), ZERO)
            return (opposite, cap) if cap else self._settings.switches.reduce_only_reason
        return opposite, None

    @staticmethod
    def _liquid(market: Market, side: Side, units: Decimal, want: Want) -> Decimal | str:
        there = market.available(side, want.limit_px)
        if there >= units:
            return units
        lacks = "INSUFFICIENT_LIQUIDITY"
        if want.limit_px is not None and market.available(side) >= units:
            lacks = "BOUNDS_VIOLATION"
        return lacks if want.whole or not there else there

    def _may_open(
        self,
        account: Account,
        order: Order,
        market: Market,
        side: Side,
        units: Decimal,
        opens: Decimal,
        trades: tuple[Trade, ...],
        now_ns: int,
    ) -> str:
        """Why units may not be opened; empty when they may."""
        if not account.check_margin(market, side * units, opens_only=not trades):
            return "INSUFFICIENT_MARGIN"
        longs, shorts = account.units_of(market.rules.name)
        most = market.rules.maximum_position
        if most and opens + (longs if side is Side.BUY else shorts) > most:
            return "POSITION_SIZE_EXCEEDED"
        if len(account.open_trades) >= self._settings.max_trades:
            return "OPEN_TRADES_ALLOWED_EXCEEDED"
        wanted_id = (order.spec.trade_extensions or {}).get("id")
        unique = self._settings.switches.duplicate_client_ids == "reject"
        if wanted_id and unique and any(trade.client_id == wanted_id for trade in account.open_trades.values()):
            return "CLIENT_TRADE_ID_ALREADY_EXISTS"
        px = market.price_of(side, units)
        if px is None:
            return "INSUFFICIENT_LIQUIDITY"
        for exit_spec in order.spec.exits:
            reason = _exit_problem(exit_spec, market, side, px, now_ns)
            if reason:
                return reason
        return ""

    # --- the execution ------------------------------------------------------------------------------------------------

    def _book(
        self,
        account: Account,
        order: Order,
        want: Want,
        market: Market,
        quote: Quote,
        side: Side,
        units: Decimal,
        px: Decimal,
        parts: list[Part],
        opens: Decimal,
        now_ns: int,
    ) -> Json:
        rules = market.rules
        fill_id = str(account.log.last + 1)
        guarantee = ZERO
        if want.fixed_px is not None:
            guarantee = account.home(rules.guaranteed_premium * units, rules.quote)
        half_spread = (quote.ask - quote.bid) / 2 * self._markets.rates(rules.quote, account.currency)[2]
        done = close(account, market, parts, px, fill_id, guarantee, half_spread, now_ns)
        trade = self._open(account, order, market, side, opens, px, now_ns) if opens else None
        account.balance += done.profit - guarantee
        account.profit += done.profit
        account.guarantees += guarantee
        account.last_fill_ns = now_ns
        totals = account.totals.setdefault(rules.name, Totals())
        closing_longs = side is Side.SELL
        totals.profit[closing_longs] += done.profit
        totals.guarantees[closing_longs] += guarantee
        members = self._dealt(account, order, want, market, quote, side * units, px)
        members |= {
            "pl": money(done.profit),
            "quotePL": plain(done.quote_profit),
            "guaranteedExecutionFee": money(guarantee),
            "accountBalance": money(account.balance),
            "halfSpreadCost": money(units * half_spread),
            "tradeOpened": None
            if trade is None
            else self._opened_json(trade, units=side * opens, half=opens * half_spread, digits=rules.display_precision),
            "tradesClosed": done.closed or None,
            "tradeReduced": done.reduced,
        }
        transaction = account.log.add("ORDER_FILL", now_ns, members)
        order.state = "FILLED"
        order.outcome = {"fillingTransactionID": transaction["id"], "filledTime": at(now_ns)}
        if trade is not None:
            order.outcome["tradeOpenedID"] = trade.id
        if done.reduced is not None:
            order.outcome["tradeReducedID"] = done.reduced["tradeID"]
        if done.closed:
            order.outcome["tradeClosedIDs"] = [each["tradeID"] for each in done.closed]
        account.order_is_done(order)
        self._settle_exits(account, order, trade, done.gone, now_ns)
        return transaction

    def _dealt(
        self, account: Account, order: Order, want: Want, market: Market, quote: Quote, units: Decimal, px: Decimal
    ) -> Json:
        """What an ORDER_FILL says of the deal itself."""
        rules, digits = market.rules, market.rules.display_precision
        gain, loss, _ = self._markets.rates(rules.quote, account.currency)
        shown = price_json(market, quote)
        return {
            "orderID": order.id,
            "clientOrderID": order.spec.client_id or None,
            "instrument": rules.name,
            "units": plain(units),
            "requestedUnits": plain(want.units),
            "price": f"{px:.{digits}f}",
            "fullVWAP": f"{px:.{digits}f}",
            "fullPrice": {
                **{key: shown[key] for key in ("bids", "asks", "closeoutBid", "closeoutAsk")},
                "timestamp": at(quote.ts_ns),
            },
            "gainQuoteHomeConversionFactor": plain(gain),
            "lossQuoteHomeConversionFactor": plain(loss),
            "reason": want.reason,
            "financing": "0.0000",
            "baseFinancing": "0",
            "commission": "0.0000",
        }

    def _open(
        self, account: Account, order: Order, market: Market, side: Side, opens: Decimal, px: Decimal, now_ns: int
    ) -> Trade:
        trade = Trade(
            account.log.last + 1,
            market.rules.name,
            px,
            now_ns,
            side * opens,
            side * opens,
            account.margin(market, opens),
            extensions=order.spec.trade_extensions,
        )
        account.open_trades[trade.number] = account.trades[trade.number] = trade
        return trade

    @staticmethod
    def _opened_json(trade: Trade, *, units: Decimal, half: Decimal, digits: int) -> Json:
        made: Json = {
            "tradeID": trade.id,
            "units": plain(units),
            "price": f"{trade.px:.{digits}f}",
            "guaranteedExecutionFee": "0.0000",
            "halfSpreadCost": money(half),
            "initialMarginRequired": money(trade.initial_margin),
        }
        if trade.extensions:
            made["clientExtensions"] = trade.extensions
        return made

    # --- orders of trades ---------------------------------------------------------------------------------------------

    def _settle_exits(
        self, account: Account, order: Order, opened: Trade | None, gone: list[Trade], now_ns: int
    ) -> None:
        """Exits of closed trades go, those that the order asked for come."""
        fill_id = order.outcome["fillingTransactionID"]
        for trade in gone:
            for exit_order_ in list(trade.exits.values()):
                if exit_order_ is not order:
                    self.cancel(account, exit_order_, "LINKED_TRADE_CLOSED", now_ns)
        if order.spec.trade_id is not None:
            trade_of = account.trades.get(order.spec.trade_id)
            if trade_of is not None:
                trade_of.exits.pop(order.spec.kind, None)
        if opened is not None:
            for spec in order.spec.exits:
                self.attach(account, opened, spec, "ON_FILL", now_ns, {"orderFillTransactionID": fill_id})

    def attach(
        self, account: Account, trade: Trade, spec: ExitSpec, reason: str, now_ns: int, members: Json | None = None
    ) -> Json:
        """An exit for an open trade: its order rests from here on; returns the transaction that made it."""
        market = self._markets.by_name[trade.instrument]
        if spec.px is None and spec.distance is not None and spec.kind != "TRAILING_STOP_LOSS":
            px = trade.px - trade.side * spec.distance
            spec = msgspec.structs.replace(spec, px=px, fields={**spec.fields, "price": f"{px:f}"})
        order = Order(account.log.last + 1, exit_order(spec, trade), now_ns)
        order.expires_ns = expiry(spec.time_in_force, spec.gtd_ns, now_ns)
        if spec.kind == "TRAILING_STOP_LOSS" and spec.distance is not None and market.quote is not None:
            touch = market.quote.bid if trade.side is Side.BUY else market.quote.ask
            order.trailing_px = touch - trade.side * spec.distance
        transaction = account.log.add(
            f"{spec.kind}_ORDER", now_ns, {**order.spec.fields, "reason": reason, **(members or {})}
        )
        account.orders[order.number] = account.pending[order.number] = order
        trade.exits[spec.kind] = order
        return transaction

    def cancel(self, account: Account, order: Order, reason: str, now_ns: int, members: Json | None = None) -> Json:
        """An open order goes; returns its ORDER_CANCEL."""
        transaction = account.log.add(
            "ORDER_CANCEL",
            now_ns,
            {"orderID": order.id, "clientOrderID": order.spec.client_id or None, "reason": reason, **(members or {})},
        )
        order.state = "CANCELLED"
        order.outcome = {"cancellingTransactionID": transaction["id"], "cancelledTime": at(now_ns)}
        order.outcome |= {name: value for name, value in (members or {}).items() if name == "replacedByOrderID"}
        account.order_is_done(order)
        trade = account.trades.get(order.spec.trade_id or 0)
        if trade is not None and trade.exits.get(order.spec.kind) is order:
            del trade.exits[order.spec.kind]
        return transaction


def expiry(time_in_force: str, gtd_ns: int | None, now_ns: int) -> int | None:
    """When a resting order ends by itself: a day order at 17:00 New York."""
    return next_roll_ns(now_ns) if time_in_force == "GFD" else gtd_ns


def _exit_problem(spec: ExitSpec, market: Market, side: Side, px: Decimal, now_ns: int) -> str:
    """Why an exit cannot be attached to a trade that would open at ``px``; empty when it can."""
    if spec.gtd_ns is not None and spec.gtd_ns <= now_ns:
        return f"{spec.kind}_ON_FILL_GTD_TIMESTAMP_IN_PAST"
    if spec.kind == "TAKE_PROFIT" and spec.px is not None and (spec.px - px) * side <= 0:
        return "TAKE_PROFIT_ON_FILL_LOSS"
    if spec.kind in {"STOP_LOSS", "GUARANTEED_STOP_LOSS"} and spec.px is not None and (px - spec.px) * side <= 0:
        return "STOP_LOSS_ON_FILL_LOSS"
    if spec.kind == "GUARANTEED_STOP_LOSS":
        distance = spec.distance if spec.distance is not None else abs(px - (spec.px or px))
        if distance < market.rules.guaranteed_distance:
            return "STOP_LOSS_ON_FILL_GUARANTEED_MINIMUM_DISTANCE_NOT_MET"
    return ""
