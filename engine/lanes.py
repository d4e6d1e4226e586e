"""One instrument's way through the core: its book, its features, its model and the strategies that listen to it."""

from __future__ import annotations

from decimal import Decimal

from engine.book import OrderBook
from engine.instruments import Instrument
from engine.ports import Features, Model, Strategy
from engine.view import mark_of


class StrategySlot:
    """A strategy, the instruments it listens to (None: all of them) and whether it is still trusted."""

    __slots__ = ("alive", "instruments", "name", "reason", "strategy", "uses_model")

    def __init__(
        self, strategy: Strategy, *, instruments: frozenset[str] | None = None, uses_model: bool = True
    ) -> None:
        self.strategy = strategy
        self.name = strategy.name
        self.alive = True
        self.reason = ""  # why it is not trusted any more
        self.instruments = instruments
        self.uses_model = uses_model

    def listens_to(self, instrument: str) -> bool:
        return self.instruments is None or instrument in self.instruments


class Lane:
    """Everything the core keeps for one instrument."""

    __slots__ = ("_marked_px", "_marked_top", "book", "features", "instrument", "model", "slots")

    def __init__(
        self, instrument: Instrument, features: Features | None, model: Model | None, slots: list[StrategySlot]
    ) -> None:
        self.instrument = instrument
        self.book = OrderBook(instrument.id)
        self.features = features
        self.model = model
        self.slots = slots
        self._marked_top = (0.0, 0.0)
        self._marked_px: Decimal | None = None

    def mark_px(self) -> Decimal | None:
        """Mid as Decimal; computed once per change of the best prices."""
        top = self.book.top
        key = (top.bid_px, top.ask_px)
        if key != self._marked_top:
            self._marked_top = key
            self._marked_px = mark_of(self.instrument, top)
        return self._marked_px
