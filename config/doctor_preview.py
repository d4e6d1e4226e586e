"""What the venue says of the smallest order in each instrument, before a session: asked, never placed.

Owns which order is asked about and how the answer is judged.  Venues without previews are not asked.  A refusal is a
remark and no failure: it may be a matter of what the account holds now.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Final, Protocol, runtime_checkable

from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.errors import KestrelError
from engine.events import InputEvent, InstrumentDefined, InstrumentStatus, Quote, Side, TradingStatus
from engine.findings import Skipped, Warned
from engine.instruments import Instrument

MARGIN: Final = Decimal("1.05")
"""Of the smallest notional: the price may fall until the venue looks."""
SHOWN_MAX: Final = 8


class Previewed(Protocol):
    """``reasons``: why it would be refused, empty where it would be taken.  ``total`` has ``fee`` in it, both in quote
    currency."""

    @property
    def reasons(self) -> tuple[str, ...]: ...

    @property
    def total(self) -> Decimal | None: ...

    @property
    def fee(self) -> Decimal | None: ...


@runtime_checkable
class PreviewsOrders(Protocol):
    """A connector whose venue says beforehand what an order would come to.  Raises ``KestrelError``."""

    async def preview(self, intent: OrderIntent) -> Previewed: ...


async def previewed(connector: object, events: Sequence[InputEvent], now_ns: int) -> str:
    """One line about a market buy of the smallest size in each instrument that trades, by what the connector has told.

    Raises ``Skipped`` where nothing can be asked, ``Warned`` for refusals and where no answer came.
    """
    if not isinstance(connector, PreviewsOrders):
        raise Skipped("this venue has no previews of orders")
    shut = {
        event.instrument: event.status is not TradingStatus.TRADING
        for event in events
        if type(event) is InstrumentStatus
    }
    asks_px = {event.instrument: event.ask_px for event in events if type(event) is Quote}
    rules = {event.definition.id: event.definition for event in events if type(event) is InstrumentDefined}
    asked = [one for one in rules.values() if not shut.get(one.id) and asks_px.get(one.id, 0.0) > 0.0]
    if not asked:
        raise Skipped("nothing trades, or no price was told")
    taken, refused = [], []
    for one in asked[:SHOWN_MAX]:
        intent = smallest_buy(one, one.price(asks_px[one.id], -1), now_ns)
        what = f"{intent.qty.normalize():f} {one.id} at market"
        try:
            told = await connector.preview(intent)
        except KestrelError as error:
            refused.append(f"{what}: {error.seen}")
            continue
        if told.reasons:
            refused.append(f"{what} would be refused: {', '.join(told.reasons)}")
        else:
            taken.append(f"{what} would cost {_amount(told.total)} {one.quote}, {_amount(told.fee)} of it fees")
    if refused:
        raise Warned(
            "; ".join([*refused, *taken]),
            expected="the smallest order taken",
            do="compare balances, permissions and limits at the venue; an account that only sells needs nothing",
        )
    return "; ".join(taken)


def smallest_buy(rules: Instrument, px: Decimal, now_ns: int) -> OrderIntent:
    """At market: the smallest quantity on the grid that is worth the smallest notional at ``px``."""
    worth_qty = rules.min_notional * MARGIN / (px * rules.multiplier)
    lots = (max(rules.min_qty, worth_qty) / rules.lot_qty).to_integral_value(ROUND_CEILING)
    return OrderIntent(
        now_ns,
        "doctor",
        rules.id,
        Side.BUY,
        lots * rules.lot_qty,
        OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
    )


def _amount(value: Decimal | None) -> str:
    return "an untold amount" if value is None else f"{round(value, 4).normalize():f}"
