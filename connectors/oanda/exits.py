"""Orders that hang on one trade of OANDA's and close it, as REST bodies: pure.

Owns which of our orders become such, and their bytes.  A bracket is the trade's take-profit and stop-loss, which the
venue links: what fills takes the other along.  A trailing stop is its trailing stop-loss; a stop at market is its
guaranteed stop-loss where the settings ask for that and the instrument has it.

Such an order closes its trade, whatever units that has.  It stands for one of ours only where the trade is all that is
held of the instrument, and just as much as ours is to close; and where nothing hangs on it yet, since the venue would
put ours in the place of what somebody else has put there.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.oanda import wire
from connectors.oanda.bodies import ExitRequest, ExitsBody, OrderBody
from connectors.oanda.books import OneTrade
from connectors.oanda.known import SECOND
from connectors.oanda.orders import TRIGGER, check_form, on_grid
from connectors.oanda.refusals import Unfit
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.instruments import Instrument


class Exit(msgspec.Struct, frozen=True):
    """``trade`` is named in the path where two orders are asked for at once; empty: ``body`` is one of POST orders."""

    body: bytes
    trade: str = ""


def hangs(intent: OrderIntent) -> bool:
    """Whether the venue has it as exits of a trade only."""
    return intent.order_type is OrderType.BRACKET or intent.trailing_px is not None


def may_be_guaranteed(intent: OrderIntent) -> bool:
    return intent.order_type is OrderType.STOP and intent.reduce_only and intent.trailing_px is None


def misfit(intent: OrderIntent, trade: OneTrade | None) -> Unfit | None:
    """Why the trade's exits would do something else than the order; None where they do the same."""
    if not intent.reduce_only:
        return Unfit("exit_refused", f"a {intent.order_type} that may open a position", expected="reduce_only")
    if trade is None or trade.units * intent.side >= 0 or abs(trade.units) != intent.qty:
        held = "no position, or several trades" if trade is None else f"one trade of {trade.units}"
        text = f"{intent.instrument} is {held}"
        return Unfit("exit_refused", text, expected=f"one trade of {-intent.qty * intent.side}")
    if trade.has_exits:
        return Unfit("exit_exists", f"trade {trade.id} has exits already", expected="none of anybody's")
    return None


def encode_exit(order: NewOrder, instrument: Instrument, trade: OneTrade | None, *, guaranteed: bool) -> Exit:
    """The request for an order that ``hangs``, or for a stop that is to be guaranteed.  Raises ``Unfit``."""
    check_form(order, instrument)
    intent = order.intent
    unfit = misfit(intent, trade)
    if unfit is not None or trade is None:
        raise unfit or Unfit("exit_refused", "no trade")
    if intent.order_type is OrderType.BRACKET:
        target = _exit(order, instrument, order.client_order_id, px=intent.limit_px)
        stop = _exit(order, instrument, order.client_order_id + SECOND, px=intent.trigger_px)
        legs = {"guaranteedStopLoss" if guaranteed else "stopLoss": stop}
        return Exit(wire.encode_json(ExitsBody(target, **legs)), trade.id)
    if intent.trailing_px is not None:
        made = _exit(order, instrument, order.client_order_id, distance_px=intent.trailing_px)
        made.type = "TRAILING_STOP_LOSS"
    else:
        made = _exit(order, instrument, order.client_order_id, px=intent.trigger_px)
        made.type = "GUARANTEED_STOP_LOSS"
    made.tradeID = trade.id
    return Exit(wire.encode_json(OrderBody(made)))


def _exit(
    order: NewOrder,
    instrument: Instrument,
    client_id: str,
    *,
    px: Decimal | None = None,
    distance_px: Decimal | None = None,
) -> ExitRequest:
    intent = order.intent
    gtd = intent.time_in_force is TimeInForce.GTD
    return ExitRequest(
        price="" if distance_px is not None else on_grid(px, instrument.tick_px, "px"),
        distance="" if distance_px is None else on_grid(distance_px, instrument.tick_px, "px"),
        timeInForce="GTD" if gtd else "GTC",
        gtdTime=wire.format_time(intent.expire_ns) if gtd and intent.expire_ns is not None else "",
        triggerCondition=TRIGGER,
        clientExtensions=wire.Extensions(id=client_id),
    )
