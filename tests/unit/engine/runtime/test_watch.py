"""The line a second, the gauges and the answer to ``status``, from a real core."""

from __future__ import annotations

import io
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.bus import EventBus
from engine.commands import OrderType, RiskState, RiskStateChanged, TimeInForce
from engine.core import NullProbe
from engine.latch import REASONS_KEPT
from engine.ports import FeedCounts
from engine.router import OrderRouter
from engine.runtime.clocks import SystemClock
from engine.runtime.console import StatusConsole
from engine.runtime.metrics import Gauges
from engine.runtime.model_requests import REPORT, ModelRequests
from engine.runtime.probe import StageProbe
from engine.runtime.stream_watch import DOWN_LOOKS
from engine.runtime.watch import SHOWN_MAX, SessionWatch
from strategies.conformal import Coverage
from tests.support.core import BTC, MemoryJournal, OpenGate, Scripted, build_core, fill, intent, open_market, quote
from tests.support.exchange import Exchange

D = Decimal


class Log:
    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

        self.warnings: list[dict[str, Any]] = []

    def error(self, text: str, **fields: Any) -> None:
        self.errors.append({"text": text, **fields})

    def warning(self, text: str, **fields: Any) -> None:
        self.warnings.append({"text": text, **fields})


class Counting(Exchange):
    def counts(self) -> FeedCounts:
        return FeedCounts(conflated=4, reconnects=2, duplicate_fills=8)

    def queue_depths(self) -> dict[str, int]:
        return {"cancels": 6}


class NamingGate(OpenGate):
    """Says in a reason who gave it, as the real gate does."""

    def apply(self, event: e.Halted | e.Reduced | e.Resumed) -> RiskStateChanged | None:
        return super().apply(msgspec.structs.replace(event, reason=f"{event.source}: {event.reason}"))


class Watched:
    def __init__(self, **answers: Any) -> None:
        self.bus = EventBus(MemoryJournal(), NullProbe(), lambda text, error: None)
        self.core = build_core(self.bus, Scripted("s", **answers), gate=NamingGate(), features=lambda: None)
        venue = Counting()
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: venue.gateways))
        venue.publish = self.bus.publish
        self.gauges = Gauges()
        self.out = io.StringIO()
        self.log = Log()
        self.requests = ModelRequests(self.core)
        self.watch = SessionWatch(
            session="s-1",
            core=self.core,
            bus=self.bus,
            venue=venue,
            probe=StageProbe(SystemClock()),
            gauges=self.gauges,
            lag_ns=lambda: 17,
            console=StatusConsole(self.out),
            log=self.log,
            companions=lambda: {"registry": {"refusals": 6}},
            asks=lambda: {"asked": 7, "superseded": 2},
            requests=self.requests,
            breaches=lambda: {"I3": 2},
        )
        open_market(self.core)


def test_a_second_shows_the_state_and_sets_every_gauge() -> None:
    """One filled order and one open one, then a look."""
    watched = Watched(on_quote=lambda *_: [intent()])
    watched.bus.publish(quote(10))
    watched.bus.publish(quote(11))
    first = watched.core.orders.open_orders()[0]
    for _ in range(2):  # told twice, booked once
        watched.bus.publish(fill(first.new, "1", "100", "t-1"))
    watched.bus.publish(e.Timer(60, 60, "tick"))
    watched.bus.waiting_dropped = 3
    watched.bus.unjournaled = 5
    told = {"instrument": BTC, "model": "m@1", "role": "champion", "figures": {"ece": 0.02}}
    hits = [{"from": 0.6, "rows": 3, "hit_rate": 1.0}]
    watched.requests.take(REPORT, {**told, "hits": hits}, "ana", 60)
    watched.watch.on_second()
    seen = {name: value for name, value in vars(watched.gauges).items() if name != "equity"}
    assert seen == {
        "positions": {BTC: 1.0},
        "feed_last_recv_ns": {BTC: 11},
        "quality": {(BTC, "accepted"): 2, (BTC, "suspect"): 0, (BTC, "dropped"): 0},
        "queue_depths": {"bus": 0, "cancels": 6},
        "reconnects": {"coinbase": 2},
        "duplicate_fills": {"coinbase": 9},
        "breaches": {"I3": 2},
        "open_orders": 1,
        "loop_lag_ns": 17,
        "waiting_dropped": 3,
        "conflated": 4,
        "unjournaled": 5,
        "refused_models": 6,
        "model_asks": {"asked": 7, "superseded": 2},
        "model_figures": {(BTC, "m@1", "ece"): 0.02},
        "model_hits": {(BTC, "m@1", "0.6"): (3.0, 1.0)},
        "conformal": {},
        "disk_free_bytes": None,
        "risk_state": RiskState.ACTIVE,
    }
    assert watched.gauges.equity == float(watched.core.portfolio.equity or 0) > 0
    assert "ACTIVE" in watched.out.getvalue()
    assert "orders 2  fills 1" in watched.out.getvalue()


def test_status_is_plain_and_says_why_something_does_not_trade() -> None:
    """With the feed up and down; what the socket sends is JSON."""
    watched = Watched()
    watched.bus.publish(quote(10))
    status = watched.watch.status()
    assert (status["session"], status["state"], status["open_orders"], status["ticks"]) == ("s-1", "active", 0, 1)
    assert (status["not_trading"], status["files_changed"]) == ({}, [])
    line = {"points": 1, "suspect": 0, "dropped": 0, "issues": {}, "issue_rate": 0.0, "unused_rate": 0.0}
    assert status["quality"] == {BTC: line}
    watched.bus.publish(e.FeedDown(11, 11, "coinbase", "user", "reset by peer"))
    status = watched.watch.status()
    assert list(status["not_trading"]) == [BTC]
    assert status["not_trading"][BTC]
    assert msgspec.json.decode(msgspec.json.encode(status)) == status


def test_a_flat_position_is_zero_and_others_are_plain_numbers() -> None:
    """Bought and sold again in the smallest units, which ``Decimal`` writes as 1E-8 and 0E-8."""
    sides = iter([e.Side.BUY, e.Side.SELL])
    watched = Watched(on_quote=lambda *_: [intent(next(sides))])
    watched.bus.publish(quote(10))
    watched.bus.publish(quote(11))
    bought, sold = watched.core.orders.open_orders()
    watched.bus.publish(fill(bought.new, "0.00000001", "100", "t-1"))
    assert watched.watch.status()["positions"] == {BTC: "0.00000001"}
    watched.bus.publish(fill(sold.new, "0.00000001", "100", "t-2"))
    assert str(watched.core.portfolio.qty(BTC)) == "0E-8"
    assert watched.watch.status()["positions"] == {BTC: "0"}


def test_a_strategy_that_failed_is_told_once() -> None:
    """It raises on a timer; three looks make one line of log."""

    def explode(*_: Any) -> Any:
        raise RuntimeError("no idea")

    watched = Watched(on_timer=explode)
    watched.watch.on_second()
    assert watched.log.errors == []
    assert watched.watch.status()["stopped"] == {}
    watched.bus.publish(e.Timer(20, 20, "tick"))
    for _ in range(3):
        watched.watch.on_second()
    (line,) = watched.log.errors
    assert line["strategy"] == "s"
    assert watched.watch.status()["stopped"] == {"s": line["error"]}
    assert re.fullmatch(r"RuntimeError at core.py:\d+: no idea", line["error"])
    assert "its positions stay" in line["text"]


@pytest.mark.fault("B2")
def test_executions_that_contradict_each_other_are_told_once() -> None:
    """The same trade at another price: one line, however often one looks."""
    watched = Watched(on_quote=lambda *_: [intent()])
    watched.bus.publish(quote(10))
    order = watched.core.orders.open_orders()[0].new
    for px in ("100", "90"):
        watched.bus.publish(fill(order, "0.5", px, "t-1"))
        watched.watch.on_second()
    watched.watch.on_second()
    (line,) = watched.log.errors
    assert ("other values" in line["text"], line["conflicts"]) == (True, 1)


@pytest.mark.fault("F14")
def test_a_change_of_the_risk_state_is_told_in_three_ways_that_do_not_need_each_other() -> None:
    """Halted and resumed: on record at once, a line of the log each, and the gauge."""
    watched = Watched()
    watched.watch.on_second()
    assert watched.log.errors == []
    watched.bus.publish(e.Halted(20, 20, "operator", "drill"))
    kinds = [type(written.record) for written in watched.bus._journal.written]  # type: ignore[attr-defined]
    assert kinds[-2:] == [e.Halted, RiskStateChanged]
    for _ in range(2):
        watched.watch.on_second()
    (line,) = watched.log.errors
    assert (line["text"], line["before"], line["after"]) == ("risk state", "active", "halted")
    assert "drill" in line["reason"]
    assert watched.gauges.risk_state is RiskState.HALTED
    assert watched.watch.status()["reason"] == line["reason"]
    watched.bus.publish(e.Resumed(30, 30, "operator", "over"))
    watched.watch.on_second()
    assert watched.watch.status()["reason"] == ""
    assert [one["after"] for one in watched.log.warnings] == ["active"]
    assert len(watched.log.errors) == 1


def test_a_stream_that_stays_down_is_told_where_people_look() -> None:
    """By the looks of every second."""
    watched = Watched()
    watched.bus.publish(e.FeedDown(20, 20, "coinbase", "user", "reset by peer"))
    for _ in range(DOWN_LOOKS):
        watched.watch.on_second()
    (line,) = watched.log.errors
    assert (line["venue"], line["stream"], line["why"]) == ("coinbase", "user", "reset by peer")


def test_what_stops_risk_while_it_is_stopped_already_is_told_too() -> None:
    """An operator reduces to look at something, then an order fills too much: who resumes has to know of both."""
    watched = Watched(on_quote=lambda *_: [intent()])
    watched.bus.publish(quote(10))
    order = watched.core.orders.open_orders()[0].new
    watched.bus.publish(e.Reduced(20, 20, "operator", "a look"))
    watched.watch.on_second()
    for trade_id in ("t-1", "t-2"):
        watched.bus.publish(fill(order, "1", "100", trade_id))
    for _ in range(2):
        watched.watch.on_second()
    status = watched.watch.status()
    assert status["reason"] == "operator: a look"
    (other,) = status["other_reasons"]
    assert "overfill of" in other
    assert [(line["text"], line["reason"]) for line in watched.log.errors] == [
        ("risk state", "operator: a look"),
        ("risk is stopped for another reason too", other),
    ]
    watched.bus.publish(e.Halted(30, 30, "operator", "that is worse"))
    watched.watch.on_second()
    assert watched.watch.status()["reason"] == "operator: that is worse"
    assert watched.watch.status()["other_reasons"] == ["operator: a look", other]
    assert len(watched.log.errors) == 3
    watched.bus.publish(e.Resumed(40, 40, "operator", "both were looked at"))
    watched.watch.on_second()
    assert (watched.watch.status()["reason"], watched.watch.status()["other_reasons"]) == ("", [])


def test_reasons_that_come_again_and_again_are_told_once_and_are_not_many() -> None:
    """A file that is read with each timer says the same; a flood of others is bounded."""
    watched = Watched()
    for text in ["drill", "drill", *[f"reason {number}" for number in range(20)], "drill"]:
        watched.bus.publish(e.Halted(20, 20, "operator", text))
        watched.watch.on_second()
    assert watched.watch.status()["other_reasons"] == [f"operator: reason {n}" for n in range(REASONS_KEPT)]
    assert len(watched.log.errors) == 1 + REASONS_KEPT


@pytest.mark.fault("B19")
def test_exits_that_close_nothing_are_told_as_often_as_more_of_them_were_sent() -> None:
    """Twice three of them: a line each time, none in between."""
    watched = Watched()
    for count in (0, 3, 3, 6):
        watched.core.counters.exit_retries = count
        watched.watch.on_second()
    assert [line["retries"] for line in watched.log.errors] == [3, 6]
    assert "closed nothing" in watched.log.errors[0]["text"]


@pytest.mark.fault("F7")
def test_status_names_what_is_open_by_the_ids_that_cancel_takes() -> None:
    """An order, and a group of which it is the exit; beyond ``SHOWN_MAX`` orders the rest is a number."""
    watched = Watched(on_quote=lambda *_: [intent(qty="1", limit_px=D(101), time_in_force=TimeInForce.GTC)])
    for at in range(10, 10 + SHOWN_MAX + 2):
        watched.bus.publish(quote(at))
    shown = watched.watch.status()["open"]
    first = watched.core.orders.open_orders()[0].client_order_id
    assert shown[first] == f"s: buy 1 of 1 {BTC} limit 101, accepted"
    assert (len(shown), shown["more"]) == (SHOWN_MAX + 1, "2")
    stop = intent(
        side=e.Side.SELL, order_type=OrderType.STOP, limit_px=None, trigger_px=D(90), time_in_force=TimeInForce.GTC
    )
    watched.core.desk.carry_out([stop])
    (text,) = watched.watch.status()["groups"].values()
    assert text == f"s: sell 1 {BTC} at 90"


def test_strategies_that_make_conformal_sets_tell_their_coverage() -> None:
    """By strategy and instrument; others are not in it."""
    watched = Watched()
    assert "coverage" not in watched.watch.status()
    coverage = Coverage(model="m@1", alpha=0.08, matured=10, covered=9, singletons=4, singletons_right=3)
    (slot,) = watched.core.slots
    slot.strategy.conformal_coverage = lambda name: coverage if name == BTC else None  # type: ignore[attr-defined]
    open_market(watched.core)
    assert watched.watch.status()["coverage"] == {
        "s": {
            BTC: {
                "model": "m@1",
                "alpha": 0.08,
                "matured": 10,
                "covered": 9,
                "singletons": 4,
                "singletons_right": 3,
            }
        }
    }
    watched.watch.on_second()
    ((of, counts),) = watched.gauges.conformal.items()
    assert of == ("s", BTC)
    assert (counts.model, counts.alpha, sum(counts.parts.values())) == ("m@1", 0.08, 10)


def test_a_strategy_whose_coverage_cannot_be_read_keeps_nobody_from_looking() -> None:
    """One of somebody's own that raises, or tells something else: said in status, and no sample."""
    watched = Watched()
    (slot,) = watched.core.slots
    for tell in (lambda _: 1 / 0, lambda _: {"covered": 3}):
        slot.strategy.conformal_coverage = tell  # type: ignore[attr-defined]
        watched.watch.on_second()
        assert watched.gauges.conformal == {}
        assert "not told: " in watched.watch.status()["coverage"]["s"][BTC]


def test_an_old_rate_is_said_once_a_day() -> None:
    """One that is held was told a day ago and more; ``status`` says it always."""
    watched, hour_ns = Watched(), 3_600_000_000_000
    watched.bus.publish(e.RateReported(1, 1, "CHF", D("1.1")))
    watched.bus.publish(e.BalanceReported(1, 1, "coinbase", "CHF", D(5), D(5)))
    for hours, lines in ((23, 0), (25, 1), (26, 1), (49, 2)):
        watched.bus.publish(e.Timer(hours * hour_ns, hours * hour_ns, "tick"))
        watched.watch.on_second()
        assert [line["currency"] for line in watched.log.warnings] == ["CHF"] * lines
    assert watched.watch.status()["rates"] == {"CHF": "1.1 USD, told 49.0 h ago"}
