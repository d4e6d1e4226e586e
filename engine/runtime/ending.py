"""What a session leaves behind when it is over: its summary, what is still open at the venue, files, report, table.

Owns the words and the files of an end.  What is counted is the core's; how a session ends is
``engine.runtime.supervisor``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Protocol, runtime_checkable

from engine import processors
from engine.buffers import main_of
from engine.bus import EventBus
from engine.core import TradingCore
from engine.counters import Counters
from engine.durable import write_atomically
from engine.errors import KestrelError
from engine.features import FeatureBuffer
from engine.lanes import quality_gates
from engine.managed_order import ManagedOrder
from engine.order_states import OrderState
from engine.portfolio import ZERO
from engine.ports import Venue
from engine.quality.report import whole_report
from engine.runtime import logs
from engine.runtime.console import money
from engine.runtime.histogram import Histogram
from engine.runtime.probe import StageProbe
from engine.runtime.remarks import SUPERSEDED, remarks
from engine.runtime.secrecy import without_secrets
from engine.runtime.session import Session, order_prefix
from engine.runtime.summary import (
    SERIES_FILE,
    SUMMARY_FILE,
    Latency,
    OpenOrderLine,
    PositionLine,
    SessionSeries,
    SessionSummary,
    encode,
    redacted,
)

OPEN_SHOWN = 10
"""Open orders named one by one; the rest is counted."""
REPORT_S = 60.0


@runtime_checkable
class Noting(Protocol):
    """A venue that has something to say about its data when the session is over."""

    @property
    def notes(self) -> Sequence[str]: ...


def summarise(
    session: Session,
    core: TradingCore,
    bus: EventBus,
    venue: Venue,
    probe: StageProbe,
    *,
    feed: str,
    started_ns: int,
    ended_ns: int,
    reason: str,
) -> SessionSummary:
    """The summary of a session that is over, free of secrets.  Times are wall-clock ns."""
    counters = core.counters
    rejections, drops = _refused(counters), _dropped(counters, bus, venue)
    positions = {name: core.portfolio.position(name) for name in core.lanes}
    left = core.orders.open_orders()
    warnings = [text for text in (open_orders_text(left, session.id),) if text]
    warnings += remarks(core, drops)
    if isinstance(venue, Noting):
        warnings += venue.notes
    return redacted(
        SessionSummary(
            session=session.id,
            ticks=counters.ticks,
            predictions=counters.predictions,
            intents=counters.intents,
            orders=counters.orders,
            fills=counters.fills,
            rejected=sum(rejections.values()),
            positions={
                name: PositionLine(
                    qty=at.qty or ZERO, avg_px=at.avg_px, realised=at.realised, fees=at.fees, funding=at.funding
                )
                for name, at in positions.items()
            },
            equity=core.portfolio.equity,
            tick_to_order_us=_latency(probe.tick_to_order),
            late_predictions=counters.late_predictions,
            dropped=sum(drops.values()),
            state=core.gate.state.value,
            started_ns=started_ns,
            ended_ns=ended_ns,
            config_hash=session.header.config_hash,
            code_hash=session.header.code_hash,
            features=_features(core),
            models=tuple(sorted(core.serving.standings.served)),
            rejections=rejections,
            quarantined={slot.name: slot.reason for slot in core.slots if not slot.alive},
            drops=drops,
            currency=core.portfolio.currency,
            equity_start=core.portfolio.equity_start,
            fees=sum((at.fees for at in positions.values()), start=ZERO),
            funding=sum((at.funding for at in positions.values()), start=ZERO),
            venue=venue.name,
            feed=feed,
            stopped_by=reason,
            open_orders=tuple(_line(order) for order in left[:OPEN_SHOWN]),
            open_order_count=len(left),
            unknown_order_count=_unknown(left),
            warnings=tuple(warnings),
            quality=whole_report(quality_gates(core.lanes)),
        )
    )


def _refused(counters: Counters) -> dict[str, int]:
    """By who refused and why: our own checks, and venues."""
    found = dict(counters.rejected)
    for text, count in counters.venue_rejected.items():
        found[f"venue: {text}"] = found.get(f"venue: {text}", 0) + count
    return found


def _dropped(counters: Counters, bus: EventBus, venue: Venue) -> dict[str, int]:
    """Events that nobody judged by, by why."""
    found = dict(counters.dropped)
    for text, count in (
        (SUPERSEDED, venue.counts().conflated),
        ("bus_full", bus.waiting_dropped),
        ("journal_full", bus.unjournaled),
    ):
        if count:
            found[text] = found.get(text, 0) + count
    return found


def _features(core: TradingCore) -> tuple[str, ...]:
    """Name and fingerprint of each spec that was computed."""
    buffers = [main_of(lane.features) for lane in core.lanes.values()]
    specs = [features.spec for features in buffers if isinstance(features, FeatureBuffer)]
    return tuple(sorted({f"{spec.name}:{spec.fingerprint()[:12]}" for spec in specs}))


def _line(order: ManagedOrder) -> OpenOrderLine:
    return OpenOrderLine(
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        venue=order.new.venue,
        instrument=order.intent.instrument,
        side=int(order.intent.side),
        state=order.state.value,
        qty=order.intent.qty,
        leaves_qty=order.leaves_qty,
    )


def _unknown(orders: list[ManagedOrder]) -> int:
    return sum(order.state is OrderState.UNKNOWN for order in orders)


def open_orders_text(orders: list[ManagedOrder], session: str) -> str:
    """What may still live at the venues, and how to look; empty when nothing does."""
    if not orders:
        return ""
    named = ", ".join(f"{order.client_order_id} ({order.state.value})" for order in orders[:OPEN_SHOWN])
    more = f" and {len(orders) - OPEN_SHOWN} more" if len(orders) > OPEN_SHOWN else ""
    unknown = _unknown(orders)
    venues = ", ".join(sorted({order.new.venue for order in orders}))
    return (
        f"{len(orders)} order{'s' if len(orders) > 1 else ''} may still live at {venues}"
        f"{f', {unknown} of unknown outcome' if unknown else ''}: {named}{more}; "
        f"look there for client order ids that begin with {order_prefix(session)} and cancel what lives"
    )


def with_open_orders(error: KestrelError, core: TradingCore, session: str) -> KestrelError:
    """The error that ended a session, saying in the same line what it left at the venue."""
    text = open_orders_text(core.orders.open_orders(), session)
    if not text:
        return error
    return type(error)(f"{error.seen}; {text}", expected=error.expected, do=error.do)


def _latency(histogram: Histogram) -> Latency:
    p50_ns, p99_ns = histogram.percentile(0.5), histogram.percentile(0.99)
    if isnan(p50_ns):
        return Latency()
    return Latency(p50=round(p50_ns / 1000.0, 1), p99=round(p99_ns / 1000.0, 1))


def write_files(folder: Path, summary: SessionSummary, series: SessionSeries) -> str:
    """Write ``summary.json`` and ``series.json``; a line about what went wrong, empty when nothing did.

    The only writer of both: what it is given has been redacted by ``summarise``.  Warnings go to the log as well.
    """
    log = logs.get_logger("ending")
    for text in summary.warnings:
        log.warning(text)
    try:
        write_atomically(folder / SUMMARY_FILE, encode(summary) + b"\n")
        write_atomically(folder / SERIES_FILE, encode(series) + b"\n")
    except OSError as error:
        return f"no summary written: {error.strerror}"
    return ""


async def make_report(folder: Path, code_root: Path, timeout_s: float = REPORT_S) -> str:
    """Let a child process make ``report.html``: plotly has no place in this one, which may be asked to trade again.

    Returns a line about what went wrong, empty when nothing did.
    """
    with processors.beside():
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "engine.runtime.report",
            str(folder.resolve()),
            cwd=code_root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=without_secrets(),
        )
    try:
        async with asyncio.timeout(timeout_s):
            _, said = await child.communicate()
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        return f"no report: it took longer than {timeout_s:g} s"
    if child.returncode:
        return f"no report: {said.decode(errors='replace').strip()[-200:]}"
    return ""


def table_rows(summary: SessionSummary, report: str) -> dict[str, str]:
    """The table at the end; ``report`` is the path of the report, or why there is none."""
    latency = summary.tick_to_order_us
    rows = {
        "stopped by": summary.stopped_by,
        "state": summary.state,
        "ticks": f"{summary.ticks:,}",
        "predictions": f"{summary.predictions:,} ({summary.late_predictions} late)",
        "orders": f"{summary.orders} opened of {summary.intents} intents, {summary.rejected} refused",
        "fills": f"{summary.fills:,}",
        "dropped": f"{summary.dropped:,}",
        "positions": ", ".join(f"{name} {at.qty:f}" for name, at in summary.positions.items()) or "none",
        "equity": f"{money(summary.equity)} {summary.currency} (start {money(summary.equity_start)})",
        "fees": money(summary.fees),
        "tick to order": "nothing measured"
        if latency.p50 is None
        else f"p50 {latency.p50:.0f} us, p99 {latency.p99:.0f} us",
        "report": report,
        "replay": f"python run.py replay {summary.session}",
    }
    if summary.funding:
        rows["funding"] = money(summary.funding)
    if summary.quarantined:
        rows["failed"] = "; ".join(f"strategy {name}: {why}" for name, why in summary.quarantined.items())
    if summary.warnings:
        rows["WARNING"] = "; ".join(summary.warnings)
    return rows
