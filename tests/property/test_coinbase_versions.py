"""An order that is changed back and forth, shown by a stream and by listings that are behind: what is told as done was
done after it was asked for, and in the end the version that lives is the one that was told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.coinbase import wire
from connectors.coinbase.versions import LAG_NS, Version, Versions
from engine.commands import ReplaceOrder
from engine.events import OrderReplaced
from tests.support.coinbase import BTC

D = Decimal
S = 1_000_000_000
GRACE_NS = 15 * S
STEP = st.sampled_from(
    ["done", "done", "change", "change", "arrive", "lose", "answer", "touch", "stream", "look", "look", "list", "wait"]
)


class Order:
    """As the venue has it, and what was told of it."""

    def __init__(self) -> None:
        self.versions = Versions("coinbase")
        self.now_ns = 100 * S
        self.lived: list[tuple[int, Version]] = [(0, Version(D(1), D(100)))]
        """Since when it is what."""
        self.told = self.lived[0][1]
        self.on_way: Version | None = None
        self.asked_ns = 0
        self.stream: list[Version] = []

    @property
    def live(self) -> Version:
        return self.lived[-1][1]

    def at(self, ts_ns: int) -> Version:
        return [version for since_ns, version in self.lived if since_ns <= ts_ns][-1]

    def change(self, qty: int, px: int) -> None:
        wanted = Version(D(qty), D(px))
        if self.versions.is_pending("v1") or self.on_way is not None or wanted == self.told:
            return
        assert self.told.px is not None
        self.versions.begin(ReplaceOrder(0, "c1", "coinbase", "v1", BTC, D(qty), D(px), *self.told), self.now_ns)
        self.on_way, self.asked_ns = wanted, self.now_ns

    def arrive(self) -> None:
        if self.on_way is not None:
            self.lived.append((self.now_ns, self.on_way))
            self.stream.append(self.on_way)
            self.on_way = None

    def show(self) -> None:
        """The oldest message of the stream that was not told yet."""
        if self.stream:
            qty, px = self.stream.pop(0)
            seen = wire.UserOrder(
                "v1", "OPEN", "BTC-USD", cumulative_quantity="0", leaves_quantity=str(qty), limit_price=str(px)
            )
            self.hear(self.versions.told(seen, self.now_ns, self.now_ns))

    def look(self, behind_ns: int, *, listed: bool = False) -> None:
        qty, px = self.at(self.now_ns - behind_ns)
        fields = {"limit_limit_gtc": {"base_size": str(qty), "limit_price": str(px), "post_only": False}}
        seen = wire.RestOrder("v1", "OPEN", "BTC-USD", client_order_id="c1", order_configuration=fields)
        self.hear(self.versions.looked_up(seen, 0 if listed else self.now_ns, self.now_ns, GRACE_NS))

    def hear(self, events: list[Any]) -> None:
        for event in events:
            if type(event) is OrderReplaced:
                self.told = Version(event.qty, event.limit_px)
                since_ns = self.asked_ns
                lived = {self.at(since_ns), *(version for at_ns, version in self.lived if at_ns >= since_ns)}
                assert self.told in lived, "told as done, and it was not like that since it was asked for"


@pytest.mark.fault("B13")
@pytest.mark.fault("B16")
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(STEP, st.integers(1, 2), st.integers(100, 101), st.integers(0, 9)), max_size=40))
def test_what_is_told_as_done_was_done(steps: list[tuple[str, int, int, int]]) -> None:
    """Changes arrive late or never; answers are lost; a look-up is less than a second behind, a list up to a grace."""
    order = Order()
    for step, qty, px, number in steps:
        order.now_ns += S // 20
        if step in ("change", "done"):
            order.change(qty, px)
            if step == "done":
                order.arrive()
                order.show()
        elif step == "arrive":
            order.arrive()
        elif step == "lose":
            order.on_way = None
        elif step == "answer":
            order.versions.answered("v1", order.now_ns, taken=order.on_way is None)
        elif step == "touch":
            order.stream.append(order.live)
        elif step == "stream":
            order.show()
        elif step == "look":
            order.look(number * LAG_NS // 10)
        elif step == "list":
            order.look(number * GRACE_NS // 10, listed=True)
        else:
            order.now_ns += (S // 2, 3 * S, 20 * S)[number % 3]
    order.arrive()
    order.versions.answered("v1", order.now_ns, taken=True)
    for _ in range(3):
        order.now_ns += GRACE_NS + S
        order.look(0)
    assert (order.versions.is_pending("v1"), order.told) == (False, order.live)
