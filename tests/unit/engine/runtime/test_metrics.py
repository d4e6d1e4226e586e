"""Metrics as a scraper sees them, over real HTTP."""

from __future__ import annotations

import io
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.commands import RiskState
from engine.counters import Counters
from engine.errors import ConfigError
from engine.runtime import metrics as module
from engine.runtime.clocks import ManualClock, SystemClock
from engine.runtime.conformal_counts import SetCounts
from engine.runtime.journal_stream import JournalStats
from engine.runtime.logs import LogPipe
from engine.runtime.metrics import COUNTER_HELP, LABELS_MAX, TABLE_HELP, Metrics
from engine.runtime.model_requests import Hits
from engine.runtime.probe import StageProbe


def built() -> tuple[Metrics, Counters, StageProbe, ManualClock]:
    counters, probe, clock = Counters(), StageProbe(SystemClock()), ManualClock()
    stats = JournalStats(4096, 2, 17, 15, 2, "")
    return (
        Metrics(session="s-1", counters=counters, probe=probe, clock=clock, journal_stats=lambda: stats),
        counters,
        probe,
        clock,
    )


def scrape(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    url, stop = metrics.start_http(port=0)
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    finally:
        stop()
    assert "# HELP kestrel_ticks_total Accepted quotes" in text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_levels_and_histograms_arrive_with_units_and_labels() -> None:
    """Sets plain attributes, scrapes, and looks each sample up."""
    metrics, counters, probe, clock = built()
    counters.ticks = 12
    counters.rejected = {"stale_quote": 3}
    counters.dropped = {"crossed": 2}
    gauges = metrics.gauges
    gauges.equity = 10_050.5
    gauges.positions = {"BTC/USD@coinbase": -0.25}
    gauges.model_figures = {("BTC/USD@coinbase", "m@1", "ece"): 0.02}
    gauges.model_hits = {("BTC/USD@coinbase", "m@1", "0.6"): Hits(20.0, 0.95)}
    gauges.feed_last_recv_ns = {"coinbase": clock.now_ns() - 1_500_000_000, "never": 0}
    gauges.queue_depths = {"bus": 4}
    gauges.reconnects = {"coinbase": 1}
    gauges.duplicate_fills = {"coinbase": 3}
    gauges.quality = {("BTC/USD@coinbase", "accepted"): 11, ("BTC/USD@coinbase", "outlier"): 1}
    gauges.loop_lag_ns = 2_000_000
    gauges.risk_state = RiskState.REDUCING
    for ns in (900, 40_000, 41_000, 20_000_000_000):
        probe.tick_to_order.record(ns)
    probe.stages["model"].record(30_000)
    found = scrape(metrics)
    sure = (("confidence", "0.6"), ("instrument", "BTC/USD@coinbase"), ("model", "m@1"))
    expected = {
        ("kestrel_model_hit_rows", sure): 20,
        ("kestrel_model_hit_rate", sure): 0.95,
        ("kestrel_session", (("session", "s-1"),)): 1,
        ("kestrel_ticks_total", ()): 12,
        ("kestrel_risk_rejections_total", (("check", "stale_quote"),)): 3,
        ("kestrel_dropped_events_total", (("defect", "crossed"),)): 2,
        ("kestrel_quality_events_total", (("finding", "accepted"), ("instrument", "BTC/USD@coinbase"))): 11,
        ("kestrel_quality_events_total", (("finding", "outlier"), ("instrument", "BTC/USD@coinbase"))): 1,
        ("kestrel_equity", ()): 10_050.5,
        ("kestrel_position_qty", (("instrument", "BTC/USD@coinbase"),)): -0.25,
        ("kestrel_model_figure", (("figure", "ece"), ("instrument", "BTC/USD@coinbase"), ("model", "m@1"))): 0.02,
        ("kestrel_feed_age_seconds", (("feed", "coinbase"),)): 1.5,
        ("kestrel_queue_depth", (("queue", "bus"),)): 4,
        ("kestrel_reconnects_total", (("venue", "coinbase"),)): 1,
        ("kestrel_duplicate_fills_total", (("venue", "coinbase"),)): 3,
        ("kestrel_loop_lag_seconds", ()): 0.002,
        ("kestrel_risk_state", (("state", "reducing"),)): 1,
        ("kestrel_risk_state", (("state", "active"),)): 0,
        ("kestrel_tick_to_order_seconds_count", ()): 4,
        ("kestrel_tick_to_order_seconds_sum", ()): 20.0000819,
        ("kestrel_tick_to_order_seconds_bucket", (("le", "1.024e-06"),)): 1,
        ("kestrel_tick_to_order_seconds_bucket", (("le", "4.9152e-05"),)): 3,
        ("kestrel_tick_to_order_seconds_bucket", (("le", "+Inf"),)): 4,
        ("kestrel_stage_seconds_count", (("stage", "model"),)): 1,
        ("kestrel_journal_bytes", ()): 4096,
        ("kestrel_journal_segments", ()): 2,
        ("kestrel_journal_unsynced_records", ()): 2,
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(value), key
    assert ("kestrel_feed_age_seconds", (("feed", "never"),)) not in found
    assert ("process_resident_memory_bytes", ()) in found


def test_unknown_equity_is_absent_not_zero() -> None:
    """Unknown is not zero: an alert on low equity must not fire for want of a price."""
    metrics, *_ = built()
    assert ("kestrel_equity", ()) not in scrape(metrics)


def test_alarms_of_models_count_from_zero() -> None:
    """A series that begins with its first alarm shows no increase, so that the one that matters would wake nobody."""
    metrics, counters, *_ = built()
    stopped = ("kestrel_model_alarms_total", (("action", "stop"),))
    assert scrape(metrics)[stopped] == 0
    counters.alarms = {"stop": 1}
    found = scrape(metrics)
    assert (found[stopped], found["kestrel_model_alarms_total", (("action", "size_down"),)]) == (1, 0)


def test_coverage_of_conformal_sets_can_be_alerted_upon() -> None:
    """What an alert divides: the sets that held the outcome by all of them, each of which is in one sample."""
    metrics, *_ = built()
    assert not [name for name, _ in scrape(metrics) if name.startswith("kestrel_conformal")]
    counts = SetCounts("m@1", 0.08, matured=10, covered=7, singletons=4, singletons_right=3)
    metrics.gauges.conformal = {("s", "BTC/USD@coinbase"): counts}
    samples = scrape(metrics)
    of = {"strategy": "s", "instrument": "BTC/USD@coinbase", "model": "m@1"}
    found = {
        (labels["sides"], labels["covered"]): value
        for labels, value in (
            (dict(key), value) for (name, key), value in samples.items() if name.endswith("sets_total")
        )
        if of.items() <= labels.items()
    }
    assert found == {("one", "yes"): 3, ("one", "no"): 1, ("none_or_both", "yes"): 4, ("none_or_both", "no"): 2}
    assert samples["kestrel_conformal_error_rate", tuple(sorted(of.items()))] == 0.08


def test_every_counter_is_exported_and_has_a_help_text() -> None:
    """Compares the counters' attributes with the scrape and the help tables, so that a new one is not forgotten."""
    metrics, counters, *_ = built()
    for name, value in vars(counters).items():
        assert name in (TABLE_HELP if isinstance(value, dict) else COUNTER_HELP), name
        if isinstance(value, dict):
            value["x"] = 1
    names = {name for name, _ in scrape(metrics)}
    for name, value in vars(counters).items():
        metric = TABLE_HELP[name][0] if isinstance(value, dict) else name
        assert f"kestrel_{metric}_total" in names


def test_label_values_are_bounded_and_the_rest_is_added_up() -> None:
    """A venue that invents a reason per order: no more than the limit, nothing lost from the sum."""
    metrics, counters, *_ = built()
    counters.venue_rejected = {f"reason {number}": 1 for number in range(500)}
    found = {
        labels: value for (name, labels), value in scrape(metrics).items() if name == "kestrel_venue_rejections_total"
    }
    assert len(found) == LABELS_MAX + 1
    assert sum(found.values()) == 500


def test_log_losses_are_exported() -> None:
    """A pipe that lost lines must be visible outside the logs."""
    pipe = LogPipe(None, io.StringIO(), max_bytes=0, backups=0, queue_lines=1)
    pipe.dropped, pipe.failed = 3, 4
    metrics = Metrics(session="s", counters=Counters(), probe=StageProbe(SystemClock()), clock=ManualClock(), logs=pipe)
    found = scrape(metrics)
    assert found["kestrel_queue_depth", (("queue", "logs"),)] == 0
    assert found["kestrel_log_lines_dropped_total", ()] == 3
    assert found["kestrel_log_lines_failed_total", ()] == 4
    pipe.stop()


def test_a_taken_port_is_one_line_and_auto_finds_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listens on a free port and asks for the same; then makes it the default port of ``auto``."""
    metrics, *_ = built()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"metrics endpoint 127.0.0.1:{port}: Address already in use; set metrics\.port"
        ):
            metrics.start_http(port=port)
        monkeypatch.setattr(module, "DEFAULT_PORT", port)
        url, stop = metrics.start_http()
        assert f":{port}/" not in url
        stop()
    with pytest.raises(ConfigError, match="metrics endpoint"):
        metrics.start_http(host="203.0.113.1", port=0)
    with pytest.raises(ConfigError, match="metrics endpoint"):
        metrics.start_http(port=70_000)


@pytest.mark.fault("F14")
def test_clients_that_hang_cost_nobody_else_anything_and_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three connections that never ask, one that asks and never reads: a scrape beside them is answered, the endpoint
    ends at once, and after their time nothing of them is left."""
    monkeypatch.setattr(module, "CLIENT_TIMEOUT_S", 0.3)
    metrics, *_ = built()
    threads = threading.active_count()
    url, stop = metrics.start_http(port=0)
    address = ("127.0.0.1", int(url.split(":")[2].split("/")[0]))
    hanging = [socket.create_connection(address, timeout=10) for _ in range(4)]
    hanging[0].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b"kestrel_session" in answer.read()
    for one in hanging[1:]:
        assert one.recv(1) == b"", "closed by the endpoint"
    stop()
    while threading.active_count() > threads:
        time.sleep(0.01)
    for one in hanging:
        one.close()


def test_after_stop_nothing_listens() -> None:
    """Scrapes, stops, and expects a refused connection."""
    metrics, *_ = built()
    url, stop = metrics.start_http(port=0)
    stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)
