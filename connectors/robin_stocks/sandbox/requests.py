"""Order requests of stocks, options and coins, read: what was asked for, or which field is wrong.

Owns reading and the rules of the venue's forms.  What becomes of an order is ``desk``'s.  A form's values are text, a
JSON body's are of any type: nothing is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from connectors.robin_stocks.sandbox.account import Account
from connectors.robin_stocks.sandbox.desk import Desk
from connectors.robin_stocks.sandbox.errors import Json, detail, field, general
from connectors.robin_stocks.sandbox.market import ZERO, Market
from connectors.robin_stocks.sandbox.options import Options, step_of
from connectors.robin_stocks.sandbox.records import Leg, Order, Trail
from connectors.robin_stocks.sandbox.times import KINDS, REGULAR
from engine.events import Side

_FEW_SHARES = Decimal("0.000001")
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_COLLAR = Decimal("1.05")
"""What a buy without a price binds, of the ask."""
_MOST = Decimal(10_000_000)
_MAX_LEGS = 4
_TICKS = ((Decimal("0.9999"), Decimal("0.01")), (Decimal("0.01"), Decimal("0.0001")), (ZERO, Decimal("0.000001")))
"""Prices above the first have the second as their step."""


class Reader:
    """``stocks``: markets and instrument ids by ticker."""

    def __init__(self, desk: Desk, options: Options, stocks: Mapping[str, Market], ids: Mapping[str, str]) -> None:
        self._desk = desk
        self._options = options
        self._stocks = stocks
        self._ids = {instrument_id: symbol for symbol, instrument_id in ids.items()}

    # --- stocks -------------------------------------------------------------------------------------------------------

    def stock(self, account: Account, form: Mapping[str, Any], now_ns: int) -> Order:
        """Raises ``ApiError``."""
        _own(account, form)
        instrument_id = text(form, "instrument").rstrip("/").rpartition("/")[2]
        symbol = self._ids.get(instrument_id)
        if symbol is None:
            raise field("instrument", "Invalid hyperlink - Object does not exist.")
        market = self._stocks[symbol]
        side = _SIDES[choice(form, "side", ("buy", "sell"))]
        kind = choice(form, "type", ("market", "limit"))
        trigger = choice(form, "trigger", ("immediate", "stop"))
        tif = choice(form, "time_in_force", ("gtc", "gfd", "ioc", "opg"))
        hours = choice(form, "market_hours", KINDS, REGULAR)
        extended = text(form, "extended_hours", "false").lower() in ("true", "1")
        qty = number(form, "quantity")
        trail = _trail(form)
        px = self._stock_price(form, "price", needed=kind == "limit")
        stop = self._stock_price(form, "stop_price", needed=trigger == "stop")
        if hours != REGULAR and (kind != "limit" or trigger != "immediate"):
            raise general("Only immediate limit orders are possible outside of regular hours.")
        self._check_qty(market, qty, hours, tif, trigger)
        if side is Side.SELL and qty > account.free_qty(symbol):
            raise detail(400, "Not enough shares to sell.")
        wire: Json = {"instrument_id": instrument_id, "preset_percent_limit": form.get("preset_percent_limit")}
        if trail is not None:
            wire["trailing_peg"] = form["trailing_peg"]
        return self._order(
            "stock",
            account,
            form,
            now_ns,
            side=side,
            type=kind,
            trigger=trigger,
            time_in_force=tif,
            qty=qty,
            price=px,
            stop_px=stop,
            legs=(Leg(self._desk.new_id("leg"), market, side, effect="open" if side is Side.BUY else "close"),),
            market_hours=hours,
            extended=extended,
            trail=trail,
            unit_hold=self._stock_hold(market, side, px),
            wire=wire,
        )

    @staticmethod
    def _stock_hold(market: Market, side: Side, px: Decimal | None) -> Decimal:
        if side is Side.SELL:
            return ZERO
        if px is not None:
            return px
        return ZERO if market.quote is None else market.quote.ask * _COLLAR

    @staticmethod
    def _stock_price(form: Mapping[str, Any], name: str, *, needed: bool) -> Decimal | None:
        if form.get(name) in (None, ""):
            if needed:
                raise field(name, "This field is required.")
            return None
        px = number(form, name)
        tick = next(step for least, step in _TICKS if px > least)
        if px % tick:
            raise field(name, f"Price must be a multiple of {tick}.")
        return px

    @staticmethod
    def _check_qty(market: Market, qty: Decimal, hours: str, tif: str, trigger: str) -> None:
        if not qty % 1:
            return
        if not market.takes_parts:
            raise detail(400, "This instrument cannot be traded in fractions.")
        if qty % _FEW_SHARES:
            raise field("quantity", "Ensure that there are no more than 6 decimal places.")
        if hours != REGULAR or tif != "gfd" or trigger != "immediate":
            raise detail(400, "Fractional orders are good for the day, in regular hours, without a stop.")

    # --- options ------------------------------------------------------------------------------------------------------

    def option(self, account: Account, form: Mapping[str, Any], now_ns: int) -> Order:
        """Raises ``ApiError``."""
        _own(account, form)
        direction = choice(form, "direction", ("debit", "credit"))
        choice(form, "type", ("limit",))
        trigger = choice(form, "trigger", ("immediate", "stop"))
        tif = choice(form, "time_in_force", ("gtc", "gfd", "ioc", "opg"))
        qty, px = number(form, "quantity"), number(form, "price")
        if qty % 1:
            raise field("quantity", "A whole number of contracts is required.")
        if px % step_of(px):
            raise field("price", f"Price must be a multiple of {step_of(px)}.")
        stop = number(form, "stop_price") if trigger == "stop" else None
        legs = self._legs(form, now_ns)
        side = Side.BUY if direction == "debit" else Side.SELL
        if len(legs) == 1 and legs[0].side is not side:
            raise field("direction", "A single leg is bought for a debit and sold for a credit.")
        contract = self._options.contracts[legs[0].market.key]
        return self._order(
            "option",
            account,
            form,
            now_ns,
            side=side,
            type="limit",
            trigger=trigger,
            time_in_force=tif,
            qty=qty,
            price=px,
            stop_px=stop,
            legs=legs,
            unit_hold=self._option_hold(account, legs, qty, side, px),
            wire={"chain_id": contract.chain_id, "chain_symbol": contract.symbol},
        )

    def _legs(self, form: Mapping[str, Any], now_ns: int) -> tuple[Leg, ...]:
        raw = form.get("legs")
        if not isinstance(raw, list) or not 1 <= len(raw) <= _MAX_LEGS or not all(isinstance(leg, dict) for leg in raw):
            raise field("legs", f"1 to {_MAX_LEGS} legs are required.")
        made = []
        for leg in raw:
            option_id = text(leg, "option").rstrip("/").rpartition("/")[2]
            contract = self._options.contracts.get(option_id)
            if contract is None or contract.expires_ns <= now_ns:
                raise field("legs", "Invalid hyperlink - Object does not exist.")
            ratio = number(leg, "ratio_quantity")
            if ratio % 1 or ratio > 10:
                raise field("legs", "Ratios are small whole numbers.")
            side = _SIDES[choice(leg, "side", ("buy", "sell"))]
            effect = choice(leg, "position_effect", ("open", "close"))
            market = self._options.market(option_id, now_ns)
            made.append(Leg(self._desk.new_id("leg"), market, side, int(ratio), effect))
        if len({leg.market.key for leg in made}) < len(made):
            raise field("legs", "Each leg must be another contract.")
        if len({self._options.contracts[leg.market.key].symbol for leg in made}) > 1:
            raise field("legs", "All legs must be of one chain.")
        return tuple(made)

    def _option_hold(self, account: Account, legs: tuple[Leg, ...], qty: Decimal, side: Side, px: Decimal) -> Decimal:
        """Money for each unit.  Raises ``ApiError`` 400 where a leg closes or sells what is not there."""
        for leg in legs:
            if leg.effect == "close":
                held = leg.side * -1 * account.qty(leg.market.key)
                promised = account.held_qty(leg.market.key, leg.side)
                if held - promised < qty * leg.ratio:
                    raise detail(400, "You do not have enough contracts to close.")
        moves = [(leg.market.key, leg.signed * qty) for leg in legs]
        if account.uncovered(moves):
            raise detail(400, "A call that is sold needs the shares, or a bought call.")
        more = (account.collateral(moves) - account.collateral()) / qty
        return max(ZERO, max(ZERO, more) + side * px * legs[0].market.multiplier)

    # --- coins --------------------------------------------------------------------------------------------------------

    def coin(self, account: Account, form: Mapping[str, Any], market: Market, pair_id: str, now_ns: int) -> Order:
        """Raises ``ApiError``."""
        side = _SIDES[choice(form, "side", ("buy", "sell"))]
        kind = choice(form, "type", ("market", "limit"))
        tif = choice(form, "time_in_force", ("gtc", "gfd", "ioc"))
        qty, px = number(form, "quantity"), number(form, "price")
        if qty % market.instrument.lot_qty:
            raise field("quantity", f"Order quantity must be a multiple of {market.instrument.lot_qty}.")
        if px % market.instrument.tick_px:
            raise field("price", f"Price must be a multiple of {market.instrument.tick_px}.")
        if side is Side.SELL and qty > account.free_qty(market.key):
            raise detail(400, "Not enough of the coin to sell.")
        return self._order(
            "coin",
            account,
            form,
            now_ns,
            side=side,
            type=kind,
            trigger="immediate",
            time_in_force=tif,
            qty=qty,
            price=px,
            stop_px=None,
            legs=(Leg(self._desk.new_id("leg"), market, side),),
            unit_hold=px * _COLLAR if side is Side.BUY else ZERO,
            wire={"currency_pair_id": pair_id},
        )

    def _order(self, kind: str, account: Account, form: Mapping[str, Any], now_ns: int, **fields: Any) -> Order:
        ref_id = text(form, "ref_id")
        try:
            UUID(ref_id)
        except ValueError:
            raise field("ref_id", "Must be a valid UUID.") from None
        order_id = self._desk.new_id("order")
        return Order(
            kind=kind,
            id=order_id,
            seq=self._desk.number,
            ref_id=ref_id,
            account=account.number,
            created_ns=now_ns,
            updated_ns=now_ns,
            **fields,
        )


def _own(account: Account, form: Mapping[str, Any]) -> None:
    if text(form, "account").rstrip("/").rpartition("/")[2] != account.number:
        raise field("account", "Invalid hyperlink - Object does not exist.")


def _trail(form: Mapping[str, Any]) -> Trail | None:
    raw = form.get("trailing_peg")
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise field("trailing_peg", "An object is required.")
    if choice(raw, "type", ("price", "percentage")) == "percentage":
        return Trail("percentage", number(raw, "percentage"))
    amount = raw.get("price")
    if not isinstance(amount, dict) or amount.get("currency_code") != "USD":
        raise field("trailing_peg", "A price in USD is required.")
    return Trail("price", number(amount, "amount"))


def text(form: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = form.get(name, default)
    if value in (None, "") or isinstance(value, dict | list):
        raise field(name, "This field is required.")
    return str(value)


def choice(form: Mapping[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    value = text(form, name, default)
    if value not in allowed:
        raise field(name, f'"{value[:40]}" is not a valid choice.')
    return value


def number(form: Mapping[str, Any], name: str) -> Decimal:
    """A positive number.  Raises ``ApiError`` 400."""
    raw = text(form, name)
    try:
        value = Decimal(raw)
    except InvalidOperation:
        value = Decimal("NaN")
    if isinstance(form[name], bool) or not value.is_finite():
        raise field(name, "A valid number is required.")
    if not 0 < value <= _MOST:
        raise field(name, "Ensure this value is greater than 0.")
    return value
