"""Orders as OANDA's REST bodies, and the venue's answers as verdicts: pure.

Owns how a command becomes bytes, and what an answer to it proves.  Does not send.  Which kinds of orders the venue
takes is ``offer``'s, what its refusals mean ``refusals``'.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.oanda import wire
from connectors.oanda.bodies import OrderBody, OrderRequest
from connectors.oanda.offer import OFFER
from connectors.oanda.refusals import Unfit, refusal
from connectors.verdicts import Verdict
from engine.commands import NewOrder, OrderType, TimeInForce
from engine.data.sessions import Market, market_of
from engine.events import Side
from engine.instruments import AssetClass, Instrument

MAX_CLIENT_ID_CHARS = 128
TRIGGER = "DEFAULT"
"""Which price reaches an order that waits: the ask where it buys, the bid where it sells, as for stops of ours."""
_ASSET_CLASSES = {"CURRENCY": AssetClass.FX}
_TIMES = {
    TimeInForce.GTC: "GTC",
    TimeInForce.GTD: "GTD",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
}
_AT_ONCE = dict.fromkeys(TimeInForce, "IOC") | {TimeInForce.FOK: "FOK"}
_SAYS_NOTHING = frozenset({408, 425})
"""Of the statuses below 500 those that say nothing about the order."""
_TOO_FAST = 429
"""Refused before anybody looked at it, whatever the body is."""


class Answer(msgspec.Struct, frozen=True):
    """``venue_order_id`` is set for ACCEPTED, ``reason`` (and the venue's own words in ``text``) otherwise.

    ACCEPTED says that the order exists or existed: what became of it is told by transactions up to ``last_id``.
    """

    verdict: Verdict
    venue_order_id: str = ""
    reason: str = ""
    text: str = ""
    last_id: int = 0


def define(row: wire.InstrumentRow, venue: str) -> Instrument:
    """The venue's rules of an instrument as ours.

    Raises ``ValueError`` for a name that is no pair, and for numbers that are no rules.
    """
    base, separator, quote = row.name.partition("_")
    if not base or not separator or not quote or "_" in quote:
        raise ValueError(f"instrument {row.name!r} is no pair such as EUR_USD")
    if not 0 <= row.displayPrecision <= 15 or not 0 <= row.tradeUnitsPrecision <= 15:
        raise ValueError(f"precisions {row.displayPrecision} and {row.tradeUnitsPrecision} of {row.name}")
    bounds = (row.minimumTradeSize, row.maximumOrderUnits, row.marginRate)
    if not all(bound.is_finite() and bound > 0 for bound in bounds):
        raise ValueError(f"bounds and margin {', '.join(map(str, bounds))} of {row.name}")
    return Instrument(
        id=f"{base}/{quote}@{venue}",
        venue=venue,
        venue_symbol=row.name,
        base=base,
        quote=quote,
        settlement=quote,
        asset_class=_ASSET_CLASSES.get(row.type, AssetClass.CFD),
        tick_px=Decimal(1).scaleb(-row.displayPrecision),
        lot_qty=Decimal(1).scaleb(-row.tradeUnitsPrecision),
        min_qty=row.minimumTradeSize,
        max_qty=row.maximumOrderUnits,
        min_notional=Decimal(0),
        maker_fee_rate=Decimal(0),
        taker_fee_rate=Decimal(0),
        can_short=True,
        has_trades=False,
        margin_rate=row.marginRate,
        # What features know of hours, as in data of the past; when orders trade the venue says with each price.
        session_calendar="CMES" if market_of(venue, f"{base}/{quote}") is Market.FUTURES else "FX",
    )


def check_form(order: NewOrder, instrument: Instrument) -> None:
    """Raises ``Unfit`` (which names the reason) for what the venue does not offer or would refuse whatever its price,
    and for a side, type or time in force that is no member of its enum."""
    intent = order.intent
    if not 0 < len(order.client_order_id) <= MAX_CLIENT_ID_CHARS or order.client_order_id.startswith("@"):
        raise Unfit(
            "invalid_client_id",
            f"client order id {order.client_order_id[:40]!r}",
            expected=f"1 to {MAX_CLIENT_ID_CHARS} characters, no @",
        )
    if intent.side is not Side.BUY and intent.side is not Side.SELL:
        raise Unfit("unsupported", f"order side {intent.side!r}", expected="Side.BUY or Side.SELL")
    kind, tif = intent.order_type, intent.time_in_force
    bounded = kind is OrderType.STOP_LIMIT and intent.reduce_only and tif in (TimeInForce.GTC, TimeInForce.GTD)
    if (
        not (OFFER.takes(kind, tif) or bounded)
        or intent.post_only
        or (intent.trailing_px is not None and kind is not OrderType.STOP)
    ):
        raise Unfit(
            "unsupported",
            f"OANDA takes no {'post-only ' if intent.post_only else ''}{kind} {tif} order",
            expected="what docs/oanda.md names",
        )
    on_grid(intent.qty, instrument.lot_qty, "qty")
    if intent.qty < instrument.min_qty:
        raise Unfit("below_minimum", f"order quantity {intent.qty}", expected=f"at least {instrument.min_qty}")
    if intent.qty > instrument.max_qty:
        raise Unfit("above_maximum", f"order quantity {intent.qty}", expected=f"at most {instrument.max_qty}")
    if tif is TimeInForce.GTD and kind is not OrderType.MARKET and intent.expire_ns is None:
        raise Unfit("unsupported", "a good-till-date order without a date", expected="expire_ns")


def encode_order(order: NewOrder, instrument: Instrument) -> bytes:
    """The JSON body of POST orders: signed units, prices with exactly the digits of the instrument.

    Raises ``Unfit`` as ``check_form`` does, for prices off the grid, and for what hangs on a trade (``exits``).
    """
    check_form(order, instrument)
    intent = order.intent
    kind = intent.order_type
    if kind is OrderType.BRACKET or intent.trailing_px is not None:
        raise Unfit("exit_refused", f"a {kind} order of its own", expected="a trade that it closes")
    qty = on_grid(intent.qty, instrument.lot_qty, "qty")
    market = kind is OrderType.MARKET
    waits = not market and kind is not OrderType.LIMIT
    px = bound_px = gtd = ""
    if not market:
        px = on_grid(intent.trigger_px if waits else intent.limit_px, instrument.tick_px, "px")
    if kind is OrderType.STOP_LIMIT:
        bound_px = on_grid(intent.limit_px, instrument.tick_px, "px")
    if intent.time_in_force is TimeInForce.GTD and not market and intent.expire_ns is not None:
        gtd = wire.format_time(intent.expire_ns)
    request = OrderRequest(
        type="STOP" if kind is OrderType.STOP_LIMIT else kind.name,
        instrument=instrument.venue_symbol,
        units=qty if intent.side is Side.BUY else f"-{qty}",
        price=px,
        priceBound=bound_px,
        timeInForce=_AT_ONCE[intent.time_in_force] if market else _TIMES[intent.time_in_force],
        gtdTime=gtd,
        # Our books have one position of an instrument; by default an account with hedging would open a second one.
        positionFill="REDUCE_ONLY" if intent.reduce_only else "REDUCE_FIRST",
        triggerCondition=TRIGGER if waits else "",
        clientExtensions=wire.Extensions(id=order.client_order_id),
    )
    return wire.encode_json(OrderBody(request))


def on_grid(value: Decimal | None, step: Decimal, what: str) -> str:
    """A positive number with the digits of its step.  Raises ``Unfit``."""
    if value is None or not value.is_finite() or value <= 0:
        raise Unfit(f"invalid_{what}", f"order {what} {value}", expected=f"a positive multiple of {step}")
    if value % step:
        raise Unfit(f"invalid_{what}_precision", f"order {what} {value}", expected=f"a positive multiple of {step}")
    return f"{value.quantize(step):f}"


def read_answer(status: int, body: bytes) -> Answer:
    """What an answer to POST orders proves; ``UNKNOWN`` whatever is not understood."""
    try:
        answer = wire.decode_order_answer(body)
    except wire.UNREADABLE:
        if status == _TOO_FAST:
            return Answer(Verdict.REJECTED, reason="rate_limited", text=f"HTTP {status}")
        return Answer(Verdict.UNKNOWN, reason=f"HTTP {status}, unreadable")
    last_id = int(answer.lastTransactionID) if answer.lastTransactionID.isdecimal() else 0
    created = answer.created
    if 200 <= status < 300:
        if created is not None and created.id:
            return Answer(Verdict.ACCEPTED, venue_order_id=created.id, last_id=last_id)
        return Answer(Verdict.UNKNOWN, reason=f"HTTP {status} without a created order", last_id=last_id)
    rejected = answer.rejected
    code = answer.errorCode or (rejected.rejectReason if rejected is not None else "")
    refused = 400 <= status < 500 and status not in _SAYS_NOTHING
    if status == _TOO_FAST or (refused and (rejected is not None or answer.errorMessage)):
        reason = refusal(code, answer.errorMessage, status)
        text = ": ".join(word for word in (code, answer.errorMessage) if word)
        if reason == "duplicate_client_id":
            # We ask once: whatever has our id already is most likely this order, taken twice on its way.
            return Answer(Verdict.UNKNOWN, reason=reason, text=text, last_id=last_id)
        return Answer(Verdict.REJECTED, reason=reason, text=text, last_id=last_id)
    return Answer(Verdict.UNKNOWN, reason=code or f"HTTP {status}", text=answer.errorMessage, last_id=last_id)
