"""A consolidated instrument inside the core: a lane like any other, made of its members' accepted events."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from math import isnan
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.consolidated.history import consolidate
from engine.core import TradingCore
from engine.errors import ConfigError
from engine.instruments import Instrument
from tests.support.consolidated import MS, NAME, START_NS, S, define, quote, rules, trade, venue
from tests.support.core import D, EveryQuote, MemoryRecorder, MidModel, Scripted, build_core, intent
from tests.support.fake_view import make_instrument


def start(core: TradingCore, instruments: Sequence[Instrument]) -> None:
    for instrument in instruments:
        core.on_event(e.InstrumentDefined(START_NS, START_NS, instrument))
        for stream in ("market", "user"):
            core.on_event(e.FeedUp(START_NS, START_NS, instrument.venue, stream))


def running(*strategies: Any, count: int = 2, **options: Any) -> tuple[TradingCore, MemoryRecorder]:
    recorder = MemoryRecorder()
    core = build_core(recorder, *strategies, consolidated=[define(count)], **options)
    start(core, rules(count))
    return core, recorder


def test_it_is_there_when_its_last_member_is_defined() -> None:
    """Not with the first; then it has rules, a lane, and a place among the instruments."""
    core = build_core(MemoryRecorder(), Scripted(), consolidated=[define(2)])
    start(core, rules(1))
    assert NAME not in core.view.instruments()
    assert core.view.consolidated(NAME) is None
    start(core, rules(2)[1:])
    assert core.view.instrument(NAME).venue == "consolidated"
    said = core.view.consolidated(NAME)
    assert said is not None
    assert (said.voters, said.confidence) == (0, 0.0)
    assert core.view.consolidated(venue(0)) is None


def test_members_that_are_not_the_same_thing_end_the_start() -> None:
    """The venue's own rules are looked at again, whatever was foreseen."""
    core = build_core(MemoryRecorder(), Scripted(), consolidated=[define(2)])
    start(core, rules(1))
    with pytest.raises(ConfigError, match="not comparable"):
        start(core, [make_instrument(venue(1), tick_px=D(1000))])


def test_quotes_of_members_reach_strategies_as_quotes_of_the_consolidated_instrument() -> None:
    """After those of the member itself; the view is of one moment already when the member's are asked."""
    seen: list[tuple[str, float]] = []

    def on_quote(instrument: str, view: Any) -> list[Any]:
        said = view.consolidated(NAME)
        seen.append((instrument, said.mid_px))
        return []

    core, _ = running(Scripted(on_quote=on_quote))
    core.on_event(quote(0, 100.0, 1))
    core.on_event(quote(1, 100.2, 2))
    assert seen == [
        (venue(0), 100.0),
        (NAME, 100.0),
        (venue(1), pytest.approx(100.1)),
        (NAME, pytest.approx(100.1)),
    ]
    top = core.view.top(NAME)
    assert top is not None
    assert (top.bid_px, top.ask_px, top.ts_recv_ns) == (pytest.approx(99.6), pytest.approx(100.6), START_NS + 2)
    assert core.view.mark_px(NAME) == D("100.10")


def test_features_and_models_serve_it_like_any_other() -> None:
    """Each of its quotes makes a row and a prediction under its own name; nothing else of it is on record."""
    core, recorder = running(Scripted(), model=MidModel(), features=EveryQuote)
    core.on_event(quote(0, 100.0, 1))
    core.on_event(quote(1, 100.2, 2))
    predictions = [record.instrument for record in recorder.of(e.Prediction)]
    assert predictions == [venue(0), NAME, venue(1), NAME]
    kinds = {type(record) for record in recorder.records}
    assert kinds == {e.ModelAssigned, e.Prediction}


def test_trades_of_members_are_its_trades() -> None:
    """A trade beyond all doubt moves the last price of both; one far off stays with its venue."""
    core, _ = running(Scripted())
    core.on_event(quote(0, 100.0, 1))
    core.on_event(trade(0, 100.1, 2))
    assert core.lanes[NAME].top.last_px == 100.1
    core.on_event(trade(0, 100.2, 3))
    assert core.lanes[NAME].top.last_px == 100.2
    assert core.counters.trades == 2  # members' events are counted, what is made of them is not


def test_a_refused_quote_takes_the_vote_until_the_next_good_one() -> None:
    """Crossed at one of two venues: the price is the other's alone; a price that nobody gives is suspect."""
    core, _ = running(Scripted())
    core.on_event(quote(0, 100.0, 1))
    core.on_event(quote(1, 100.2, 2))
    core.on_event(quote(1, 100.2, 3, half_px=-0.5))
    top = core.view.top(NAME)
    assert top is not None
    assert (top.bid_px, top.suspect) == (99.5, False)
    core.on_event(quote(0, 100.0, 4, half_px=-0.5))
    assert top.suspect
    core.on_event(quote(0, 100.0, 5))
    assert (top.bid_px, top.suspect) == (99.5, False)


def test_timers_let_a_mute_venue_drop_out() -> None:
    """Nobody ticks: first one leaves and the price moves, then the other and the price is suspect."""
    core, _ = running(Scripted())
    core.on_event(quote(0, 100.0, 0))
    core.on_event(quote(1, 100.2, 500 * MS))
    top = core.view.top(NAME)
    assert top is not None
    core.on_event(e.Timer(START_NS + 1_100 * MS, START_NS + 1_100 * MS, "tick"))
    assert (top.bid_px, top.suspect) == (pytest.approx(99.7), False)
    core.on_event(e.Timer(START_NS + 1_600 * MS, START_NS + 1_600 * MS, "tick"))
    assert top.suspect
    said = core.view.consolidated(NAME)
    assert said is not None
    assert [source.status for source in said.sources] == ["mute", "mute"]


def test_a_hole_in_a_feed_is_one_of_the_consolidated_instrument_where_nobody_else_has_a_price() -> None:
    """One venue down: the other goes on and features stay; both down: suspect, features start anew."""
    made: list[EveryQuote] = []

    def features() -> EveryQuote:
        made.append(EveryQuote())
        return made[-1]

    core, _ = running(Scripted(), features=features)
    own = core.lanes[NAME].features
    assert isinstance(own, EveryQuote)
    core.on_event(quote(0, 100.0, 1))
    core.on_event(quote(1, 100.2, 2))
    core.on_event(e.FeedDown(START_NS + 3, START_NS + 3, "v1", "market", "reset"))
    assert (own.gap, core.lanes[NAME].top.suspect) == ("", False)
    assert core.lanes[NAME].top.bid_px == 99.5
    core.on_event(e.Gap(START_NS + 4, START_NS + 4, "v0", "", 5, 7))
    assert "v0" in own.gap
    assert core.lanes[NAME].top.suspect


def test_a_book_that_is_confirmed_keeps_its_venue_in() -> None:
    """A change behind the best prices of a book, nothing else for longer than the stale limit."""
    core, _ = running(Scripted())
    book = e.BookSnapshot(START_NS, START_NS, venue(0), ((99.5, 1.0), (99.0, 1.0)), ((100.5, 1.0),))
    core.on_event(book)
    later = START_NS + 900 * MS
    core.on_event(e.BookDelta(later, later, venue(0), ((1, 99.0, 2.0),)))
    core.on_event(e.Timer(START_NS + 1_500 * MS, START_NS + 1_500 * MS, "tick"))
    said = core.view.consolidated(NAME)
    assert said is not None
    assert [source.status for source in said.sources] == ["live", "unseen"]
    assert core.lanes[NAME].top.ts_recv_ns == later


def statuses_of(core: TradingCore) -> list[str]:
    said = core.view.consolidated(NAME)
    assert said is not None
    return [source.status for source in said.sources]


def test_a_book_that_lost_a_side_has_no_vote() -> None:
    """Nobody bids at venue 0 any more: its last price is none, also while its other levels change; a whole book is."""
    core, _ = running(Scripted())
    core.on_event(quote(1, 100.0, 0))
    core.on_event(e.BookSnapshot(START_NS + 1, START_NS + 1, venue(0), ((99.9, 1.0),), ((100.3, 1.0),)))
    assert statuses_of(core) == ["live", "live"]
    for step, change in enumerate(((1, 99.9, 0.0), (-1, 100.4, 2.0))):
        core.on_event(e.BookDelta(START_NS + 2 + step, START_NS + 2 + step, venue(0), (change,)))
        assert statuses_of(core) == ["one_sided", "live"]
        assert core.lanes[NAME].top.bid_px == 99.5
    core.on_event(e.BookDelta(START_NS + 5, START_NS + 5, venue(0), ((1, 99.9, 1.0),)))
    assert statuses_of(core) == ["live", "live"]


def test_a_snapshot_without_a_side_takes_the_vote_as_well() -> None:
    """After a price that was whole; nobody else has one."""
    core, _ = running(Scripted())
    core.on_event(quote(0, 100.0, 0))
    core.on_event(e.BookSnapshot(START_NS + 1, START_NS + 1, venue(0), (), ((100.3, 1.0),)))
    assert statuses_of(core) == ["one_sided", "unseen"]
    assert core.lanes[NAME].top.suspect


def test_a_hole_breaks_every_book_of_the_venue_before_anybody_is_asked() -> None:
    """A member's hole moves the consolidated price, and a strategy is asked about that: no price of that venue that it
    looks at then passes for a good one."""
    seen: list[tuple[bool, bool]] = []

    def on_quote(instrument: str, view: Any) -> list[Any]:
        if instrument == NAME:
            top, features = view.top("ETH/USD@v0"), view.features("ETH/USD@v0")
            seen.append((top is not None and top.suspect, features.warm))
        return []

    core, _ = running(Scripted(on_quote=on_quote))
    core.on_event(e.InstrumentDefined(START_NS, START_NS, make_instrument("ETH/USD@v0")))
    core.on_event(quote(0, 100.0, 1))
    core.on_event(quote(1, 100.2, 2))
    core.on_event(e.Quote(START_NS + 3, START_NS + 3, "ETH/USD@v0", 9.9, 1.0, 10.1, 1.0))
    seen.clear()
    core.on_event(e.Gap(START_NS + 4, START_NS + 4, "v0", "", 5, 7))
    assert seen == [(True, False)]


def test_a_hole_in_two_members_feeds_is_one_change() -> None:
    """Two of three members are of one venue: no price is ever made of the second while the first is already out."""
    told: list[float] = []

    def on_quote(instrument: str, view: Any) -> list[Any]:
        if instrument == NAME:
            told.append(view.top(NAME).bid_px)
        return []

    names = ("BTC/USD@v0", "BTC/USDC@v0", "BTC/USD@v1")
    core = build_core(
        MemoryRecorder(),
        Scripted(on_quote=on_quote),
        consolidated=[msgspec.structs.replace(define(2), members=names, equivalent={"USDC": "USD"})],
    )
    start(core, [make_instrument(name) for name in names])
    for at, (name, bid_px) in enumerate(zip(names, (99.9, 100.1, 100.2), strict=True)):
        core.on_event(e.Quote(START_NS + at, START_NS + at, name, bid_px, 1.0, bid_px + 0.1, 1.0))
    told.clear()
    core.on_event(e.FeedDown(START_NS + 9, START_NS + 9, "v0", "market", "reset"))
    assert told == [100.2]


def test_it_cannot_be_ordered() -> None:
    """Its market is closed by what it is, also with all streams up; the reason says where orders go."""
    core, _ = running(Scripted())
    core.on_event(quote(0, 100.0, 1))
    assert core.view.tradable(venue(0)) == ""
    assert core.view.tradable(NAME) == f"{NAME} is a consolidated price, no market: orders go to one of its members"


def test_a_suspect_price_says_so_in_its_top() -> None:
    """Two venues 198 bps apart."""
    core, _ = running(Scripted())
    core.on_event(quote(0, 100.0, 1))
    core.on_event(quote(1, 102.0, 2))
    assert core.lanes[NAME].top.suspect
    core.on_event(quote(1, 100.1, 3))
    assert not core.lanes[NAME].top.suspect


def test_an_instrument_of_no_view_has_nothing_to_do_with_it() -> None:
    """Its lane knows no feed, in a core with views and in one without."""
    core, _ = running(Scripted())
    start(core, [make_instrument("ETH/USD@v0")])
    assert core.lanes["ETH/USD@v0"].member_feed is None
    plain = build_core(MemoryRecorder(), Scripted())
    start(plain, rules(1))
    assert plain.lanes[venue(0)].member_feed is None


def test_one_venue_may_be_in_two_views() -> None:
    """Each has its own price of it."""
    other = msgspec.structs.replace(define(3), instrument="BTC/USD2@consolidated", equivalent={"USD": "USD2"})
    core = build_core(MemoryRecorder(), Scripted(), consolidated=[define(2), other])
    start(core, rules(3))
    for number, mid_px in enumerate((100.0, 100.2, 100.3)):
        core.on_event(quote(number, mid_px, number))
    assert core.lanes[NAME].consolidator is not None
    assert core.lanes[NAME].top.bid_px == pytest.approx(99.6)
    assert core.lanes["BTC/USD2@consolidated"].top.bid_px == pytest.approx(99.7)


def test_a_session_and_the_recorded_events_make_the_same_quotes() -> None:
    """600 quotes of three venues, one of which pauses and one of which goes wild: the core's lane and ``consolidate``
    tell the same prices at the same times."""
    events: list[e.Event] = []
    for at in range(0, 6_000, 10):
        number = (at // 10) % 3
        mid_px = 100.0 + (at % 70) / 100 + (5.0 if number == 1 and 2_000 < at < 2_600 else 0.0)
        if at % 100 == 0:
            events.append(e.Timer(START_NS + at * MS, START_NS + at * MS, "tick"))
        if not (number == 2 and 3_000 < at < 5_000):
            events.append(quote(number, mid_px, at * MS))
    told: list[tuple[int, float, float]] = []

    def on_quote(instrument: str, view: Any) -> list[Any]:
        top = view.top(instrument)
        if instrument == NAME:
            told.append((top.ts_recv_ns, top.bid_px, top.ask_px))
        return []

    core, _ = running(Scripted(on_quote=on_quote), count=3)
    for event in events:
        core.on_event(event)  # type: ignore[arg-type]
    made = [
        (event.ts_recv_ns, event.bid_px, event.ask_px)
        for event in consolidate(events, define(3), rules(3), timer_ns=None)
        if isinstance(event, e.Quote)
    ]
    assert told == made
    assert len(told) > 300
    assert not any(isnan(bid_px) for _, bid_px, _ in told)
    assert max(bid_px for _, bid_px, _ in told) < 101.0


def test_a_session_and_the_recorded_events_make_the_same_of_books() -> None:
    """Two venues tell levels, one quotes; books that lose a side, come late, carry no numbers or break, and rules that
    change: the core's lane and ``consolidate`` tell the same, and each of those things moved the price."""
    chance = random.Random(7)
    events: list[e.Event] = []
    for step in range(4_000):
        ns = START_NS + step * 10 * MS
        name = venue(step % 3)
        px = round(100.0 + 0.3 * math.sin(step / 90.0) + 0.05 * (step % 3), 2)
        kind = chance.random()
        if step % 50 == 0:
            events.append(e.Timer(ns, ns, "tick"))
        if step % 3 == 2:
            events.append(e.Quote(ns, ns, name, px - 0.1, 1.0, px + 0.1, 1.0))
        elif step < 3 or kind < 0.05:
            bids = () if step > 3 and kind < 0.01 else tuple((round(px - 0.1 * n, 2), 1.0) for n in (1, 2, 3))
            late_ns = 3 * S if 0.01 < kind < 0.02 else 0
            events.append(e.BookSnapshot(ns - late_ns, ns, name, bids, ((round(px + 0.1, 2), 1.0),)))
        elif kind < 0.06:
            events.append(e.Gap(ns, ns, name.partition("@")[2], "", 5, 7))
        elif kind < 0.065:
            events.append(e.InstrumentDefined(ns, ns, make_instrument(name)))
        else:
            side, away = chance.choice([(1, -0.1), (-1, 0.1), (1, -0.5), (-1, 0.5)])
            qty = math.nan if kind > 0.995 else chance.choice([0.0, 1.0, 2.0])
            events.append(e.BookDelta(ns, ns, name, ((side, round(px + away, 2), qty),)))
    told: list[tuple[int, float, float]] = []
    statuses: set[str] = set()

    def on_quote(instrument: str, view: Any) -> list[Any]:
        top = view.top(instrument)
        if instrument == NAME:
            told.append((top.ts_recv_ns, top.bid_px, top.ask_px))
            statuses.update(source.status for source in view.consolidated(NAME).sources)
        return []

    core, _ = running(Scripted(on_quote=on_quote), count=3)
    for event in events:
        core.on_event(event)  # type: ignore[arg-type]
    made = [
        (event.ts_recv_ns, event.bid_px, event.ask_px)
        for event in consolidate(events, define(3), rules(3), timer_ns=None)
        if isinstance(event, e.Quote)
    ]
    assert told == made
    assert len(told) > 500
    assert statuses >= {"live", "one_sided", "broken", "not_finite", "crossed"}


def test_strategies_may_trade_a_member_on_the_consolidated_price() -> None:
    """An order for a member, wished for when the consolidated quote came."""
    wish = intent(instrument=venue(0), qty="1")

    def on_quote(instrument: str, view: Any) -> list[Any]:
        return [wish] if instrument == NAME else []

    core, _ = running(Scripted(on_quote=on_quote))
    commands = list(core.on_event(quote(0, 100.0, S)))
    assert [command.venue for command in commands] == ["v0"]
    assert len(list(itertools.chain(core.orders.open_orders()))) == 1
