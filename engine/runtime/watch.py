"""What people and machines see of a running session: the line a second, the gauges, the answer to ``status``.

Owns looking, on a timer and when asked; it changes nothing that trades.  Exporting gauges is
``engine.runtime.metrics``, drawing lines ``engine.runtime.console``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import msgspec

from engine.bus import EventBus
from engine.core import TradingCore
from engine.lanes import quality_gates
from engine.portfolio import ZERO
from engine.ports import Venue
from engine.quality.report import recent_report, whole_report
from engine.runtime.console import StatusConsole, money
from engine.runtime.metrics import Gauges
from engine.runtime.probe import StageProbe

STATUS_HOURS = 24
"""Of market data that ``status`` tells the quality of."""


@runtime_checkable
class Queueing(Protocol):
    """A venue in which something can wait."""

    def queue_depths(self) -> dict[str, int]: ...


class SessionWatch:
    """``on_second`` is to be called about once a second, and once more at the end.

    ``lag_ns`` answers with the loop's worst lag since it was last asked.
    """

    def __init__(
        self,
        *,
        session: str,
        core: TradingCore,
        bus: EventBus,
        venue: Venue,
        probe: StageProbe,
        gauges: Gauges,
        lag_ns: Callable[[], int],
        console: StatusConsole,
        log: Any,
    ) -> None:
        self._session = session
        self._core = core
        self._bus = bus
        self._venue = venue
        self._probe = probe
        self._gauges = gauges
        self._lag_ns = lag_ns
        self._console = console
        self._log = log
        self._said: set[str] = set()

    def on_second(self) -> None:
        core = self._core
        self.tell_failures()
        self._console.line(core, self._probe.tick_to_order)
        gauges = self._gauges
        equity = core.portfolio.equity
        gauges.equity = None if equity is None else float(equity)
        gauges.positions = {name: float(core.portfolio.qty(name)) for name in core.lanes}
        gauges.feed_last_recv_ns = {
            name: lane.book.top.ts_recv_ns for name, lane in core.lanes.items() if lane.book.top.ts_recv_ns
        }
        gauges.quality = {
            (name, finding): count
            for name, line in whole_report(quality_gates(core.lanes)).items()
            for finding, count in (
                ("accepted", line.points - line.suspect - line.dropped),
                ("suspect", line.suspect),
                ("dropped", line.dropped),
                *line.issues.items(),
            )
        }
        gauges.open_orders = core.orders.open_count
        gauges.queue_depths = {"bus": self._bus.waiting, **self._venue_queues()}
        gauges.loop_lag_ns = self._lag_ns()
        gauges.waiting_dropped = self._bus.waiting_dropped
        gauges.unjournaled = self._bus.unjournaled
        counts = self._venue.counts()
        gauges.conflated = counts.conflated
        gauges.reconnects = {self._venue.name: counts.reconnects}
        gauges.risk_state = core.gate.state

    def _venue_queues(self) -> dict[str, int]:
        return self._venue.queue_depths() if isinstance(self._venue, Queueing) else {}

    def tell_failures(self) -> None:
        """A strategy that failed trades no more: say so once, where people look."""
        for slot in self._core.slots:
            if not slot.alive and slot.name not in self._said:
                self._said.add(slot.name)
                self._log.error(
                    "strategy failed and was stopped: its orders are cancelled, its positions stay",
                    strategy=slot.name,
                    error=slot.reason,
                )

    def status(self) -> dict[str, Any]:
        """What ``python run.py status`` prints: plain values."""
        core = self._core
        return {
            "session": self._session,
            "state": core.gate.state.value,
            "ticks": core.counters.ticks,
            "predictions": core.counters.predictions,
            "orders": core.counters.orders,
            "open_orders": core.orders.open_count,
            "fills": core.counters.fills,
            "equity": money(core.portfolio.equity),
            "positions": {name: f"{core.portfolio.qty(name) or ZERO:f}" for name in core.lanes},
            "quality": {
                name: msgspec.to_builtins(line)
                for name, line in recent_report(quality_gates(core.lanes), STATUS_HOURS).items()
            },
            "accounts": {
                venue: {
                    "confirmed_ns_ago": core.view.now_ns - settled_ns,
                    "unresolved": list(core.reconciliation.unresolved[venue]),
                    "not_named": list(core.reconciliation.missing[venue]),
                }
                for venue, settled_ns in core.reconciliation.settled_ns.items()
            },
            "waits_for": sorted(core.reconciliation.awaited),
            "not_trading": {name: why for name in core.lanes if (why := core.view.tradable(name))},
        }
