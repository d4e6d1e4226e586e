"""Who may predict, and who may enter on it: judged by what is on record of models.

Owns its own list of versions, standings and alarms over all sessions.  Positions are asked of the core, whose sum is
compared with recorded fills elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from engine.codec import Record
from engine.commands import NewOrder
from engine.core import TradingCore
from engine.events import FeedUp, ModelAlarmed, ModelAssigned, ModelOffered, ModelStanding, Prediction
from engine.seats import BROKEN, CANARY, CHAMPION, EXPIRES_NS, GONE, OLDER, SERVING, WARMING
from engine.serving import SHARE_MAX
from engine.stakes import CANARY_SUFFIX

ZERO = Decimal(0)
ROUNDING = Decimal("1.000002")
"""Shares are taken to a millionth."""
WARMED_BY = 24
"""Quotes that warm any version: a clock that was set is believed after eight of them (``engine.quality``), and of more
than half a minute without one no row is made."""


class _Seats(msgspec.Struct):
    """Of one instrument in one session.  ``states`` and ``factors`` by role and version."""

    champion: str = ""
    states: dict[tuple[str, str], str] = {}
    factors: dict[tuple[str, str], float] = {}
    shares: dict[str, float] = {}
    expires_ns: dict[str, int] = {}
    had_champion: bool = False

    def of(self, role: str) -> str:
        """The version in it, whatever its state; empty for nobody."""
        if role == CHAMPION:
            return self.champion
        return next((version for (one, version), _ in self.states.items() if one == role), "")

    def state(self, role: str) -> str:
        return self.states.get((role, self.of(role)), GONE)


class _Said(NamedTuple):
    """About a version; it holds for each turn of it, whoever else served in between."""

    session: int
    seq: int
    instrument: str
    version: str
    source: str
    action: str


class ServedChecks:
    """``fail(invariant, text)``.  ``names``: strategies that use a model, without their twins."""

    def __init__(self, fail: Callable[[str, str], None], names: tuple[str, ...]) -> None:
        self._fail = fail
        self._names = names
        self._seats: dict[str, _Seats] = {}
        self._said: list[_Said] = []
        self._entered: dict[str, Decimal] = {}
        self._quotes: Counter[str] = Counter()
        """By instrument, since the last version began to warm or the feed came back."""

    def is_served(self, strategy: str) -> bool:
        """Whether it trades on a model."""
        return strategy.removesuffix(CANARY_SUFFIX) in self._names

    def is_way_out(self, new: NewOrder) -> bool:
        """Whether nobody wished for it but the rules for who has no model."""
        return self.is_served(new.intent.strategy) and new.intent.reason not in self._entered

    def begin(self, *, anew: bool) -> None:
        """Another session; ``anew``: nothing of before is known to it."""
        self._seats.clear()
        self._entered.clear()
        if anew:
            self._said.clear()

    def lose(self, session: int, upto_seq: int) -> None:
        """Nothing behind it is on the disk."""
        self._said = [one for one in self._said if one[:2] <= (session, upto_seq)]

    def entered(self, reason: str, qty: Decimal) -> None:
        """A strategy wishes for so much."""
        self._entered[reason] = qty

    def quoted(self, instrument: str) -> None:
        """The market has told the best prices once more."""
        self._quotes[instrument] += 1

    def recorded(self, session: int, seq: int, record: Record) -> None:
        if isinstance(record, ModelAssigned):
            seats = self._of(record.instrument)
            before, seats.champion = seats.champion, record.model
            if before and before != record.model:
                seats.states.pop((CHAMPION, before), None)
            seats.had_champion = True
            seats.states[CHAMPION, record.model] = SERVING
            seats.factors[CHAMPION, record.model] = 1.0
            seats.expires_ns[record.model] = int(dict(record.facts).get(EXPIRES_NS, 0))
        elif isinstance(record, ModelOffered):
            seats = self._of(record.instrument)
            if record.model and record.model not in {seats.of(role) for role in (CHAMPION, CANARY, OLDER)}:
                seats.expires_ns[record.model] = int(dict(record.facts).get(EXPIRES_NS, 0))
            if record.role == CANARY and record.model and 0 < record.share <= SHARE_MAX:  # else nothing changes
                seats.shares[record.model] = record.share
        elif isinstance(record, ModelStanding):
            self._stand(record)
        elif isinstance(record, ModelAlarmed):
            said = _Said(session, seq, record.instrument, record.model, record.source, record.action)
            self._said.append(said)
        elif isinstance(record, Prediction):
            self._predicted(record)
        elif isinstance(record, FeedUp) and record.stream == "market":
            self._quotes.clear()

    def _of(self, instrument: str) -> _Seats:
        return self._seats.setdefault(instrument, _Seats())

    def _stand(self, record: ModelStanding) -> None:
        if (record.role, record.state) == (CHAMPION, WARMING):
            self._quotes[record.instrument] = 0
        seats, key = self._of(record.instrument), (record.role, record.model)
        if record.state != GONE:
            seats.states[key], seats.factors[key] = record.state, record.factor
        else:
            seats.states.pop(key, None)

    def _stops(self, instrument: str, version: str) -> set[str]:
        """Sources that stop it."""
        found: set[str] = set()
        for said in self._said:
            if (said.instrument, said.version) != (instrument, version):
                continue
            if said.action == "stop":
                found.add(said.source)
            elif said.action == "clear" and not said.source:
                found.clear()
            elif said.action in ("clear", "size_down"):
                found.discard(said.source)
        return found

    def _predicted(self, record: Prediction) -> None:
        seats, version = self._of(record.instrument), record.model
        states = {state for (_, one), state in seats.states.items() if one == version}
        if not states & {SERVING, BROKEN}:
            self._fail("E7", f"{version} predicts {record.instrument}, where it is {sorted(states) or 'nobody'}")
        stops = self._stops(record.instrument, version)
        if stops:
            self._fail("E10", f"{version} predicts {record.instrument}, which {sorted(stops)} have stopped")
        expires_ns = seats.expires_ns.get(version, 0)
        if expires_ns and record.ts_recv_ns >= expires_ns + 512:
            self._fail("E11", f"{version} predicts {record.instrument} at {record.ts_recv_ns}, it ends at {expires_ns}")

    # --- entries ------------------------------------------------------------------------------------------------------

    def on_new(self, new: NewOrder, core: TradingCore) -> None:
        """An order that is not an exit of a group."""
        intent = new.intent
        if not self.is_served(intent.strategy) or intent.reduce_only or intent.parent_id:
            return
        held_qty = core.view.strategy_qty(intent.strategy, intent.instrument) * int(intent.side)
        leaving_qty = sum(
            (
                order.leaves_qty
                for order in core.orders.open_orders(intent.instrument)
                if order.intent.strategy == intent.strategy
                and order.intent.side is intent.side
                and order.client_order_id != new.client_order_id
            ),
            ZERO,
        )
        if intent.qty + leaving_qty <= -held_qty:
            return  # all of it leaves
        factor = self._factor(intent.instrument, is_twin=intent.strategy.endswith(CANARY_SUFFIX))
        name = f"{new.client_order_id} of {intent.strategy}: {intent.qty} {intent.instrument}"
        if not factor:
            self._fail("E4", f"{name} enters ({held_qty} held) while no model serves it")
        wished_qty = self._entered.get(intent.reason)
        if wished_qty is not None and held_qty >= 0 and intent.qty > wished_qty * factor * ROUNDING:
            self._fail("E10", f"{name} enters of {wished_qty} that were wished, with a part of {factor}")

    def _factor(self, instrument: str, *, is_twin: bool) -> Decimal:
        seats = self._of(instrument)
        canary = seats.of(CANARY)
        share = Decimal(str(seats.shares.get(canary, 0.0))) if canary else ZERO
        if is_twin:
            role = CANARY
        else:
            role = CHAMPION if seats.state(CHAMPION) == SERVING or not seats.had_champion else OLDER
            share = 1 - share
        if seats.state(role) != SERVING:
            return ZERO
        return share * Decimal(str(seats.factors[role, seats.of(role)]))

    def finish(self, core: TradingCore) -> None:
        """Long after the last fault: somebody serves everywhere, or has no rows yet in a market that says next to
        nothing: one that warms, or one that broke and waits for a row to be tried."""
        for name, lane in core.lanes.items():
            seat = lane.seat
            if not lane.model_slots or (seat is not None and seat.serves):
                continue
            is_cold = seat is not None and seat.state == BROKEN and seat.features is not None and not seat.features.warm
            if (lane.warming is None and not is_cold) or self._quotes[name] >= WARMED_BY:
                self._fail("E4", f"no model serves {name}: {'nobody' if seat is None else seat.reason}")
