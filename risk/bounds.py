"""What an instrument's definition and the account's limits say of orders in it, laid out for comparing.

Owns no comparison and keeps nothing that an order could change; ``risk.screen`` asks it.
"""

from __future__ import annotations

from decimal import Decimal

from engine.instruments import Instrument
from risk.checks import ZERO
from risk.controls import margin_rate
from risk.exposure import ONE, UnknownValueError
from risk.limits import EVERY_OTHER, Limits
from risk.standing import Standing


class Bounds:
    """What an instrument's rules and the account's limits say of orders in it: worked out once per definition.

    ``order_qty`` and ``position_qty`` are the limits of entries and ``entry_qty`` the smallest of them and the venue's,
    None where none are possible.  ``rate`` is the last one that was found positive; ``has_unit_worth``: a unit of the
    instrument is worth its price in portfolio currency.
    """

    __slots__ = (
        "asks_margin",
        "can_short",
        "entry_qty",
        "has_unit_rate",
        "has_unit_worth",
        "high_qty",
        "instrument",
        "is_plain",
        "is_unit",
        "lot_qty",
        "low_qty",
        "margin_rate",
        "min_notional",
        "order_qty",
        "position_qty",
        "rate",
        "reference",
        "settlement",
        "standings",
        "tick_px",
    )

    def __init__(self, instrument: Instrument, limits: Limits, *, listed: bool) -> None:
        self.instrument = instrument
        self.is_plain = (
            listed
            and not instrument.inverse
            and not instrument.allows_negative_px
            and instrument.expiry_ns is None
            and instrument.lot_qty > ZERO
            and instrument.tick_px > ZERO
            and instrument.multiplier > ZERO
        )
        self.lot_qty, self.tick_px = instrument.lot_qty, instrument.tick_px
        # A multiple of the lot that is above zero is at least one lot.
        self.low_qty = max(instrument.min_qty, instrument.lot_qty)
        self.high_qty = instrument.max_qty
        self.can_short = instrument.can_short
        self.min_notional = instrument.min_notional
        # As it is written: 1.0 would show in what an order holds.
        self.is_unit = str(instrument.multiplier) == "1"
        self.settlement = instrument.settlement
        self.rate: Decimal | None = None
        self.has_unit_rate = self.has_unit_worth = False
        self.standings: dict[str, Standing | None] = {}
        """By strategy, worked out when it first asks; None: the checks have to say why not."""
        try:
            self.margin_rate: Decimal | None = margin_rate(instrument)
        except UnknownValueError:
            self.margin_rate = None
        self.asks_margin = limits.max_margin_bps is not None and self.margin_rate != ZERO
        self.reference = None if limits.reference_collar_bps is None else (limits.references or {}).get(instrument.id)
        """Whose price the instrument's orders are held against, None for nobody's."""
        self.order_qty: Decimal | None = None
        self.position_qty: Decimal | None = None
        if instrument.id in limits.allowed_instruments:
            self.order_qty = limits.max_order_qty.get(instrument.id, limits.max_order_qty.get(EVERY_OTHER))
            self.position_qty = limits.max_position_qty.get(instrument.id, limits.max_position_qty.get(EVERY_OTHER))
        self.entry_qty: Decimal | None = None
        if self.order_qty is not None and self.position_qty is not None:
            self.entry_qty = min(self.order_qty, self.position_qty, self.high_qty)

    def takes_rate(self, rate: Decimal) -> bool:
        """Whether there is such a rate; it is remembered, for it changes less often than orders come."""
        if rate <= ZERO:
            return False
        # As it is written: 1.0 would show in what an order holds.
        self.rate, self.has_unit_rate = rate, rate == ONE and str(rate) == "1"
        self.has_unit_worth = self.is_unit and self.has_unit_rate
        return True
