"""What the checks of a simulation ask of the venue and of the disk: the two sides that they compare the daemon with."""

from __future__ import annotations

from collections.abc import Container, Sequence
from decimal import Decimal
from typing import Protocol

from engine.events import Side


class Fact(Protocol):
    """A fill as the venue has it."""

    @property
    def entry_id(self) -> str: ...
    @property
    def client_order_id(self) -> str: ...
    @property
    def ours(self) -> bool: ...
    @property
    def entry(self) -> str:
        """Client order id of the entry that its order came with; empty for any other."""
        ...


class Truth(Protocol):
    """The venue's own state."""

    disturbed_ns: int

    def balances(self) -> dict[str, Decimal]: ...

    def fills(self) -> Sequence[Fact]: ...

    def open_orders(self) -> dict[str, Decimal]: ...

    def entry_of(self, order_id: str) -> str:
        """Client order id of the entry that an order (by the venue's id) came with; empty for any other."""
        ...

    def exits_of(self, entry: str) -> Sequence[str]:
        """The venue's ids of what came with an entry."""
        ...

    def versions(self) -> dict[str, tuple[Decimal, Decimal]]: ...

    def order_count(self, client_order_id: str) -> int: ...

    def is_told_unasked(self, client_order_id: str) -> bool:
        """Whether it is there, its answer never came in time, and nobody has asked about orders since."""
        ...

    def worst_base(self, base: str, side: Side) -> Decimal: ...

    def others(self, currency: str, disowned: Container[str]) -> Decimal:
        """What the account holds that no order of ours has moved, but for those ``disowned``: what it began with,
        deposits, trades by hand."""
        ...

    @property
    def overfilled(self) -> Container[str]:
        """Orders that the venue has executed beyond their size, by their client ids and by the venue's."""
        ...

    def user_silence_s(self) -> float:
        """Since anything was sent on the account's stream."""
        ...

    def rules(self, product_id: str) -> tuple[Decimal, ...]:
        """Price step, size step, least and greatest size, least value."""
        ...

    def mid_px(self, product_id: str) -> Decimal | None: ...


class Durability(Protocol):
    """What of a session's journal is on the disk."""

    @property
    def durable_seq(self) -> int: ...

    @property
    def broken(self) -> bool:
        """A sync has failed: nothing that is written now can be trusted to be on the disk."""
        ...

    @property
    def full(self) -> bool:
        """There is no room for what comes: nothing may be sent."""
        ...
