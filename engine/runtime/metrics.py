"""Prometheus metrics of one daemon: what is exported, under which name, and the HTTP endpoint.

Owns exporting only.  The path counts in plain integers (``engine.counters``), histograms (``engine.runtime.probe``) and
attributes of ``Gauges``; everything is turned into samples when somebody scrapes, on the endpoint's own thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.alarms import ALERT, CLEAR, SIZE_DOWN, STOP
from engine.commands import RiskState
from engine.counters import Counters
from engine.errors import ConfigError
from engine.ports import STAGES, Clock
from engine.runtime.conformal_counts import SetCounts
from engine.runtime.histogram import Histogram
from engine.runtime.journal_stream import JournalStats
from engine.runtime.logs import LogPipe
from engine.runtime.model_requests import Hits
from engine.runtime.probe import StageProbe
from engine.runtime.self_check import INVARIANTS

DEFAULT_PORT = 9464
CLIENT_TIMEOUT_S = 10.0
"""Then a client that asks for nothing or does not take its answer is dropped: each holds a thread and a descriptor."""
LABELS_MAX = 50
"""Different values of one label; the rest is added up as ``other`` (a venue's reasons are not ours to bound)."""

COUNTER_HELP = {
    "events": "Events handled by the core.",
    "ticks": "Accepted quotes, book changes and trades.",
    "quotes": "Accepted quotes and book changes.",
    "trades": "Accepted public trades.",
    "rows": "Feature rows completed.",
    "predictions": "Predictions made, whatever their status.",
    "late_predictions": "Predictions that missed their deadline.",
    "failed_predictions": "Predictions that failed.",
    "asked": "Predictions asked for that are answered later.",
    "stale_predictions": "Answers of models that came when nobody waited for them any more.",
    "swaps": "Models that took another's place.",
    "refused_offers": "Models that were offered and could not serve.",
    "provider_changes": "Execution providers that failed and were replaced by the next.",
    "intents": "Order intents returned by strategies.",
    "orders": "Orders opened.",
    "cancels": "Cancels sent.",
    "edits": "Changes of orders in place sent.",
    "fills": "Fills of our orders.",
    "adjustments": "Balances that the venue told otherwise than the books had them.",
    "group_exits": "Exit orders sent because the price of a stop or target that waited here was reached.",
    "exit_retries": "Of those, after one that closed nothing.",
    "conflicting_fills": "Executions that were told again with other values; the first ones stand.",
    "corrections": "Executions that the venue has taken back or changed.",
    "fundings": "Funding and interest that venues have paid or charged, each booked as profit or loss.",
    "unknown_corrections": "Corrections of executions too old to be known: not booked.",
    "external_orders": "Orders found at the venue that this session did not send.",
    "external_fills": "Fills of orders this session did not open.",
    "unknown_outcomes": "Orders and changes whose outcome became unknown.",
    "gaps": "Gaps in market or user streams.",
    "clock_steps": "Steps of the machine's wall clock; a machine that slept shows as one.",
    "standstills": "Times in which the session handled nothing for more than 10 s.",
    "core_errors": "Defects caught inside the core.",
}
TABLE_HELP = {
    "rejected": ("risk_rejections", "check", "Intents refused by the risk gate, by check."),
    "venue_rejected": ("venue_rejections", "reason", "Orders and changes refused by the venue, by its reason."),
    "dropped": ("dropped_events", "defect", "Market events dropped, by issue."),
    "suspect": ("suspect_events", "issue", "Market events held back until another confirms them, by issue."),
    "remarked": ("remarked_events", "issue", "Market events used although the quality gate found an issue, by issue."),
    "standings": ("model_standings", "state", "Changes of how models stand, by the state they came to."),
    "alarms": ("model_alarms", "action", "Alarms about models, by action."),
    "unreadable": ("unreadable_facts", "defect", "Account facts that could not be booked, by defect."),
}
BEGINS = {"alarms": (ALERT, SIZE_DOWN, STOP, CLEAR)}
"""Values that are exported as 0 before the first one: where a series begins a scraper sees no increase, and an alert on
the first alarm would stay silent."""


class Gauges:
    """What has a level rather than a count.  The owner sets attributes on the loop's thread, whole tables at a time."""

    def __init__(self) -> None:
        self.equity: float | None = None
        """In portfolio currency; None (not exported) while any part of it is unknown."""
        self.positions: dict[str, float] = {}
        """Instrument -> signed quantity."""
        self.feed_last_recv_ns: dict[str, int] = {}
        """Instrument or stream -> receive time of its last message; exported as an age."""
        self.queue_depths: dict[str, int] = {}
        self.quality: dict[tuple[str, ...], int] = {}
        """(instrument, verdict or issue) -> market events; the names are the quality gate's, a closed set."""
        self.reconnects: dict[str, int] = {}
        """Venue -> connections made again since the start."""
        self.duplicate_fills: dict[str, int] = {}
        """Venue -> executions that were told again since the start."""
        self.model_asks: dict[str, int] = {}
        """What became of what models on the worker were asked; empty without one."""
        self.breaches: dict[str, int] = {}
        """Invariant -> samples of the session that did not keep it."""
        self.open_orders = 0
        self.loop_lag_ns = 0
        self.waiting_dropped = 0
        self.conflated = 0
        self.unjournaled = 0
        self.refused_models = 0
        """Versions that the registry asked for and that may not serve."""
        self.disk_free_bytes: int | None = None
        """Where the session is written; None (not exported) where nobody can say."""
        self.risk_state: RiskState = RiskState.ACTIVE
        self.model_figures: dict[tuple[str, ...], float] = {}
        """(instrument, version, figure) -> what was told last; bounded by ``engine.runtime.model_requests``."""
        self.model_hits: dict[tuple[str, ...], Hits] = {}
        """(instrument, version, lower edge of the confidence) -> what came of its predictions; bounded as the figures
        are."""
        self.conformal: dict[tuple[str, str], SetCounts] = {}
        """(strategy, instrument) -> its sets under the model that serves."""


class Metrics(Collector):
    """Everything a daemon exports, in a registry of its own; also the collector registered there."""

    def __init__(
        self,
        *,
        session: str,
        counters: Counters,
        probe: StageProbe,
        clock: Clock,
        journal_stats: Callable[[], JournalStats] | None = None,
        logs: LogPipe | None = None,
    ) -> None:
        self.gauges = Gauges()
        self.registry = CollectorRegistry(auto_describe=False)
        self._session = session
        self._counters = counters
        self._probe = probe
        self._clock = clock
        self._journal_stats = journal_stats
        self._logs = logs
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for metric in self._families():
            yield metric
            # Between families the scrape lets the trading thread have the interpreter: it waits microseconds, not the
            # 5 ms after which the interpreter would switch by itself.
            time.sleep(0)

    def _families(self) -> Iterator[Metric]:
        yield _gauge("kestrel_session", "1, with the session's id.", {(self._session,): 1.0}, ("session",))
        yield from self._counter_families()
        yield from self._gauge_families()
        yield _histogram(
            "kestrel_tick_to_order_seconds",
            "From the receive stamp of a market event to the end of the write of its order.",
            {(): self._probe.tick_to_order},
            (),
        )
        yield _histogram(
            "kestrel_stage_seconds",
            f"Time of each stage of an event: {', '.join(STAGES)}.",
            {(name,): histogram for name, histogram in self._probe.stages.items()},
            ("stage",),
        )
        if self._journal_stats is not None:
            yield from _journal_families(self._journal_stats())

    def _counter_families(self) -> Iterator[Metric]:
        for name, value in vars(self._counters).copy().items():
            if isinstance(value, dict):
                metric, label, text = TABLE_HELP.get(name, (name, "kind", f"Count of {name} by kind."))
                begun: Samples = {(one,): 0 for one in BEGINS.get(name, ())}
                yield _counter(f"kestrel_{metric}", text, begun | _bounded(value), (label,))
            elif isinstance(value, int):
                text = COUNTER_HELP.get(name, f"Count of {name.replace('_', ' ')}.")
                yield _counter(f"kestrel_{name}", text, {(): value}, ())
        gauges = self.gauges
        yield _counter(
            "kestrel_reconnects", "Connections made again, by venue.", _bounded(gauges.reconnects), ("venue",)
        )
        yield _counter(
            "kestrel_duplicate_fills",
            "Executions told or listed again with the same values, each booked once; some are usual.",
            _bounded(gauges.duplicate_fills),
            ("venue",),
        )
        yield _counter(
            "kestrel_quality_events",
            "Market events judged, by instrument and by verdict (accepted, suspect, dropped) or issue.",
            gauges.quality.copy(),
            ("instrument", "finding"),
        )
        yield _counter(
            "kestrel_invariant_breaches",
            "Samples of the session's own state that an invariant did not hold in.",
            {(one,): 0 for one in INVARIANTS} | _keyed(gauges.breaches),
            ("invariant",),
        )
        yield _counter(
            "kestrel_model_asks",
            "Windows given to the worker thread: asked, answered, late, failed, superseded by a newer one, dropped; "
            "batches is its runs.",
            _keyed(gauges.model_asks),
            ("outcome",),
        )
        yield _counter(
            "kestrel_conformal_sets",
            "Conformal sets whose outcome is known, by whether they held one side alone and whether they held it.",
            {
                (*of, counts.model, *part): count
                for of, counts in gauges.conformal.copy().items()
                for part, count in counts.parts.items()
            },
            ("strategy", "instrument", "model", "sides", "covered"),
        )
        yield _counter("kestrel_conflated", "Superseded quotes dropped under load.", {(): gauges.conflated}, ())
        yield _counter(
            "kestrel_unjournaled", "Market events the journal had no room for.", {(): gauges.unjournaled}, ()
        )
        yield _counter(
            "kestrel_refused_models",
            "Versions that the registry asked for and that may not serve.",
            {(): gauges.refused_models},
            (),
        )
        yield _counter(
            "kestrel_waiting_dropped",
            "Quotes dropped because the bus's queue was full.",
            {(): gauges.waiting_dropped},
            (),
        )
        if self._logs is not None:
            yield _counter("kestrel_log_lines_dropped", "Log lines dropped: queue full.", {(): self._logs.dropped}, ())
            yield _counter("kestrel_log_lines_failed", "Log lines a sink did not take.", {(): self._logs.failed}, ())

    def _gauge_families(self) -> Iterator[Metric]:
        gauges = self.gauges
        now_ns = self._clock.now_ns()
        if gauges.equity is not None:
            yield _gauge("kestrel_equity", "Equity in portfolio currency.", {(): gauges.equity}, ())
        yield _gauge(
            "kestrel_position_qty", "Signed position in base units.", _keyed(gauges.positions), ("instrument",)
        )
        ages: Samples = {
            (name,): max(now_ns - received_ns, 0) / 1e9
            for name, received_ns in gauges.feed_last_recv_ns.copy().items()
            if received_ns > 0
        }
        yield _gauge("kestrel_feed_age_seconds", "Since the last message of a feed.", ages, ("feed",))
        depths = {**gauges.queue_depths, **({} if self._logs is None else {"logs": self._logs.waiting})}
        yield _gauge("kestrel_queue_depth", "Entries waiting in a queue.", _keyed(depths), ("queue",))
        yield _gauge("kestrel_open_orders", "Orders that may still fill.", {(): float(gauges.open_orders)}, ())
        yield _gauge("kestrel_loop_lag_seconds", "How late the event loop is.", {(): gauges.loop_lag_ns / 1e9}, ())
        if gauges.disk_free_bytes is not None:
            free: Samples = {(): float(gauges.disk_free_bytes)}
            yield _gauge("kestrel_disk_free_bytes", "Free where the session is written.", free, ())
        if gauges.model_figures:
            watched: Samples = {key: float(value) for key, value in gauges.model_figures.copy().items()}
            labels = ("instrument", "model", "figure")
            yield _gauge("kestrel_model_figure", "Of a model, as told by the process that watches it.", watched, labels)
        if gauges.model_hits:
            hits, labels = gauges.model_hits.copy(), ("instrument", "model", "confidence")
            rows: Samples = {key: one.rows for key, one in hits.items()}
            text = "Predictions of late whose outcome is known, by confidence: |2 p - 1| from there on to the next."
            yield _gauge("kestrel_model_hit_rows", text, rows, labels)
            right: Samples = {key: one.hit_rate for key, one in hits.items()}
            yield _gauge("kestrel_model_hit_rate", "Share of them whose likelier side came.", right, labels)
        rates: Samples = {(*of, counts.model): counts.alpha for of, counts in gauges.conformal.copy().items()}
        text = "Error rate of the next conformal set; 0 or less: it holds everything, 1 or more: nothing."
        yield _gauge("kestrel_conformal_error_rate", text, rates, ("strategy", "instrument", "model"))
        states: Samples = {(state.value,): float(state is gauges.risk_state) for state in RiskState}
        yield _gauge("kestrel_risk_state", "1 for the state the engine is in.", states, ("state",))

    def start_http(
        self, host: str = "127.0.0.1", port: int | Literal["auto"] = "auto"
    ) -> tuple[str, Callable[[], None]]:
        """Serve ``/metrics``; returns its URL and a function that stops serving.

        ``auto`` takes port 9464, or a free one when that is taken.  Raises ``ConfigError`` when an explicit port is
        taken or the host is none of this machine's.
        """
        for candidate in (DEFAULT_PORT, 0) if port == "auto" else (port,):
            try:
                server, thread = start_http_server(candidate, host, registry=self.registry)
            except (OSError, OverflowError) as error:
                if port == "auto" and candidate:
                    continue
                reason = getattr(error, "strerror", None) or str(error)
                raise ConfigError(
                    f"metrics endpoint {host}:{port}: {reason}", do="set metrics.port to a free port or to auto"
                ) from error
            break
        handler: Any = server.RequestHandlerClass
        server.RequestHandlerClass = type(handler.__name__, (handler,), {"timeout": CLIENT_TIMEOUT_S})

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return f"http://{host}:{server.server_port}/metrics", stop


Samples = dict[tuple[str, ...], Any]


def _keyed(table: dict[str, Any]) -> Samples:
    return {(name,): float(value) for name, value in table.copy().items()}


def _bounded(table: dict[str, int]) -> Samples:
    """The largest counts by name, the rest as ``other``."""
    ordered = sorted(table.copy().items(), key=lambda item: (-item[1], item[0]))
    samples: Samples = {(name,): count for name, count in ordered[:LABELS_MAX]}
    rest = sum(count for _, count in ordered[LABELS_MAX:])
    if rest:
        samples[("other",)] = samples.get(("other",), 0) + rest
    return samples


def _counter(name: str, text: str, samples: Samples, labels: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in samples.items():
        family.add_metric(values, count)
    return family


def _gauge(name: str, text: str, samples: Samples, labels: tuple[str, ...]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, level in samples.items():
        family.add_metric(values, level)
    return family


def _histogram(name: str, text: str, histograms: dict[tuple[str, ...], Histogram], labels: tuple[str, ...]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in histograms.items():
        edges, total = histogram.cumulative()
        buckets = [(repr(edge_ns / 1e9), float(count)) for edge_ns, count in edges]
        family.add_metric(values, [*buckets, ("+Inf", float(total))], histogram.sum_ns / 1e9)
    return family


def _journal_families(stats: JournalStats) -> Iterator[Metric]:
    yield _gauge("kestrel_journal_bytes", "Used bytes of the session's journal.", {(): float(stats.bytes)}, ())
    yield _gauge("kestrel_journal_segments", "Segments written so far.", {(): float(stats.segments)}, ())
    yield _gauge("kestrel_journal_last_seq", "Number of the last record.", {(): float(stats.last_seq)}, ())
    yield _gauge("kestrel_journal_unsynced_records", "Not known to be on disk.", {(): float(stats.unsynced)}, ())
    yield _gauge("kestrel_journal_fault", "1 while the journal has a fault.", {(): float(bool(stats.fault))}, ())
