"""The benchmark suite runs, says what it measured, and judges by its targets.  No test here looks at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from benchmarks import candles, in_process, journal, networks, page, wire
from benchmarks.daemon import Session, percentile, read_times, stages_of
from benchmarks.figures import Case, Reading, Target, latency, median_of_sent, merge
from benchmarks.machine import describe_machine
from benchmarks.market import INSTRUMENT, PERIOD, PRODUCT, VENUE, Market, ask_cents, phase_of
from benchmarks.rig import NullWriter, running
from benchmarks.suite import CASES, run_suite
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from engine.codec import Record
from engine.commands import NewOrder, OrderIntent, OrderType
from engine.counters import Counters
from engine.errors import ConfigError
from engine.events import FeedUp, Prediction, PredictionStatus, Quote, Side, Trade
from engine.features import compute_candles
from engine.runtime.clocks import SystemClock
from engine.runtime.journal import JournalWriter
from engine.runtime.metrics import Metrics
from engine.runtime.probe import StageProbe

DESIGN_LANES = {
    "in_process_cnn",
    "in_process_no_model",
    "throughput_cnn",
    "wire_picows",
    "wire_websockets",
    "wire_picows_100",
    "cost_per_order",
    "memory_growth",
}
MACHINE_DAY = datetime(2026, 1, 2, tzinfo=UTC)


def test_two_cheap_cases_run_and_report_every_promised_field(capsys: pytest.CaptureFixture[str]) -> None:
    """run_suite on real cases in this process: the JSON has the fields that scripts rely on, the table every case."""
    result = run_suite(["risk", "codec"], quick=True)
    names = [case["name"] for case in result["cases"]]
    assert names[:3] == ["risk_entry", "risk_entry_every_control", "risk_entry_five_open"]
    for case in result["cases"]:
        assert {"name", "p50", "p99", "per_second", "n"} <= case.keys()
        assert case["n"] > 0
        assert case["p99"] >= case["p50"] >= 0
    assert result["machine"]["python"]
    assert result["machine"]["cores"] >= 1
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)


def test_a_training_step_is_timed_beside_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the networks, each with the same layers without this project (``benchmarks.plain_networks``)."""
    pytest.importorskip("torch", reason="the trainer is not installed")
    monkeypatch.setattr(networks.networks, "names", lambda: ("mlp", "lstm_ensemble"))
    readings = networks.run(True)
    assert [reading.name for reading in readings] == [
        f"network_{name}{kind}" for name in ("mlp", "lstm_ensemble") for kind in ("", "_plain")
    ]
    assert all(reading.n == 5 and reading.p99 >= reading.p50 > 0 for reading in readings)


def test_every_lane_of_the_design_is_a_case() -> None:
    """By name, against the table of lanes."""
    assert {case.name for case in CASES} >= DESIGN_LANES


def test_an_unknown_case_names_the_nearest() -> None:
    """A typing error ends in one line, before anything is measured."""
    with pytest.raises(ConfigError, match="in_process_cnn"):
        run_suite(["in_proces_cnn"])


def test_a_page_is_not_written_from_a_part_of_the_suite() -> None:
    """--write with cases or --quick would put half a table into the docs."""
    with pytest.raises(ConfigError, match="full run"):
        run_suite(["risk"], write=True)
    with pytest.raises(ConfigError, match="full run"):
        run_suite(quick=True, write=True)


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (Reading("a", p50=60.0, p99=149.0, targets=(Target("p50", 60), Target("p99", 150))), "met"),
        (Reading("a", p50=60.1, p99=149.0, targets=(Target("p50", 60), Target("p99", 150))), "missed"),
        (Reading("a", per_second=20_000.0, targets=(Target("per_second", 20_000, at_least=True),)), "met"),
        (Reading("a", per_second=19_999.0, targets=(Target("per_second", 20_000, at_least=True),)), "missed"),
        (Reading("a", targets=(Target("value", 10),)), "missed"),
        (Reading("a", p50=1.0, targets=(Target("p50", 60),), incomplete=True), "missed"),
        (Reading("a", p50=1.0), ""),
        (Reading("a", error="broken", targets=(Target("p50", 60),)), "failed"),
    ],
)
def test_a_reading_is_judged_by_its_targets(reading: Reading, verdict: str) -> None:
    """Bounds are inclusive, a missing figure misses, a failed case never passes."""
    assert reading.verdict == verdict


def test_rounds_merge_to_the_median_of_each_figure() -> None:
    """Three rounds with one bad one: the median stands, the range shows it, the counts add up."""
    merged = merge([[Reading("a", p50=value, p99=2 * value, n=10)] for value in (3.0, 90.0, 4.0)])
    assert [(one.p50, one.p99, one.n, one.spread) for one in merged] == [(4.0, 8.0, 30, (3.0, 90.0))]


def test_the_calmest_stretch_is_told_beside_the_median_and_never_decides() -> None:
    """250 fast samples in a row among slow ones; then as many scattered, which are no calm stretch."""
    target = (Target("p50", 1.0),)
    calm = latency("a", [9_000] * 1000 + [500] * 250 + [9_000] * 1000, targets=target)
    assert (calm.p50, calm.best, calm.verdict) == (9.0, 0.5, "missed")
    assert page.verdict(calm) == "missed (p50 met at best)"
    scattered = latency("a", ([9_000] * 8 + [500]) * 250, targets=target)
    assert (scattered.best, page.verdict(scattered)) == (9.0, "missed")
    assert latency("a", [500] * 249).best is None
    assert [one.best for one in merge([[calm], [scattered]])] == [0.5]


def test_a_failed_case_does_not_end_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """One case raises a known error: it is listed as failed, the next one still runs."""

    def broken(quick: bool) -> list[Reading]:
        raise ConfigError("no bundle")

    cases = (Case("broken", broken), Case("sound", lambda quick: [Reading("sound", p50=1.0, p99=2.0, n=1)]))
    monkeypatch.setattr("benchmarks.suite.CASES", cases)
    rows = {row["name"]: row for row in run_suite(quick=True, show=False)["cases"]}
    assert rows["broken"]["verdict"] == "failed"
    assert "no bundle" in rows["broken"]["error"]
    assert rows["sound"]["p50"] == 1.0


def test_a_missed_target_is_shown_with_its_profile() -> None:
    """Table and page both carry the profile's lines and the verdict."""
    reading = Reading("lane", p50=99.0, p99=100.0, n=5, targets=(Target("p50", 60),), profile=("model  80 us",))
    machine = describe_machine()
    for text in (
        page.table([reading], machine, quick=False),
        page.render([reading], machine, MACHINE_DAY),
    ):
        assert "missed" in text
        assert "model  80 us" in text
        assert machine["python"] in text


def test_an_order_names_its_tick_by_price() -> None:
    """Every price of a period occurs once, and the way back from an order's limit price finds the tick."""
    asks = [ask_cents(tick) for tick in range(PERIOD)]
    assert len(set(asks)) == PERIOD
    for tick in (0, 1, PERIOD // 2 - 1, PERIOD // 2, PERIOD - 1):
        assert phase_of("BUY", f"{asks[tick] / 100:.2f}") == tick
        assert phase_of("SELL", f"{(asks[tick] - 1) / 100:.2f}") == tick


def test_the_benchmark_market_speaks_the_venues_protocol() -> None:
    """Its frames through the connector's own decoder: one quote or trade each, no gap, nothing malformed."""
    market = Market()
    protocol = CoinbaseMarketProtocol(VENUE, {PRODUCT: ("BTC/USD@coinbase",)}, ("ticker", "market_trades"))
    kinds = []
    for number in range(20):
        for frame in (market.ticker(10**18 + number), market.trade(10**18 + number)):
            kinds += [type(event) for event in protocol.receive_frame(frame, 10**18 + number)]
    assert kinds == [Quote, Trade] * 20
    assert (protocol.counters.gaps, protocol.counters.malformed) == (0, 0)


def test_paced_ticks_come_on_the_loop_with_shadow_ticks_between() -> None:
    """40 ticks at 100 a second: each one ordered, and the daemon's ticker found room between them."""
    from benchmarks.in_process import paced, warm_up

    writer = NullWriter()
    with running(writer, model=False) as rig:
        market = Market()
        warm_up(rig, market, writer, 200)
        measured = paced(rig, market, writer, 40, 100)
        assert len(measured.samples) == 40
        assert min(measured.samples) > 0
        assert measured.shadow_ticks > 0
        assert rig.core.counters.fills == writer.orders


def test_a_quick_run_profiles_nothing_and_a_full_one_each_missed_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case of three readings, two of which miss: the profile is asked by their names and none stands for another."""
    asked: list[str] = []

    def profile(name: str) -> list[str]:
        asked.append(name)
        return [f"time of {name}"]

    readings = [
        Reading(name, p50=p50, targets=(Target("p50", 60),)) for name, p50 in (("a", 99.0), ("b", 9.0), ("c", 99.0))
    ]
    monkeypatch.setattr("benchmarks.suite.CASES", (Case("one", lambda quick: readings, 1, profile),))
    assert all("profile" not in row for row in run_suite(quick=True, show=False)["cases"])
    assert asked == []
    assert [row.get("profile") for row in run_suite(show=False)["cases"]] == [["time of a"], None, ["time of c"]]
    assert asked == ["a", "c"]


@pytest.mark.parametrize(
    ("name", "lane"),
    [
        ("in_process_cnn", {"model": True, "every": 1, "flat_out": False}),
        ("in_process_no_model", {"model": False, "every": 1, "flat_out": False}),
        ("throughput_cnn", {"model": True, "every": 100, "flat_out": True}),
        ("cost_per_order", {"model": False, "every": 1, "flat_out": True}),
    ],
)
def test_a_lanes_profile_is_of_that_lane(name: str, lane: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the profile is made to run: the lane's own model, pace and orders."""
    monkeypatch.setattr(in_process, "_profile", lambda **given: [str(given)])
    assert in_process.profile(name) == [str(lane)]


@pytest.mark.parametrize("mode", journal.MODES)
def test_an_appends_profile_is_of_its_own_sync_mode(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode that the journal is opened with."""
    monkeypatch.setattr(journal, "with_journal", lambda fsync, measure: [fsync])
    assert journal.profile(f"journal_append_{mode}") == [mode]


def test_ticks_without_an_order_are_told_beside_the_percentiles() -> None:
    """6 of 10 and 2 of 10 samples: counts and causes add up, and the lost ones count as slowest in a median of all."""
    few = latency(
        "wire", [1_000, 2_000], sent=10, missing={wire.UNANSWERED: 8}, p50_of_sent=median_of_sent([1_000, 2_000], 10)
    )
    many = latency(
        "wire",
        [2_000] * 5 + [9_000],
        sent=10,
        missing={wire.CONFLATED: 1, wire.UNANSWERED: 3},
        p50_of_sent=median_of_sent([2_000] * 5 + [9_000], 10),
        incomplete=True,
    )
    assert (many.p50, many.p50_of_sent, few.p50_of_sent) == (2.0, 9.0, float("inf"))
    assert few.as_dict()["p50_of_sent"] is None
    (both,) = merge([[many], [few]])
    assert (both.n, both.sent, both.missing) == (8, 20, {wire.CONFLATED: 1, wire.UNANSWERED: 11})
    assert page.samples(both) == "8 of 20"
    for text in (
        page.table([many], describe_machine(), quick=False),
        page.render([many], describe_machine(), MACHINE_DAY),
    ):
        assert "6 of 10" in text
        assert "of 10 ticks sent, 6 made an order" in text
        assert "flatters" in text
        assert f"1 {wire.CONFLATED}, 3 {wire.UNANSWERED}" in text
        assert "at 9.0 us" in text
    assert "beyond what was measured" in page.missing(few)
    assert page.missing(latency("wire", [1_000], sent=1)) == ""


def test_a_lane_that_did_not_keep_its_pace_says_both() -> None:
    """790 of 1,000 asked; 995 counts as kept."""
    assert page.figure(Reading("a", per_second=790.4, asked_per_second=1_000))[2] == "790/s of 1,000/s asked"
    assert page.figure(Reading("a", per_second=995.0, asked_per_second=1_000))[2] == "995/s"
    assert page.figure(Reading("a", per_second=790.4))[2] == "790/s"


def test_stage_percentiles_come_from_a_scrape_of_the_real_exporter() -> None:
    """A hundred values of a probe's stage, exported as the daemon does, read back to within their bucket."""
    clock = SystemClock()
    probe = StageProbe(clock)
    for ns in range(1_000, 101_000, 1_000):
        probe.stages["decode"].record(ns)
    metrics = Metrics(session="s", counters=Counters(), probe=probe, clock=clock)
    stages = stages_of(generate_latest(metrics.registry).decode())
    assert stages["decode"][-1] == (float("inf"), 100.0)
    p50 = percentile(stages["decode"], 0.5)
    assert p50 is not None
    assert 49.1 <= p50 <= 65.6  # 1.5 * 2**15 ns to 2**16 ns
    assert percentile([(1.0, 0.0), (2.0, 10.0), (3.0, 10.0), (float("inf"), 10.0)], 0.5) == 1.5
    assert percentile([(1.0, 0.0), (float("inf"), 0.0)], 0.5) is None


def test_the_daemons_journal_tells_which_message_of_a_read_ordered(tmp_path: Path) -> None:
    """A journal of three reads, of one, two and one events: the second event of the second read makes the order."""
    intent = OrderIntent(3, "s", "BTC/USD@coinbase", Side.BUY, Decimal(1), OrderType.MARKET, reason="r")
    records: list[Record] = [
        FeedUp(1_000, 1_000, VENUE, "market"),
        Quote(1, 2_000, "BTC/USD@coinbase", 1.0, 1.0, 2.0, 1.0),
        Trade(1, 3_000, "BTC/USD@coinbase", 1.0, 1.0, 1, "t"),
        Quote(1, 3_000, "BTC/USD@coinbase", 1.0, 1.0, 2.0, 1.0),
        Prediction(1, 3_000, "BTC/USD@coinbase", "m@1", PredictionStatus.OK, (0.5,)),
        NewOrder(3_000, "o1", VENUE, intent),
        Quote(1, 4_000, "BTC/USD@coinbase", 1.0, 1.0, 2.0, 1.0),
        Prediction(1, 4_000, "BTC/USD@coinbase", "m@1", PredictionStatus.OK, (0.5,)),
    ]
    journal_of_session = JournalWriter(tmp_path / "journal", session="s", fsync="never")
    journal_of_session.wait_ready()
    for seq, record in enumerate(records, 1):
        journal_of_session.append(seq, record)
    journal_of_session.close()
    session = Session({}, {})
    read_times(session, tmp_path / "journal", 500)
    assert (session.reads, session.messages, session.crowded) == (3, 4, 1)
    assert session.places == [(2, 2)]
    assert session.first_s == {FeedUp: 5e-7, Quote: 1.5e-6, Prediction: 2.5e-6}


def test_the_rig_orders_on_every_warm_tick_and_ends_flat() -> None:
    """The daemon's own path without sockets: as many fills as orders, in and out in turn, nothing refused."""
    from benchmarks.in_process import tick, warm_up

    writer = NullWriter()
    with running(writer, model=False) as rig:
        market = Market()
        warm_up(rig, market, writer, 200)
        before = writer.orders
        assert all(tick(rig, market, writer) > 0 for _ in range(50))
        rig.check()
        assert writer.orders == before + 50
        assert rig.core.counters.fills == writer.orders
        assert rig.core.orders.open_count == 0
        assert writer.request.startswith(b"POST /api/v3/brokerage/orders HTTP/1.1\r\n")


def test_what_technical40_is_compared_with_computes_the_same_columns() -> None:
    """The pandas frame of the benchmark and the kernel on 400 candles: all 40 columns of the last row agree."""
    pytest.importorskip("pandas")
    given = candles.candles(400)
    frame = candles.recompute(candles.as_frame(given))
    wanted = candles.spec()
    found: list[Any] = []
    compute_candles(wanted, INSTRUMENT, given, found.append)
    ours = dict(zip(wanted.columns, found[-1][-1].tolist(), strict=True))
    assert set(frame.columns) == set(wanted.columns)
    for name, value in ours.items():
        assert value == pytest.approx(float(frame[name].iloc[-1]), rel=1e-6, abs=1e-9), name
