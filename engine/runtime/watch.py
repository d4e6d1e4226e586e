"""What people and machines see of a running session: the line a second, the gauges, the answer to ``status``.

Owns looking, on a timer and when asked; it changes nothing that trades.  Exporting gauges is
``engine.runtime.metrics``, drawing lines ``engine.runtime.console``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import msgspec

from engine import processors
from engine.bus import EventBus
from engine.commands import RiskState
from engine.core import TradingCore
from engine.events import Side
from engine.lanes import quality_gates
from engine.managed_order import ManagedOrder
from engine.portfolio import ZERO
from engine.ports import OpenGroup, Venue
from engine.quality.report import recent_report, whole_report
from engine.runtime.conformal_counts import SetCounts, set_counts
from engine.runtime.console import StatusConsole, money
from engine.runtime.disk_watch import DiskWatch
from engine.runtime.files_read import FilesRead
from engine.runtime.metrics import Gauges
from engine.runtime.model_requests import ModelRequests
from engine.runtime.model_watch import ModelWatch, alarm_lines, standing_lines
from engine.runtime.observer_keeper import ObserverKeeper
from engine.runtime.probe import StageProbe
from engine.runtime.rate_lines import old_rates, rate_lines
from engine.runtime.stream_watch import StreamWatch
from engine.runtime.unattended import unattended_lines, unreached_lines

STATUS_HOURS = 24
"""Of market data that ``status`` tells the quality of."""
SHOWN_MAX = 20
"""Open orders, groups, and alarms that ``status`` names; the rest is a number."""


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
        files: FilesRead | None = None,
        disk: DiskWatch | None = None,
        companions: Callable[[], dict[str, Any]] = dict,
        asks: Callable[[], dict[str, int]] | None = None,
        requests: ModelRequests | None = None,
        observer: ObserverKeeper | None = None,
        breaches: Callable[[], dict[str, int]] = dict,
    ) -> None:
        """``files``: what the session was started with.  ``disk``: where it is written.  ``companions``: what those say
        who work beside the loop.  ``asks``: what became of what models were asked off the loop; None where none is.
        ``requests``: what was told of models by who watches them, which ``observer`` starts.
        ``breaches``: how often an invariant did not hold, by invariant.
        """
        self._companions = companions
        self._asks = dict if asks is None else asks
        self._requests = requests
        self._breaches = breaches
        self._observer = observer
        self._disk = disk
        self._files = files or FilesRead({})
        self._session = session
        self._core = core
        self._bus = bus
        self._venue = venue
        self._venue_queues = venue.queue_depths if isinstance(venue, Queueing) else dict[str, int]
        self._probe = probe
        self._gauges = gauges
        self._lag_ns = lag_ns
        self._console = console
        self._log = log
        self._said: set[str] = set()
        self._conflicts = 0
        self._retries = 0
        self._stood_still = 0
        self._state = RiskState.ACTIVE
        self._reasons: set[str] = set()  # for which risk is stopped, as told
        self._models = ModelWatch()
        self._streams = StreamWatch()

    def on_second(self) -> None:
        core = self._core
        self.tell_failures()
        self._streams.look(core.venues, self._log)
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
        gauges.refused_models = int(self._companions().get("registry", {}).get("refusals", 0))
        gauges.model_asks = self._asks()
        gauges.breaches = self._breaches()
        gauges.open_orders = core.orders.open_count
        gauges.queue_depths = {"bus": self._bus.waiting, **self._venue_queues()}
        gauges.loop_lag_ns = self._lag_ns()
        gauges.waiting_dropped = self._bus.waiting_dropped
        gauges.unjournaled = self._bus.unjournaled
        counts = self._venue.counts()
        gauges.conflated = counts.conflated
        gauges.reconnects = {self._venue.name: counts.reconnects}
        gauges.duplicate_fills = {self._venue.name: counts.duplicate_fills + core.orders.duplicate_fills}
        gauges.risk_state = core.gate.state
        if self._requests is not None:
            gauges.model_figures = {
                (*of, name): value for of, told in self._requests.figures.items() for name, value in told.items()
            }
            gauges.model_hits = {
                (*of, edge): one for of, told in self._requests.hits.items() for edge, one in told.items()
            }
        gauges.conformal = {
            (strategy, name): counts
            for strategy, lines in set_counts(core).items()
            for name, counts in lines.items()
            if isinstance(counts, SetCounts)
        }
        processors.send_aside()
        if self._observer is not None:
            self._observer.look()
        if self._disk is not None:
            self._disk.look(self._log)
            gauges.disk_free_bytes = self._disk.free_bytes

    def tell_failures(self) -> None:
        """A strategy that failed trades no more, executions that contradict each other, a position that nobody looks
        after or in what does not trade: say so once, where people look."""
        self._tell_risk()
        self._models.look(self._core, self._log)
        conflicts = self._core.counters.conflicting_fills
        if conflicts != self._conflicts:
            self._conflicts = conflicts
            self._log.error(
                "an execution was told again with other values: the first ones stand, the venue is asked for balances",
                conflicts=conflicts,
            )
        stood_still = self._core.counters.clock_steps + self._core.counters.standstills
        if stood_still != self._stood_still:
            self._stood_still = stood_still
            self._log.warning(
                "the clock stepped, or this process stood still: no entries before the account is confirmed",
                clock_steps=self._core.counters.clock_steps,
                standstills=self._core.counters.standstills,
            )
        retries = self._core.counters.exit_retries
        if retries != self._retries:
            self._retries = retries
            self._log.error("an exit closed nothing and was sent again: look at the position", retries=retries)
        self._tell_rates()
        for slot in self._core.slots:
            if not slot.alive and slot.name not in self._said:
                self._said.add(slot.name)
                self._log.error(
                    "strategy failed and was stopped: its orders are cancelled, its positions stay",
                    strategy=slot.name,
                    error=slot.reason,
                )
        for key, text in unattended_lines(self._core).items():
            if f"unattended {key}" not in self._said:
                self._said.add(f"unattended {key}")
                self._log.error("a position that nobody looks after", of=key, position=text)
        for name, text in unreached_lines(self._core).items():
            if f"unreached {name}" not in self._said:
                self._said.add(f"unreached {name}")
                self._log.error("an order that nobody here can cancel", order=name, text=text)
        for name in self._core.lanes:
            why, qty = self._core.venues.why_shut(name), self._core.portfolio.qty(name)
            if not why:
                self._said.discard(f"shut {name}")
            elif qty and f"shut {name}" not in self._said:
                self._said.add(f"shut {name}")
                self._log.error("a position is held in what does not trade", instrument=name, qty=str(qty), why=why)

    def _tell_risk(self) -> None:
        """In words, besides the gauge and the record: who watches only one of them is told as well."""
        before, state = self._state, self._core.gate.state
        if state is not before:
            self._state = state
            tell = self._log.warning if state is RiskState.ACTIVE else self._log.error
            tell("risk state", before=before.value, after=state.value, reason=self._core.desk.latch.reason)
            self._reasons.add(self._core.desk.latch.reason)
            if state is RiskState.ACTIVE:
                self._reasons.clear()
        for reason in self._core.desk.latch.other_reasons:
            if reason not in self._reasons:
                self._reasons.add(reason)
                self._log.error("risk is stopped for another reason too", state=state.value, reason=reason)

    def _tell_rates(self) -> None:
        """Limits drift with a rate that nothing moves: say so once a day."""
        for currency, times in old_rates(self._core).items():
            if f"rate {currency} {times}" not in self._said:
                self._said.discard(f"rate {currency} {times - 1}")
                self._said.add(f"rate {currency} {times}")
                text = rate_lines(self._core)[currency]
                self._log.warning("limits and equity count a currency at an old rate", currency=currency, rate=text)

    def status(self) -> dict[str, Any]:
        """What ``python run.py status`` prints: plain values."""
        core = self._core
        alarms = alarm_lines(core)
        return {
            "session": self._session,
            "state": core.gate.state.value,
            "reason": "" if core.gate.state is RiskState.ACTIVE else core.desk.latch.reason,
            "other_reasons": list(core.desk.latch.other_reasons),
            "stopped": {slot.name: slot.reason for slot in core.slots if not slot.alive},
            "unattended": unattended_lines(core),
            "unreached": unreached_lines(core),
            "models": standing_lines(core),
            "alarms": _named(alarms, len(alarms)),
            "ticks": core.counters.ticks,
            "predictions": core.counters.predictions,
            "model_asks": self._asks(),
            "orders": core.counters.orders,
            "open_orders": core.orders.open_count,
            "open": _named(
                {one.client_order_id: _order_line(one) for one in core.orders.open_orders()[: SHOWN_MAX + 1]},
                core.orders.open_count,
            ),
            "groups": _named({one.group_id: _group_line(one) for one in core.view.groups()}, len(core.view.groups())),
            "fills": core.counters.fills,
            "equity": money(core.portfolio.equity),
            "rates": rate_lines(core),
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
            # What runs is what was read at the start; these take part at the next one.
            "files_changed": self._files.changed(),
            "disk": {
                "free_mb": None if self._disk is None or self._disk.free_bytes is None else self._disk.free_bytes >> 20,
                "hours_left": None if self._disk is None else self._disk.hours_left,
            },
            **({} if self._requests is None else {"watched": self._requests.status()}),
            "waits_for": sorted(core.reconciliation.awaited),
            "not_trading": {name: str(why) for name in core.lanes if (why := core.view.tradable(name))},
            **_coverage(core),
            **self._companions(),
        }


def _coverage(core: TradingCore) -> dict[str, Any]:
    """By strategy and instrument; nothing where no strategy makes conformal sets."""
    found = {
        strategy: {name: one if isinstance(one, str) else one._asdict() for name, one in lines.items()}
        for strategy, lines in set_counts(core).items()
    }
    return {"coverage": found} if found else {}


def _named(lines: dict[str, str], count: int) -> dict[str, str]:
    """The first of them, by what commands take for a name."""
    shown = dict(list(lines.items())[:SHOWN_MAX])
    return shown if count <= SHOWN_MAX else {**shown, "more": str(count - SHOWN_MAX)}


def _order_line(order: ManagedOrder) -> str:
    intent = order.intent
    prices = [f"limit {intent.limit_px:f}"] if intent.limit_px is not None else []
    prices += [f"trigger {intent.trigger_px:f}"] if intent.trigger_px is not None else []
    return (
        f"{intent.strategy or 'somebody else'}: {_side(intent.side)} {order.leaves_qty:f} of {intent.qty:f} "
        f"{intent.instrument} {' '.join(prices) or 'at market'}, {order.state.value}"
    )


def _group_line(group: OpenGroup) -> str:
    levels = " or ".join("unknown yet" if px is None else f"{px:f}" for px in group.levels_px)
    return f"{group.strategy}: {_side(group.side)} {group.open_qty:f} {group.instrument} at {levels}"


def _side(side: Side) -> str:
    return "buy" if side > 0 else "sell"
