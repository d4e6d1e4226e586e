"""What entries and positions feel of how models stand: sizes, refusals, resting entries, positions to be closed.

Owns these consequences; the standings are ``engine.standings``'.  While no model serves a strategy, nothing it sends
adds to its own holding, its entries that rest are cancelled, and by ``ServingRules.fallback`` its position is closed;
its exits always work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from engine.desk import Desk
from engine.flattening import Flattening
from engine.lanes import Lane, StrategySlot
from engine.seats import Seat, ServingRules
from engine.stakes import CANARY_SUFFIX
from engine.view import CoreView

_ZERO, _ONE = Decimal(0), Decimal(1)
_MILLION = 1_000_000


class Trust:
    """Of one core.  ``keep`` puts its state on record: that twins are to be flat is not in other records."""

    def __init__(
        self, *, desk: Desk, view: CoreView, flattening: Flattening, rules: ServingRules, keep: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._view = view
        self._flattening = flattening
        self._flat = rules.fallback == "flat"
        self._keep = keep
        self._vacant: dict[str, str] = {}  # instruments whose champion was taken away, and why
        self._retired: set[str] = set()  # instruments whose twins have had a canary and have none
        self._unserved: dict[str, Lane] = {}

    def vacate(self, instrument: str, reason: str) -> None:
        """Nobody is champion any more."""
        self._vacant[instrument] = reason

    def why_vacant(self, instrument: str) -> str:
        """Why nobody is champion where somebody was; empty elsewhere."""
        return self._vacant.get(instrument, "")

    def fill(self, lane: Lane) -> None:
        """Somebody is again."""
        self._vacant.pop(lane.instrument.id, None)

    def retire(self, lane: Lane) -> None:
        """The canary was taken away, and nobody else serves its version."""
        if self._flat:
            self._retired.add(lane.instrument.id)
            self._keep()

    def retired(self) -> tuple[str, ...]:
        """For the next session: instruments whose twins are to be flat."""
        return tuple(sorted(self._retired))

    def restore(self, retired: Iterable[str]) -> None:
        """Those of an earlier session."""
        self._retired = set(retired)

    def settle(self, lane: Lane) -> None:
        """Sizes of everybody who trades on a model there, as things stand now."""
        name = lane.instrument.id
        if lane.canary is not None and name in self._retired:
            self._retired.discard(name)
            self._keep()
        factor, reason = self._of_champion(lane)
        share, why = self._of_canary(lane)
        for slot in lane.model_slots:
            self._desk.sizes.put(slot.name, name, factor, reason)
        fallen = {base.name + CANARY_SUFFIX for base in lane.model_slots if not base.alive}
        for slot in lane.twins:
            if slot.name in fallen:
                self._desk.sizes.put(slot.name, name, _ZERO, "its strategy is not trusted any more")
            else:
                self._desk.sizes.put(slot.name, name, share, why)
        if factor and (share or not lane.twins) and not (lane.twins and fallen):
            self._unserved.pop(name, None)
        else:
            self._unserved[name] = lane
        if self._flat:
            if self._is_served(lane):
                self._stop_closing(lane.model_slots, name)
            if self._may_hold_twins(lane):
                self._stop_closing(lane.twins, name)
        self._insist(lane)

    def on_timer(self) -> None:
        """Fills that were under way, cancels that were refused."""
        for lane in self._unserved.values():
            self._insist(lane)
        if self._flattening.is_busy:
            self._flattening.advance()

    def _of_champion(self, lane: Lane) -> tuple[Decimal, str]:
        seat, champion = acting(lane), lane.seat
        if seat is None:
            if champion is not None:
                return _ZERO, _worded(champion)
            why = self._vacant.get(lane.instrument.id)
            return (_ONE, "") if why is None else (_ZERO, why)
        rest = _ONE if lane.canary is None else _ONE - _decimal(lane.canary.share)
        beside = "" if lane.canary is None else f"canary {lane.canary.version} has {lane.canary.share:g}"
        return rest * _decimal(seat.factor), "; ".join(text for text in (seat.reason, beside) if text)

    def _of_canary(self, lane: Lane) -> tuple[Decimal, str]:
        seat = lane.canary
        if seat is None:
            return _ZERO, "there is no canary: its position is only left"
        if not seat.serves:
            return _ZERO, _worded(seat)
        return _decimal(seat.share) * _decimal(seat.factor), f"canary's share {seat.share:g}"

    def _insist(self, lane: Lane) -> None:
        """Entries that rest go; positions are closed where that is the rule."""
        name, sizes = lane.instrument.id, self._desk.sizes
        for order in sizes.entering(name):
            self._desk.withdraw(order, sizes.table[order.intent.strategy, name].reason)
        if not self._flat:
            return
        bases = () if self._is_served(lane) else lane.model_slots
        for slot in (*bases, *(() if self._may_hold_twins(lane) else lane.twins)):
            key = (slot.name, name)
            if self._view.strategy_qty(*key):
                self._flattening.begin(*key, sizes.table[key].reason)
        if self._flattening.is_busy:
            self._flattening.advance()

    def _is_served(self, lane: Lane) -> bool:
        return acting(lane) is not None or (lane.seat is None and lane.instrument.id not in self._vacant)

    def _may_hold_twins(self, lane: Lane) -> bool:
        """Whether what twins hold rests on a model that serves: on the canary's, on the champion's where that was their
        canary or where an earlier session has left them."""
        if lane.canary is not None:
            return lane.canary.serves
        return self._is_served(lane) and lane.instrument.id not in self._retired

    def _stop_closing(self, slots: tuple[StrategySlot, ...], name: str) -> None:
        for slot in slots:
            self._flattening.stop(slot.name, name)


def acting(lane: Lane) -> Seat | None:
    """Whose predictions the strategies are asked about; None while nobody serves them."""
    seat = lane.seat
    if seat is None or seat.serves:
        return seat
    return lane.older if lane.older is not None and lane.older.serves else None


def _worded(seat: Seat) -> str:
    return seat.reason or f"model {seat.version} is {seat.state}"


def _decimal(share: float) -> Decimal:
    """To a millionth, by whole numbers."""
    return Decimal(round(share * _MILLION)) / _MILLION
