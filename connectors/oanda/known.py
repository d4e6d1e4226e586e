"""Which orders of an account are known, under which numbers, and which of ours nothing was told of yet: pure.

Owns that register.  What transactions mean is ``account_protocol``'s.  An order goes by our id where it has one that is
its own, else by the venue's number; its number changes when it fills in part.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from decimal import Decimal

import msgspec

ENDED_KEPT = 4096
"""Ended orders remembered, for what is told of them late; the oldest is forgotten first."""


class Known(msgspec.Struct, gc=False):
    """One order by its newest number.  ``left_units``: unsigned, of what the venue still has to execute.  ``told``: the
    core knows of it.  ``immediate``: what is not executed at once is gone."""

    client_order_id: str
    number: str
    left_units: Decimal
    ours: bool
    told: bool = False
    immediate: bool = False


class KnownOrders:
    """``sent`` are ids of ours of which nothing was told yet."""

    def __init__(self) -> None:
        self.sent: dict[str, None] = {}
        self._by_number: dict[str, Known] = {}
        self._by_client: dict[str, Known] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_number)

    def numbered(self, number: str) -> Known | None:
        return self._by_number.get(number)

    def named(self, client_order_id: str) -> Known | None:
        return self._by_client.get(client_order_id)

    def know(self, client_id: str, number: str, units: Decimal) -> Known:
        """A new order: ours when its id was sent and nothing was told of that one yet.  A second order with the same id
        is somebody else's, and goes by its number."""
        ours = client_id in self.sent
        self.sent.pop(client_id, None)
        name = client_id if client_id and client_id not in self._by_client else number
        known = Known(name, number, units, ours)
        self._by_number[number] = self._by_client[name] = known
        return known

    def renumber(self, known: Known, number: str) -> None:
        """What is left of it goes on under another number."""
        self._by_number.pop(known.number, None)
        known.number = number
        self._by_number[number] = known

    def is_open(self, known: Known) -> bool:
        return known.number not in self._ended

    def unlisted(self, listed: Collection[str], at: int) -> list[Known]:
        """Orders that should rest at transaction ``at`` and are not among the numbers that are listed then."""
        return [
            known
            for known in self._by_number.values()
            if known.told
            and not known.immediate
            and self.is_open(known)
            and known.number not in listed
            and known.number.isdecimal()
            and int(known.number) <= at
        ]

    def end(self, known: Known) -> None:
        self._ended[known.number] = None
        while len(self._ended) > ENDED_KEPT:
            number, _ = self._ended.popitem(last=False)
            gone = self._by_number.pop(number, None)
            if gone is not None and self._by_client.get(gone.client_order_id) is gone:
                del self._by_client[gone.client_order_id]
