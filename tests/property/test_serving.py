"""Whatever serving tells, in whatever order: who serves is on record, nothing is entered on a model that does not
serve, and the session replays from its record and computed anew."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import events as e
from engine.bus import EventBus
from engine.carried import encode_carried
from engine.commands import CancelOrder, NewOrder, OrderIntent
from engine.core import KEEP, NullProbe, TradingCore
from engine.lanes import StrategySlot
from engine.recovery import Recovery
from engine.replay import ReplayAssembly, ReplayRecorder, replay
from engine.router import OrderRouter
from engine.seats import ServingRules
from engine.trusting import acting
from tests.support.core import BTC, D, MemoryJournal, OpenGate, Scripted, fill, intent, quote, spot
from tests.support.serving import Answers, Shelf

STATUSES = [e.PredictionStatus.OK, e.PredictionStatus.OK, e.PredictionStatus.LATE, e.PredictionStatus.FAILED]
VERSIONS = ["a@1", "b@1", "c@1"]
OTHER_SPEC = '{"other":1}'
STEPS = st.one_of(
    st.tuples(st.just("quote"), st.integers(-50, 50), st.sampled_from(STATUSES)),
    st.tuples(st.just("quote"), st.integers(-50, 50), st.just(e.PredictionStatus.FAILED)),
    st.tuples(st.just("answer"), st.sampled_from(VERSIONS), st.integers(1, 5), st.sampled_from(STATUSES)),
    st.tuples(
        st.just("offer"), st.sampled_from([*VERSIONS, "lost@1", ""]), st.sampled_from(["champion", "canary", "older"]),
        st.sampled_from([0.05, 0.5, 0.9]),
    ),
    st.tuples(st.just("alarm"), st.sampled_from(VERSIONS), st.sampled_from(["stop", "size_down", "clear", "alert"])),
    st.tuples(st.just("fill")),
    st.tuples(st.just("timer")),
    st.tuples(st.just("gap")),
    st.tuples(st.just("keep")),
)  # fmt: skip

RISE = ("quote", 30, e.PredictionStatus.OK)
CANARY = ("offer", "b@1", "canary", 0.5)


def trader(name: str = "s") -> Scripted:
    """Goes long above a half and short below it, on quotes as well as on predictions."""
    wanted = {"side": e.Side.BUY}

    def on_prediction(prediction: e.Prediction, seq: int, view: Any) -> list[OrderIntent]:
        if not prediction.values or prediction.status is not e.PredictionStatus.OK:
            return []
        wanted["side"] = e.Side.BUY if prediction.values[0] > 0.5 else e.Side.SELL
        return [intent(wanted["side"], "2", name, model=prediction.model, prediction_seq=seq)]

    def on_quote(instrument: str, view: Any) -> list[OrderIntent]:
        return [intent(wanted["side"], "1", name)]

    return Scripted(name, on_prediction=on_prediction, on_quote=on_quote)


def shelf(*, asynchronous: bool) -> Shelf:
    made = Shelf(Answers("a@1"), Answers("b@1", 0.1, asynchronous=asynchronous), Answers("c@1", 0.2))
    made.specs["c@1"] = OTHER_SPEC
    made.facts["a@1"] = (("buy", 0.6), ("expires_ns", 5_000.0))
    # What the session recorded, also where the answers are computed inline.
    made.facts["b@1"] = (("buy", 0.6), ("asynchronous", 1.0))
    return made


def build(recorder: Any, assembly: Any, rules: ServingRules, prefix: str) -> TradingCore:
    return TradingCore(
        recorder=recorder, gate=OpenGate(), slots=[StrategySlot(trader(), make_twin=trader)], assembly=assembly,
        currency="USD", id_prefix=prefix, rules=rules,
    )  # fmt: skip


class Session:
    """A core on a bus; orders that leave are kept, so that they can fill."""

    venue = "coinbase"

    def __init__(self, rules: ServingRules, before: Session | None = None) -> None:
        self.rules = rules
        self.journal, self.models, self.sent = MemoryJournal(), shelf(asynchronous=True), list[NewOrder]()
        self.now_ns = 100 if before is None else before.now_ns
        self.bus = EventBus(self.journal, NullProbe(), lambda text, error: pytest.fail(f"{text}: {error!r}"))
        self.prefix = "k" if before is None else f"{before.prefix}k"
        self.core = build(self.bus, self.models, rules, self.prefix)
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: [self]))
        ts_ns = self.now_ns
        if before is not None:
            recovery = Recovery("USD")
            recovery.take([one.record for one in before.journal.written])
            left = recovery.left()
            self.bus.publish(e.StateCarried(ts_ns, ts_ns, "before", 9, encode_carried(left)))
        for event in (
            e.InstrumentDefined(ts_ns, ts_ns, spot(can_short=True)),
            e.FeedUp(ts_ns, ts_ns, "coinbase", "market"),
            e.FeedUp(ts_ns, ts_ns, "coinbase", "user"),
        ):
            self.bus.publish(event)
        if before is not None:
            totals = tuple(left.balances("coinbase").items())
            self.bus.publish(e.AccountSettled(ts_ns, ts_ns, "coinbase", totals, ()))
            self.sent = [one for one in before.sent if self.core.orders.get(one.client_order_id) is not None]

    def submit(self, order: NewOrder) -> None:
        self.sent.append(order)

    def cancel(self, cancel: CancelOrder) -> None:
        pass

    def take(self, step: tuple[Any, ...]) -> None:
        self.now_ns += 100
        now_ns, bus, core = self.now_ns, self.bus, self.core
        kind, rest = step[0], step[1:]
        if kind == "quote":
            for one in self.models.models.values():
                one.statuses = [rest[1]]
            px = 100.0 + rest[0] / 50
            bus.publish(quote(now_ns, px, px + 0.01))
        elif kind == "answer":
            model = self.models.models[rest[0]]
            if model.asynchronous and len(model.asked) >= rest[1]:
                bus.publish(model.answer(now_ns, -rest[1], rest[2]))
        elif kind == "offer":
            bus.publish(self.models.offer(now_ns, rest[0], rest[1], rest[2]))
        elif kind == "alarm":
            bus.publish(e.ModelAlarmed(now_ns, now_ns, BTC, rest[0], "psi", rest[1], 0.5))
        elif kind == "fill" and self.sent:
            order = self.sent.pop(0)
            bus.publish(fill(order, str(order.intent.qty), "100", f"t{now_ns}", ts_ns=now_ns))
        elif kind == "timer":
            bus.publish(e.Timer(now_ns, now_ns, "tick"))
        elif kind == "full":
            self.journal.full_for = rest[0]
        elif kind == "resume":
            bus.publish(e.Resumed(now_ns, now_ns, "operator", "there is room"))
        elif kind == "keep":
            bus.publish(e.Timer(now_ns, now_ns, KEEP))
        elif kind == "gap":
            bus.publish(e.Gap(now_ns, now_ns, "coinbase", BTC, 3, 5))
        assert core.counters.core_errors == 0
        assert all(slot.alive for slot in core.slots)

    def serving(self) -> dict[str, bool]:
        """Strategy -> whether some model serves it."""
        lane = self.core.lanes[BTC]
        return {"s": acting(lane) is not None, "s.canary": lane.canary is not None and lane.canary.serves}


@pytest.mark.fault("E4")
@pytest.mark.fault("E7")
@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=50),
    failures_max=st.integers(0, 3),
    fallback=st.sampled_from(["hold", "flat", "older"]),
)
@example(steps=[("offer", "b@1", "older", 0.5), CANARY, RISE, RISE], failures_max=0, fallback="older")
def test_whatever_serving_tells_the_session_is_whole(
    steps: list[tuple[Any, ...]], failures_max: int, fallback: Any
) -> None:
    """Runs a session, looks at each record, replays it, and replays it with models that compute again."""
    rules = ServingRules(failures_max, 500, fallback)
    session = Session(rules)
    qty_of = session.core.view.strategy_qty
    for step in steps:
        held = {name: qty_of(name, BTC) for name in ("s", "s.canary")}
        served, first = session.serving(), len(session.journal.written)
        session.take(step)
        served_after = session.serving()
        for written in session.journal.written[first:]:
            record = written.record
            if not isinstance(record, NewOrder):
                continue
            wish = record.intent
            if not (served[wish.strategy] or served_after[wish.strategy]):
                closing_qty = max(-held[wish.strategy] * wish.side, D(0))
                assert wish.qty <= closing_qty, (step, wish, held)
            if wish.model:
                asked = next(one.record for one in session.journal.written if one.seq == wish.prediction_seq)
                assert isinstance(asked, e.Prediction)
                assert asked.model == wish.model
    _look_at_versions(session)
    _replay(session)


def _replay(session: Session) -> None:
    for fresh in (None, shelf(asynchronous=False)):
        recorder = ReplayRecorder()
        assembly = ReplayAssembly(
            recorder, fresh or shelf(asynchronous=False), recompute=fresh is not None, tolerance=lambda: 0.0
        )
        result = replay(session.journal.written, recorder, build(recorder, assembly, session.rules, session.prefix))
        assert result.first_difference is None, result.first_difference


@pytest.mark.fault("A1")
@pytest.mark.fault("E10")
@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(st.lists(STEPS, min_size=3, max_size=20), min_size=2, max_size=4),
    fallback=st.sampled_from(["hold", "flat", "older"]),
)
@example(lives=[[CANARY, *[RISE] * 3, *[("fill",)] * 6], [RISE, RISE]], fallback="hold")
def test_whenever_a_session_dies_the_next_one_has_its_twins_and_alarms(
    lives: list[list[tuple[Any, ...]]], fallback: Any
) -> None:
    """Killed between two events, gone on with from its records alone: whoever holds something is there to leave it,
    what was stopped is stopped, and each session replays."""
    session = Session(ServingRules(2, 500, fallback))
    for steps in lives:
        for step in steps:
            session.take(step)
        _replay(session)
        before, session = session, Session(session.rules, session)
        view = session.core.view
        names = {slot.name for slot in session.core.slots}
        for name in ("s", "s.canary"):
            assert view.strategy_qty(name, BTC) == before.core.view.strategy_qty(name, BTC)
            assert not view.strategy_qty(name, BTC) or name in names
        seat = session.core.lanes[BTC].seat
        assert seat is not None
        alarms = before.core.serving.standings.alarms
        assert (seat.state == "stopped") is bool(alarms.stop_of(BTC, seat.version))
        assert seat.factor == alarms.factor_of(BTC, seat.version)[0]


REFUSED = [(), (e.Prediction,), (e.ModelStanding,), (e.ModelAssigned,), (e.StateKept,), (NewOrder, e.Prediction)]


@pytest.mark.fault("E4")
@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            STEPS.filter(lambda step: step[:2] != ("offer", "lost@1")),
            st.tuples(st.just("full"), st.sampled_from(REFUSED)),
            st.just(("resume",)),
        ),
        min_size=10,
        max_size=50,
    ),
    fallback=st.sampled_from(["hold", "flat", "older"]),
)
def test_whatever_a_full_disk_does_not_take_the_session_replays(steps: list[tuple[Any, ...]], fallback: Any) -> None:
    """Standings, assignments, predictions, orders and states that find no room, and a resume: the core has gone on as
    the record lets it go on again."""
    session = Session(ServingRules(1, 500, fallback))
    for step in steps:
        session.take(step)
    _replay(session)


ALARMED = st.one_of(
    st.tuples(
        st.just("offer"), st.sampled_from([*VERSIONS, "lost@1", ""]), st.sampled_from(["champion", "canary", "older"]),
        st.just(0.5),
    ),
    st.tuples(st.just("alarm"), st.sampled_from(VERSIONS), st.sampled_from(["stop", "size_down", "clear"])),
    st.tuples(st.just("quote"), st.integers(-50, 50), st.just(e.PredictionStatus.OK)),
    st.tuples(st.just("keep")),
)  # fmt: skip
STOP = ("alarm", "a@1", "stop")


@pytest.mark.fault("A1")
@pytest.mark.fault("E10")
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(ALARMED, min_size=3, max_size=20), fallback=st.sampled_from(["hold", "older"]))
@example(steps=[STOP, ("keep",), ("offer", "a@1", "canary", 0.5)], fallback="hold")
@example(steps=[STOP, ("keep",), ("offer", "b@1", "champion", 0.5)], fallback="hold")
@example(steps=[("keep",), STOP, ("offer", "b@1", "champion", 0.5)], fallback="hold")
@example(steps=[CANARY, ("alarm", "b@1", "stop"), ("keep",), ("offer", "lost@1", "champion", 0.5)], fallback="hold")
def test_killed_at_any_record_the_alarms_are_those_of_the_uncut_session(
    steps: list[tuple[Any, ...]], fallback: Any
) -> None:
    """What the records up to there leave is what the core held after the event that they end with; in the middle of
    one, what it held before or after it."""
    session = Session(ServingRules(2, 500, fallback))
    held = session.core.serving.standings.alarms.carried
    written = session.journal.written
    known = [(len(written), frozenset(held()))]
    for step in steps:
        session.take(step)
        known.append((len(written), frozenset(held())))
    for (first, before), (last, after) in pairwise(known):
        for end in range(first + 1, last + 1):
            records = [one.record for one in written[:end]]
            kept = max((place for place, one in enumerate(records) if isinstance(one, e.StateKept)), default=0)
            recovery = Recovery("USD")
            recovery.take(records[kept:])
            left = frozenset(recovery.left().alarms)
            assert left == after or (end < last and left == before), (end, last, records[end - 1])


def _look_at_versions(session: Session) -> None:
    """Each prediction is of a version that the record has seated before."""
    seated: set[str] = set()
    for written in session.journal.written:
        record = written.record
        if isinstance(record, e.ModelAssigned) or (isinstance(record, e.ModelStanding) and record.state != "gone"):
            seated.add(record.model)
        elif isinstance(record, e.Prediction):
            assert record.model in seated
