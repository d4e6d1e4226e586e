"""One instrument's way through the core: its book, its features, its model and the strategies that listen to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.arithmetic import exactly, own_context
from engine.book import OrderBook
from engine.commands import Intent
from engine.counters import Counters
from engine.events import BookDelta, BookSnapshot, Quote
from engine.instruments import Instrument
from engine.ports import Features, Strategy
from engine.quality.gate import QualityGate
from engine.quality.verdicts import ACCEPTED, CROSSED, DROPPED, ISSUES, KEEPS_ENTRIES, TIME_ISSUES
from engine.reading import FeatureReading
from engine.seats import Seat
from engine.stakes import CANARY_SUFFIX

if TYPE_CHECKING:
    from engine.consolidated.consolidator import Consolidator
    from engine.consolidated.views import MemberFeed

Callback = Callable[..., Sequence[Intent]]


def never_acts(method: Callback) -> Callback:
    """Decorate the empty default of a strategy's callback: the core then leaves the call out."""
    method.never_acts = True  # type: ignore[attr-defined]
    return method


def _acting(strategy: Strategy, name: str) -> Callback | None:
    method: Any = getattr(strategy, name, None)
    if method is None:  # a class of a user's own that lacks it: calling it says so and quarantines the strategy
        return lambda *arguments: getattr(strategy, name)(*arguments)
    return None if getattr(method, "never_acts", False) is True else method


def _columns_of(strategy: Strategy) -> tuple[str, ...] | None:
    """What it declares; None for nothing, and for what is no list of names."""
    found = getattr(strategy, "feature_columns", None)
    return found if type(found) is tuple and all(type(one) is str for one in found) else None


class StrategySlot:
    """A strategy, the instruments it listens to (None: all of them) and whether it is still trusted.

    ``on_prediction`` and so on are the strategy's own callbacks, looked up once; None where it has only the default
    that does nothing (``never_acts``).  They are called through ``run``, which is ``run`` of the ``context`` that the
    strategy was made in (``engine.arithmetic.own_context``).

    ``make_twin``: another strategy like it under the name that is given, for a share of its size on another model; None
    where it has no model, or cannot be made twice.
    """

    __slots__ = (
        "alive",
        "feature_columns",
        "instruments",
        "is_twin",
        "make_twin",
        "name",
        "on_fill",
        "on_prediction",
        "on_quote",
        "on_row",
        "on_timer",
        "reason",
        "run",
        "strategy",
        "uses_model",
    )

    def __init__(
        self,
        strategy: Strategy,
        *,
        instruments: frozenset[str] | None = None,
        uses_model: bool = True,
        context: Context | None = None,
        make_twin: Callable[[str], Strategy] | None = None,
    ) -> None:
        self.run = (context or own_context()).run
        self.strategy = strategy
        self.name = strategy.name
        self.is_twin = strategy.name.endswith(CANARY_SUFFIX)
        self.make_twin = make_twin if uses_model else None
        self.alive = True
        self.reason = ""  # why it is not trusted any more
        self.instruments = instruments
        self.feature_columns = _columns_of(strategy)
        self.uses_model = uses_model
        self.on_prediction = _acting(strategy, "on_prediction") if uses_model else None
        self.on_row = _acting(strategy, "on_row")
        self.on_quote = _acting(strategy, "on_quote")
        self.on_fill = _acting(strategy, "on_fill")
        self.on_timer = _acting(strategy, "on_timer")

    def listens_to(self, instrument: str) -> bool:
        return self.instruments is None or instrument in self.instruments


def quality_gates(lanes: Mapping[str, Lane]) -> dict[str, QualityGate]:
    """What judges each instrument's market data, by instrument."""
    return {name: lane.quality for name, lane in lanes.items()}


class Lane:
    """Everything the core keeps for one instrument."""

    __slots__ = (
        "_marked_ask_px",
        "_marked_bid_px",
        "_marked_px",
        "beside",
        "book",
        "canary",
        "consolidator",
        "features",
        "followers",
        "instrument",
        "member_feed",
        "model_slots",
        "older",
        "prediction_slots",
        "quality",
        "quote_slots",
        "reading",
        "row_slots",
        "seat",
        "slots",
        "top",
        "twins",
        "warming",
    )

    def __init__(
        self,
        instrument: Instrument,
        features: Features | None,
        seat: Seat | None,
        slots: list[StrategySlot],
        followers: list[Features] | None = None,
        quality: QualityGate | None = None,
    ) -> None:
        self.instrument = instrument
        self.quality = quality or QualityGate(instrument)
        self.book = OrderBook(instrument.id)
        self.top = self.book.top  # one object for the life of the book
        self.features = features
        self.reading = FeatureReading(self)
        self.followers = [] if followers is None else followers
        self.seat = seat
        self.consolidator: Consolidator | None = None
        """What makes the price, where this is a consolidated instrument."""
        self.member_feed: MemberFeed | None = None
        """Into the consolidated instruments that this one is a member of; None for nearly all."""
        self.canary: Seat | None = None
        self.warming: Seat | None = None
        """A champion to come, as soon as its features are warm."""
        self.older: Seat | None = None
        """What serves while the champion is broken, where that is the fallback."""
        self.beside = False
        """Whether anybody else than the champion wants rows: twins that have no canary want its predictions at most."""
        self.listen(slots)
        self._marked_bid_px = self._marked_ask_px = 0.0
        self._marked_px: Decimal | None = None

    def listen(self, slots: list[StrategySlot]) -> None:
        """Who is called with what, so that nobody is asked in vain on each tick."""
        self.slots = slots
        self.model_slots = tuple(slot for slot in slots if slot.uses_model and not slot.is_twin)
        self.twins = tuple(slot for slot in slots if slot.is_twin)
        self.prediction_slots = tuple(slot for slot in slots if slot.on_prediction is not None and not slot.is_twin)
        self.row_slots = tuple(slot for slot in slots if slot.on_row is not None)
        self.quote_slots = tuple(slot for slot in slots if slot.on_quote is not None)

    def usable(self, code: int, counters: Counters) -> bool:
        """Count what the quality gate found; False when the event must go no further.

        Prices that stand then are not to be entered on, unless what was wrong says nothing against them.
        """
        verdict, issue = code & 3, code >> 2
        if verdict == ACCEPTED:
            counters.add(counters.remarked, ISSUES[issue])
            return True
        counters.add(counters.dropped if verdict == DROPPED else counters.suspect, ISSUES[issue])
        if issue not in KEEPS_ENTRIES:
            self.top.suspect = True
            if issue == CROSSED:
                self.top.crossed = True
        return False

    def apply_unusable(self, change: BookDelta | BookSnapshot, code: int) -> BookDelta | BookSnapshot:
        """A book or a change of it that is no news: at a wrong time it is what the next changes build on all the same;
        one with numbers that cannot be put into it leaves a book that nobody knows.  Returns what features are told."""
        if code >> 2 not in TIME_ISSUES:
            return self.break_book(change.ts_event_ns, change.ts_recv_ns)
        if type(change) is BookDelta:
            self.book.apply_delta(change)
        else:
            self.book.apply_snapshot(change)  # type: ignore[arg-type]
        self.top.suspect = True
        if self.features is not None:
            self.features.update(change)
        return change

    def show(self, quote: Quote) -> None:
        """Prices to value and to leave a position by, while nothing may be entered on them."""
        self.book.apply_quote(quote)
        self.top.suspect = True

    def break_book(self, ts_event_ns: int, ts_recv_ns: int) -> BookSnapshot:
        """Nobody knows the levels any more, until the next snapshot; features are told by an empty book."""
        self.book.invalidate()
        broken = BookSnapshot(ts_event_ns, ts_recv_ns, self.instrument.id, (), ())
        if self.features is not None:
            self.features.update(broken)
        return broken

    def mark_px(self) -> Decimal | None:
        """Mid on the tick grid; None when the book has no price, or one that the grid cannot hold.  Computed once per
        change of the best prices."""
        top = self.top
        bid_px, ask_px = top.bid_px, top.ask_px
        if bid_px != self._marked_bid_px or ask_px != self._marked_ask_px:
            try:
                self._marked_px = exactly(self.instrument.price, 0.5 * (bid_px + ask_px))
            except (ValueError, ArithmeticError):  # not finite, or more digits than a Decimal of ours has
                self._marked_px = None
            # Last: what is not known of these prices must never be answered from the ones before.
            self._marked_bid_px, self._marked_ask_px = bid_px, ask_px
        return self._marked_px


def seats_of(lane: Lane) -> Iterator[Seat]:
    """All that are taken."""
    for seat in (lane.seat, lane.canary, lane.older, lane.warming):
        if seat is not None:
            yield seat
