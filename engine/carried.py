"""What one session leaves to the next one on the same account: orders, money, latches and the state of strategies.

Owns the form, which is part of the journal's format: fields are only ever added at the end with a default, and
``VERSION`` says what they mean.  Taking it from a core and putting it into one is ``engine.recovery``.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.commands import GroupIntent, NewOrder, NewOrderWithExits, ReplaceOrder, RiskState
from engine.errors import DataError
from engine.instruments import FULLY_PAID, Instrument

VERSION = 1
ENDED = frozenset({"filled", "cancelled", "expired", "rejected"})
"""States of ``engine.order_states`` that an order does not leave."""


class CarriedOrder(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An order as it was known: ``state`` by its name in ``engine.order_states.OrderState``, ``new`` in the version
    that the venue has shown last."""

    new: NewOrder | NewOrderWithExits
    state: str
    venue_order_id: str
    filled_qty: Decimal
    avg_px: Decimal
    trade_ids: tuple[str, ...]
    """Of the fills that are booked in it."""
    edit: ReplaceOrder | None = None
    """Of which nobody knows yet whether it was done."""


class CarriedHolding(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """See ``engine.ports.Position``; ``realised`` is in settlement currency."""

    instrument: str
    qty: Decimal
    avg_px: Decimal
    realised: Decimal
    fees: Decimal
    funding: Decimal = Decimal(0)


class CarriedStake(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """See ``engine.ports.Stake``."""

    strategy: str
    instrument: str
    qty: Decimal
    avg_px: Decimal
    realised: Decimal
    fees: Decimal
    trip: Decimal
    since_ns: int


class CarriedTally(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """See ``engine.ports.Tally``."""

    strategy: str
    fills: int
    losses: int
    lost_ns: int
    day_base: Decimal | None
    day_low: Decimal


class CarriedStakes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Of ``engine.stakes``."""

    stakes: tuple[CarriedStake, ...] = ()
    tallies: tuple[CarriedTally, ...] = ()


class CarriedUnvalued(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Of a currency, or of an instrument's coins; with ``avg_px`` of a margined position.  See ``engine.unvalued``."""

    name: str
    qty: Decimal
    avg_px: Decimal | None


class CarriedMoney(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``reported``: accounts that were opened, as ``(venue, currency)`` or ``(instrument, "")``.  ``day`` is that of
    ``equity_day_start``, in days since 1970; -1: none yet."""

    currency: str
    cash: tuple[tuple[str, str, Decimal], ...]
    """``(venue, currency, amount)``."""
    reported: tuple[tuple[str, str], ...]
    holdings: tuple[CarriedHolding, ...]
    strategy_qty: tuple[tuple[str, str, Decimal], ...]
    equity_peak: Decimal | None
    day: int
    equity_day_start: Decimal | None
    stakes: CarriedStakes = CarriedStakes()
    unvalued: tuple[CarriedUnvalued, ...] = ()
    rates: tuple[tuple[str, Decimal], ...] = ()
    """What other currencies were worth, ``(currency, rate)``; where strategies have won or lost something in one, the
    rate at which that was counted last."""


class CarriedStrategy(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``state`` is JSON, empty where it had none to give."""

    name: str
    state: str


class CarriedGroup(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """See ``engine.groups.Group``."""

    group_id: str
    intent: GroupIntent
    levels_px: tuple[Decimal | None, ...]
    fired: int
    entered: tuple[tuple[str, Decimal], ...]
    left: tuple[tuple[str, Decimal], ...]
    sent_id: str
    sent_exit: int
    ending: str


class CarriedCorrection(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An execution (``venue|id``) that was corrected, and what stands of it."""

    trade: str
    qty: Decimal
    px: Decimal
    fee: Decimal


class CarriedVersions(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Versions of one order: the newest by its client order id, what all together were to fill, what those before it
    have filled, and how much of that is whose, as ``(client order id, quantity)``."""

    newest: str
    total_qty: Decimal
    earlier_qty: Decimal
    earlier: tuple[tuple[str, Decimal], ...]


class CarriedAlarm(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Of a model on an instrument, as in ``engine.events.ModelAlarmed``: a ``stop`` or a ``size_down``."""

    instrument: str
    model: str
    source: str
    action: str
    factor: float
    text: str


class Carried(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All of it.  ``trades``: ids of executions that were booked lately, as ``venue|id``.  ``instruments`` are those of
    the orders and holdings, by which later facts are understood."""

    version: int
    instruments: tuple[Instrument, ...]
    orders: tuple[CarriedOrder, ...]
    trades: tuple[str, ...]
    money: CarriedMoney
    risk_state: RiskState
    risk_reason: str
    strategies: tuple[CarriedStrategy, ...]
    groups: tuple[CarriedGroup, ...] = ()
    corrections: tuple[CarriedCorrection, ...] = ()
    known_px: tuple[tuple[str, float], ...] = ()
    """``(instrument, the last price of its market that was believed)``."""
    versions: tuple[CarriedVersions, ...] = ()
    ended_groups: tuple[CarriedGroup, ...] = ()
    """Those that had nothing left to close: a late fill of their entry brings them back."""
    fundings: tuple[str, ...] = ()
    """Ids of what was booked lately without an execution (``engine.fundings``), as ``venue|id``."""
    alarms: tuple[CarriedAlarm, ...] = ()
    """That stand against models, each for the version that it names."""
    retired: tuple[str, ...] = ()
    """Instruments whose twins have lost their canary and are to be flat (``engine.trusting``)."""

    @property
    def venues(self) -> tuple[str, ...]:
        """Whose accounts these are."""
        at = {venue for venue, _, _ in self.money.cash} | {one.new.venue for one in self.orders}
        return tuple(sorted(at | {venue for venue, currency in self.money.reported if currency}))

    @property
    def open_count(self) -> int:
        """Orders that may still live."""
        return sum(one.state not in ENDED for one in self.orders)

    def balances(self, venue: str) -> dict[str, Decimal]:
        """What the books hold at a venue, by currency, coins that are positions included."""
        found = {currency: amount for at, currency, amount in self.money.cash if at == venue}
        defined = {one.id: one for one in self.instruments}
        for holding in self.money.holdings:
            one = defined.get(holding.instrument)
            if one is not None and one.venue == venue and one.asset_class in FULLY_PAID:
                found[one.base] = found.get(one.base, Decimal(0)) + holding.qty
        return found


def owned_in(carried: Carried) -> set[tuple[str, str]]:
    """Strategies that hold something, have an order that may live or wait for a price, each with the instrument.  One
    that came after the state was kept last has no state of its own in it, and its position is there all the same."""
    holding = {(one.strategy, one.instrument) for one in carried.money.stakes.stakes if one.qty}
    orders = [one.new.intent for one in carried.orders if one.state not in ENDED]
    orders += [wish for one in carried.groups for wish in (one.intent.entry, *one.intent.exits) if wish is not None]
    return holding | {(one.strategy, one.instrument) for one in orders}


_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_decoder = msgspec.msgpack.Decoder(Carried)


def encode_carried(carried: Carried) -> bytes:
    """An order that is not being changed is written without that field, as by releases that knew no changes, and a
    state without alarms, without twins to be closed, with all valued, or of one currency alone, without
    those: their sessions replay byte for byte."""
    orders = [one if one.edit is not None else msgspec.structs.astuple(one)[:-1] for one in carried.orders]
    money = msgspec.structs.astuple(carried.money)
    money = money[: len(money) - (0 if carried.money.rates else 1 if carried.money.unvalued else 2)]
    fields = [
        orders if value is carried.orders else money if value is carried.money else value
        for value in msgspec.structs.astuple(carried)
    ]
    unused = 0 if carried.retired else 1 if carried.alarms else 2
    return _encoder.encode(fields[: len(fields) - unused])


def decode_carried(data: bytes) -> Carried:
    """Raises ``DataError`` for what another release has written."""
    try:
        carried = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise DataError(
            f"the state that the last session left cannot be read: {error}", do="start with the release that wrote it"
        ) from error
    if carried.version != VERSION:
        raise DataError(
            f"the state that the last session left has version {carried.version}",
            expected=f"version {VERSION}",
            do="start with the release that wrote it",
        )
    return carried
