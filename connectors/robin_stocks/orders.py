"""What an order is at this venue: the form that is posted, and what its answer proves.

Owns both directions of order entry and the instrument's rules.  Pure: forms in, verdicts out.

The venue has no order id of ours.  It has ``ref_id``, a UUID that its own apps make anew for each order; ours is made
of the client order id, so that an order can be found again by whoever knows that id, also after a restart.
"""

from __future__ import annotations

import hashlib
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import msgspec

from connectors.robin_stocks import wire
from connectors.robin_stocks.messages import Outcome, Told
from connectors.verdicts import Verdict
from engine.commands import NewOrder, OrderType, TimeInForce
from engine.errors import LocalProtocolError
from engine.events import Side
from engine.instruments import AssetClass, Instrument
from engine.offers import Offer
from engine.refusals import worded

API = "https://api.robinhood.com"
OFFER = Offer(
    frozenset(
        {
            (OrderType.MARKET, TimeInForce.IOC),
            (OrderType.LIMIT, TimeInForce.GTC),
            (OrderType.STOP_LIMIT, TimeInForce.GTC),
        }
    )
)
"""A market buy is a limit order at this venue, and a stop to buy a stop-limit one: stops at market are watched here."""
_OPTION = re.compile(r"([A-Z][A-Z.]{0,5})/USD:USD-(\d{2})(\d{2})(\d{2})-(\d+(?:\.\d+)?)-([CP])")
_FORM_VERSION = 4
_SHARE, _SHARE_PART = Decimal(1), Decimal("0.000001")


class OptionName(msgspec.Struct, frozen=True):
    """``AAPL/USD:USD-261218-200-C``, taken apart; ``expiry`` is ``2026-12-18``, ``kind`` call or put."""

    symbol: str
    expiry: str
    strike: str
    kind: str


def option_name(symbol: str) -> OptionName | None:
    """None for a symbol that is no option's."""
    found = _OPTION.fullmatch(symbol)
    if found is None:
        return None
    stock, year, month, day, strike, kind = found.groups()
    return OptionName(stock, f"20{year}-{month}-{day}", strike, "call" if kind == "C" else "put")


def ref_id(client_order_id: str) -> str:
    """A UUID (version 8: of one's own making, RFC 9562) that is this order's for ever."""
    digits = hashlib.sha256(f"kestrel/{client_order_id}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


# --- instruments ------------------------------------------------------------------------------------------------------


def define_stock(row: wire.InstrumentRow, venue: str, px: float, *, fractional: bool) -> Instrument:
    """``px`` about what it costs: below a dollar prices have two more digits."""
    tick = row.min_tick_size
    if tick is None or not tick.is_finite() or tick <= 0:
        tick = Decimal("0.01") if px >= 1 else Decimal("0.0001")
    lot = _SHARE_PART if fractional and row.fractional_tradability == "tradable" else _SHARE
    return Instrument(
        id=f"{row.symbol}/USD@{venue}",
        venue=venue,
        venue_symbol=row.symbol,
        base=row.symbol,
        quote="USD",
        settlement="USD",
        asset_class=AssetClass.EQUITY,
        tick_px=tick,
        lot_qty=lot,
        min_qty=lot,
        max_qty=Decimal(1_000_000),
        min_notional=Decimal(1) if lot < 1 else Decimal(0),
        maker_fee_rate=Decimal(0),
        taker_fee_rate=Decimal(0),
        has_trades=False,
        session_calendar="XNYS",
    )


def define_option(row: wire.ContractRow, venue: str, symbol: str, expires_ns: int, px: float = 0.0) -> Instrument:
    """Bought and sold back, never sold short: this engine writes no options here.

    ``px`` is about what it costs: from the cutoff on, prices have the coarser step, which is right below it too.  A
    price that is beside the grid of its height is refused before it leaves.
    """
    ticks = row.min_ticks
    tick = Decimal("0.01")
    if ticks is not None:
        tick = ticks.above_tick if px >= float(ticks.cutoff_price) else ticks.below_tick
    return Instrument(
        id=f"{symbol}@{venue}",
        venue=venue,
        venue_symbol=row.id,
        base=row.chain_symbol,
        quote="USD",
        settlement="USD",
        asset_class=AssetClass.OPTION,
        tick_px=tick,
        lot_qty=Decimal(1),
        min_qty=Decimal(1),
        max_qty=Decimal(10_000),
        min_notional=Decimal(0),
        maker_fee_rate=Decimal(0),
        taker_fee_rate=Decimal(0),
        multiplier=Decimal(100),
        has_trades=False,
        strike_px=row.strike_price,
        expiry_ns=expires_ns,
        session_calendar="XNYS",
    )


# --- orders out -------------------------------------------------------------------------------------------------------


class Listing(msgspec.Struct, frozen=True):
    """An instrument with what its orders must name: ``url`` at the venue, and the steps of an option's prices."""

    instrument: Instrument
    url: str
    ticks: wire.Ticks | None = None

    @property
    def is_option(self) -> bool:
        return self.instrument.asset_class is AssetClass.OPTION


def encode(order: NewOrder, listing: Listing, account: str, ask_px: float, slip: Decimal) -> dict[str, Any]:
    """The fields of POST /orders/ or /options/orders/.

    ``ask_px`` is the last known ask, for a market buy.  Raises ``LocalProtocolError`` for what the venue does not offer
    and for numbers beside its grid.
    """
    intent = order.intent
    if intent.side is not Side.BUY and intent.side is not Side.SELL:
        raise LocalProtocolError(f"order side {intent.side!r}", expected="Side.BUY or Side.SELL")
    if not OFFER.takes(intent.order_type, intent.time_in_force) or intent.post_only or intent.trailing_px is not None:
        what = f"{'post-only ' if intent.post_only else ''}{intent.order_type} {intent.time_in_force}"
        raise LocalProtocolError(f"robin_stocks takes no {what} order", expected="market, limit or stop-limit")
    if intent.reduce_only and intent.side is Side.BUY:
        raise LocalProtocolError("a reduce-only buy", expected="a sale: nothing can be short here")
    if listing.is_option:
        return _encode_option(order, listing, account)
    return _encode_stock(order, listing, account, ask_px, slip)


def _encode_stock(order: NewOrder, listing: Listing, account: str, ask_px: float, slip: Decimal) -> dict[str, Any]:
    intent, rules = order.intent, listing.instrument
    qty = _on_grid(intent.qty, rules.lot_qty, "quantity")
    buys = intent.side is Side.BUY
    market = intent.order_type is OrderType.MARKET
    is_part = bool(intent.qty % 1)
    if is_part and not market:
        raise LocalProtocolError(f"quantity {intent.qty} of a limit order", expected="whole shares")
    form: dict[str, Any] = {
        "account": f"{API}/accounts/{account}/",
        "instrument": listing.url,
        "symbol": rules.venue_symbol,
        "quantity": qty,
        "ref_id": ref_id(order.client_order_id),
        "type": "market" if market and not buys else "limit",
        "time_in_force": "gfd" if market else "gtc",
        "trigger": "stop" if intent.order_type is OrderType.STOP_LIMIT else "immediate",
        "side": "buy" if buys else "sell",
        "market_hours": "regular_hours",
        "extended_hours": "false",
        "order_form_version": _FORM_VERSION,
    }
    if market and buys:
        form["price"] = _market_price(rules, ask_px, slip)
        form["preset_percent_limit"] = "0.05"
    elif not market:
        form["price"] = _on_grid(intent.limit_px, rules.tick_px, "price")
        if buys:
            form["preset_percent_limit"] = "0.05"
    if intent.order_type is OrderType.STOP_LIMIT:
        form["stop_price"] = _on_grid(intent.trigger_px, rules.tick_px, "trigger price")
    return form


def _market_price(rules: Instrument, ask_px: float, slip: Decimal) -> str:
    try:
        ask = rules.price(ask_px)
    except ValueError:
        ask = Decimal(0)
    if ask <= 0:
        raise LocalProtocolError(
            f"a market buy of {rules.id} without an ask", expected="a quote: it goes out as a limit"
        )
    steps = (ask * (1 + slip) / rules.tick_px).to_integral_value(ROUND_FLOOR)
    return f"{max(ask, steps * rules.tick_px):f}"


def _encode_option(order: NewOrder, listing: Listing, account: str) -> dict[str, Any]:
    intent, rules = order.intent, listing.instrument
    if intent.order_type is OrderType.MARKET:
        raise LocalProtocolError("a market order for an option", expected="limit or stop-limit: there are no others")
    buys = intent.side is Side.BUY
    px = intent.limit_px
    form: dict[str, Any] = {
        "account": f"{API}/accounts/{account}/",
        "direction": "debit" if buys else "credit",
        "time_in_force": "gtc",
        "legs": [
            {
                "position_effect": "open" if buys else "close",
                "side": "buy" if buys else "sell",
                "ratio_quantity": 1,
                "option": listing.url,
            }
        ],
        "type": "limit",
        "trigger": "stop" if intent.order_type is OrderType.STOP_LIMIT else "immediate",
        "price": _on_grid(px, _step(listing, px), "price"),
        "quantity": _on_grid(intent.qty, rules.lot_qty, "quantity"),
        "override_day_trade_checks": False,
        "override_dtbp_checks": False,
        "ref_id": ref_id(order.client_order_id),
    }
    if intent.order_type is OrderType.STOP_LIMIT:
        trigger = intent.trigger_px
        form["stop_price"] = _on_grid(trigger, _step(listing, trigger), "trigger price")
    return form


def _step(listing: Listing, px: Decimal | None) -> Decimal:
    ticks = listing.ticks
    if ticks is None or px is None or not px.is_finite():
        return listing.instrument.tick_px
    return ticks.above_tick if px >= ticks.cutoff_price else ticks.below_tick


def _on_grid(value: Decimal | None, step: Decimal, what: str) -> str:
    """A positive number with the digits of its step.  Raises ``LocalProtocolError``."""
    if value is None or not value.is_finite() or value <= 0 or value % step:
        raise LocalProtocolError(f"order {what} {value}", expected=f"a positive multiple of {step}")
    return f"{value.quantize(step, ROUND_CEILING):f}"


# --- answers in -------------------------------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True):
    """``row`` is set for ACCEPTED, ``reason`` (and the venue's ``text``) otherwise."""

    verdict: Verdict
    row: wire.OrderRow | None = None
    reason: str = ""
    text: str = ""


def read_answer(told: Told) -> Answer:
    """Success is an order with an id, and nothing else is."""
    if told.outcome is Outcome.NOT_SENT:
        return Answer(Verdict.REJECTED, reason="not_sent", text=told.text)
    if told.outcome is Outcome.REFUSED:
        if _reason(told) == "duplicate_client_id":
            # Ours is posted once: whoever repeated it on its way, the first one has arrived.
            return Answer(Verdict.UNKNOWN, reason="duplicate_client_id")
        reason, text = worded(_reason(told), wire.refusal(told.body) or told.text)
        return Answer(Verdict.REJECTED, reason=reason, text=text)
    if told.outcome is Outcome.OK:
        try:
            row = wire.read(told.body, wire.OrderRow)
        except wire.UNREADABLE:
            return Answer(Verdict.UNKNOWN, reason=f"HTTP {told.status} without a readable order")
        if row.id:
            return Answer(Verdict.ACCEPTED, row=row)
        return Answer(Verdict.UNKNOWN, reason=f"HTTP {told.status} without an order")
    return Answer(Verdict.UNKNOWN, reason=told.text or "no answer")


def _reason(told: Told) -> str:
    """A word for what the venue only says in sentences; the sentences stand beside it."""
    if told.status == 401:
        return "unauthorized"
    if told.status == 403:
        return "permission_denied"
    if told.status == 429:
        return "rate_limited"
    words = wire.refusal(told.body).lower()
    for part, reason in _WORDS:
        if part in words:
            return reason
    return f"HTTP {told.status}"


_WORDS = (
    ("buying power", "insufficient_funds"),
    ("not enough shares", "insufficient_position"),
    ("enough contracts", "insufficient_position"),
    ("not currently tradable", "trading_halted"),
    ("not tradable", "trading_halted"),
    ("multiple of", "invalid_px_precision"),
    ("fraction", "invalid_qty_precision"),
    ("too many open orders", "too_many_orders"),
    ("unique", "duplicate_client_id"),
)
