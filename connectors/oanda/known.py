"""Which orders of an account are known, under which numbers, and which of ours nothing was told of yet: pure.

Owns that register.  What transactions mean is ``account_protocol``'s.  An order goes by our id where it has one that is
its own, else by the venue's number; its number changes when it fills in part.

A bracket of ours is two orders of the venue's, the exits of one trade, which the venue links: each has its own number
and its own id, ours and ours with ``SECOND``.  For the core they are one order, which is there as long as both are:
what is left of a pair is to go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from decimal import Decimal

import msgspec

REFUSED_KEPT = 64
ENDED_KEPT = 4096
"""Ended orders remembered, for what is told of them late; the oldest is forgotten first."""


SECOND = ".2"
"""What the id of a bracket's second order ends with; ids of ours have no dot."""
_ZERO = Decimal(0)


class Sent(msgspec.Struct, frozen=True):
    """An order of ours of which nothing was told yet: its quantity, and how many orders of the venue's it is."""

    qty: Decimal = _ZERO
    orders: int = 1


class Known(msgspec.Struct, gc=False):
    """One order by its newest number.  ``left_units``: unsigned, of what the venue still has to execute.  ``told``: the
    core knows of it.  ``immediate``: what is not executed at once is gone.  ``hangs``: it is the exit of a trade, whose
    units it has.  ``legs``: of a bracket, the numbers that rest, by their ids; ``leaving``: we have them cancelled."""

    client_order_id: str
    number: str
    left_units: Decimal
    ours: bool
    told: bool = False
    immediate: bool = False
    hangs: bool = False
    legs: dict[str, str] = {}
    leaving: bool = False


class KnownOrders:
    """``sent`` are ids of ours of which nothing was told yet."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {}
        self._by_number: dict[str, Known] = {}
        self._by_client: dict[str, Known] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._refused: OrderedDict[str, None] = OrderedDict()  # brackets of which one half was refused
        self.halves: list[str] = []
        """What is left of brackets that are none any more, by its address: to be cancelled.  The shell empties it."""

    def __len__(self) -> int:
        return len(self._by_number)

    def numbered(self, number: str) -> Known | None:
        return self._by_number.get(number)

    def named(self, client_order_id: str) -> Known | None:
        return self._by_client.get(client_order_id)

    def know(self, client_id: str, number: str, units: Decimal) -> Known:
        """A new order: ours when its id was sent and nothing was told of that one yet.  A second order with the same id
        is somebody else's, and goes by its number; so it does again where an earlier session knew it by that."""
        name = number if number in self.sent else client_id
        ours = self.sent.pop(name, None) is not None
        name = name if name and name not in self._by_client else number
        known = Known(name, number, units, ours)
        self._by_number[number] = self._by_client[name] = known
        return known

    def know_exit(self, client_id: str, number: str) -> Known | None:
        """An exit of a trade.  None where it was known or is nobody's of ours: the other half of a bracket, or
        somebody else's."""
        base = client_id.removesuffix(SECOND)
        pair = self._by_client.get(base)
        if pair is not None and pair.legs and client_id not in pair.legs and self.is_open(pair):
            pair.legs[client_id] = number
            self._by_number[number] = pair
            if pair.leaving:  # its cancel left before this one was told
                self.halves.append(number)
            return None
        if client_id in self._refused or base in self._refused:
            self.halves.append(number)
            return None
        sent = self.sent.get(base)
        known = self.know(client_id if sent is None else base, number, _ZERO if sent is None else sent.qty)
        known.hangs = True
        if sent is None:
            return None
        if sent.orders > 1:
            known.legs = {client_id: number}
        return known

    def refuse(self, client_id: str) -> bool:
        """The venue has refused an order of ours, or half of one; whether that is news."""
        base = client_id.removesuffix(SECOND)
        sent = self.sent.pop(base, None)
        pair = self._by_client.get(base)
        if sent is None and pair is not None and pair.legs and client_id not in pair.legs:
            self._part(pair)
        if sent is None:
            return False
        if sent.orders > 1:
            self._refused[base] = None
            while len(self._refused) > REFUSED_KEPT:
                self._refused.popitem(last=False)
        return True

    def lose_leg(self, known: Known, number: str, *, linked: bool) -> bool:
        """An order of the venue's has gone; whether another one of the same order of ours is still there.  ``linked``:
        the venue takes that one away too."""
        known.legs = {leg: one for leg, one in known.legs.items() if one != number}
        if number != known.number:
            self._by_number.pop(number, None)
        if known.legs and not linked:
            self._part(known)
        return bool(known.legs)

    def _part(self, known: Known) -> None:
        if not known.leaving:
            self.halves.extend(known.legs.values())

    def parts(self, client_order_id: str) -> list[str]:
        """By which ids of ours the venue has it."""
        known = self._by_client.get(client_order_id)
        if known is not None:
            return list(known.legs) or [client_order_id]
        sent = self.sent.get(client_order_id)
        return (
            [client_order_id, client_order_id + SECOND] if sent is not None and sent.orders > 1 else [client_order_id]
        )

    def leave(self, client_order_id: str) -> list[str]:
        """``parts``, all of which are to be cancelled."""
        known = self._by_client.get(client_order_id)
        if known is not None and known.legs:
            known.leaving = True
        return self.parts(client_order_id)

    def stay(self, part: str) -> None:
        """One of ``parts`` could not be cancelled.  A bracket that is whole stays; what is left of one is to go."""
        known = self._by_client.get(part.removesuffix(SECOND))
        if known is not None and known.legs and self.is_open(known):
            known.leaving = False
            if len(known.legs) == 1:
                self._part(known)

    def address(self, part: str) -> str:
        """How to name one of ``parts`` in a path: by its number where the venue has told it, else by its id."""
        known = self._by_client.get(part.removesuffix(SECOND)) or self._by_client.get(part)
        if known is None:
            return f"@{part}"
        return known.legs.get(part, f"@{part}" if part.endswith(SECOND) else known.number)

    def renumber(self, known: Known, number: str) -> None:
        """What is left of it goes on under another number."""
        self._by_number.pop(known.number, None)
        known.number = number
        self._by_number[number] = known

    def is_open(self, known: Known) -> bool:
        return known.number not in self._ended

    def unlisted(self, listed: Collection[str], at: int) -> list[Known]:
        """Orders that should rest at transaction ``at`` and are not among the numbers that are listed then, and those
        that should have ended by it, with the transaction after their own; of a bracket that is listed by half the
        other half is to go."""
        found = []
        for known in self._by_client.values():
            if not known.told or not self.is_open(known):
                continue
            last = at - 1 if known.immediate else at
            numbers = list(known.legs.values()) or [known.number]
            gone = [one for one in numbers if one.isdecimal() and int(one) <= last and one not in listed]
            if gone == numbers:
                found.append(known)
            else:
                for number in gone:
                    self.lose_leg(known, number, linked=False)
        return found

    def end(self, known: Known) -> None:
        self._ended[known.number] = None
        while len(self._ended) > ENDED_KEPT:
            number, _ = self._ended.popitem(last=False)
            gone = self._by_number.pop(number, None)
            for leg in () if gone is None else gone.legs.values():
                self._by_number.pop(leg, None)
            if gone is not None and self._by_client.get(gone.client_order_id) is gone:
                del self._by_client[gone.client_order_id]
