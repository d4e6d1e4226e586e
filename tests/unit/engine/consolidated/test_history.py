"""Recorded events go through the same classes as live ones, and come out the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.consolidated import ConsolidatedDefinition, Consolidator
from engine.consolidated.history import consolidate, consolidated_bars, play
from engine.data.parquet import describe_files, read_events
from engine.events import Event, FeedDown, Gap, Quote, Timer, Trade
from tests.support.consolidated import MS, START_NS, S, define, make, quote, rules, trade


def test_events_of_others_and_bad_ones_make_nothing() -> None:
    """An unknown instrument, a crossed quote, a trade at a price below zero."""
    stranger = Quote(START_NS, START_NS, "ETH/USD@v0", 1.0, 1.0, 2.0, 1.0)
    crossed = quote(0, 100.0, 1, half_px=-0.5)
    assert list(consolidate([stranger, crossed, trade(0, -1.0, 2)], define(2), rules(2))) == []


def test_a_crossed_quote_takes_the_vote_and_a_repeated_one_does_not() -> None:
    """What the quality gate drops as a repetition says nothing against the price that stands."""
    one = make(2)
    events = [quote(0, 100.0, 0), quote(1, 100.2, 0), quote(1, 100.2, 0)]
    list(play(events, one))
    assert one.voters == 2
    list(play([quote(1, 100.2, 1, half_px=-0.1)], one))
    assert one.voters == 1


def test_a_mute_venue_leaves_on_the_grid_without_an_event() -> None:
    """Its last quote at 30 ms, stale after 1 s: out at 1,100 ms, the first tenth of a second after that."""
    events = [quote(1, 100.2, 30 * MS), quote(0, 100.0, 900 * MS), quote(0, 100.0, 1_850 * MS)]
    made = list(consolidate(events, define(2), rules(2)))
    assert [(event.ts_recv_ns - START_NS) // MS for event in made] == [30, 900, 1_100]
    assert isinstance(made[-1], Quote)
    assert made[-1].bid_px == 99.5


def test_a_wild_venue_that_goes_mute_is_noticed_on_the_grid_too() -> None:
    """Without the one at 101.5 the median of all is lower and the one at 100 no longer wild: at 1,100 ms, not with the
    next event."""
    events = [quote(4, 101.5, 30 * MS), *(quote(n, px, 500 * MS) for n, px in enumerate((100.0, 100.1, 100.55, 100.7)))]
    events.append(quote(1, 100.1, 1_300 * MS))
    made = [event for event in consolidate(events, define(5), rules(5)) if isinstance(event, Quote)]
    timed = [(event.ts_recv_ns - START_NS, event.bid_px) for event in made if event.ts_recv_ns > START_NS + 500 * MS]
    assert timed == [(1_100 * MS, pytest.approx(99.825))]


def test_recorded_timers_take_the_place_of_the_grid() -> None:
    """With ``timer_ns`` None only the record's own timers make time pass."""
    events: list[Event] = [
        quote(1, 100.2, 0),
        quote(0, 100.0, 900 * MS),
        Timer(START_NS + 1_234 * MS, START_NS + 1_234 * MS, "tick"),
    ]
    made = list(consolidate(events, define(2), rules(2), timer_ns=None))
    assert [(event.ts_recv_ns - START_NS) // MS for event in made] == [0, 900, 1_234]


@pytest.mark.parametrize(
    ("hole", "left"),
    [
        (FeedDown(START_NS + 5, START_NS + 5, "v1", "market", "reset"), 1),
        (FeedDown(START_NS + 5, START_NS + 5, "v1", "user", "reset"), 2),
        (Gap(START_NS + 5, START_NS + 5, "v1", "", 7, 9), 1),
        (Gap(START_NS + 5, START_NS + 5, "v1", "ETH/USD@v1", 7, 9), 2),
    ],
)
def test_a_hole_in_a_feed_takes_that_venues_vote(hole: Event, left: int) -> None:
    """By stream and by instrument."""
    one = make(2)
    list(play([quote(0, 100.0, 0), quote(1, 100.2, 0), hole], one))
    assert one.voters == left


def test_bars_of_recorded_events() -> None:
    """One-second bars from quotes and trades of two venues; a definition without a length has none."""
    base = S - START_NS % S
    events: list[Event] = []
    for number in range(30):
        at = base + number * 100 * MS
        events += [quote(0, 100.0 + number, at), quote(1, 100.0 + number, at), trade(1, 100.0 + number, at, qty=0.1)]
    bars = list(consolidated_bars(events, define(2, bar_ns=S, wild_bps=400.0), rules(2)))
    assert [(bar.open_px, bar.close_px) for bar in bars] == [(109.5, 119.0)]
    assert bars[0].volume_qty == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no bar_ns"):
        next(consolidated_bars(events, define(2), rules(2)))


# --- real markets -----------------------------------------------------------------------------------------------


def members(files: list[Path], **changes: float) -> tuple[Consolidator, Iterator[Event]]:
    infos = describe_files(files)
    known = list({info.instrument.id: info.instrument for info in infos}.values())
    pair = known[0].id.partition("@")[0]
    definition = ConsolidatedDefinition(
        f"{pair}@consolidated",
        tuple(instrument.id for instrument in known),
        **changes,  # type: ignore[arg-type]
    )
    return Consolidator(definition, known), iter(read_events(files))


def test_spot_and_futures_of_one_coin_make_one_price(market_data: Path) -> None:
    """40,000 events of Binance spot and USD-M BTCUSDT: the price lies between theirs, their basis is the dispersion,
    and the recorder's clock, 1.27 s behind the futures exchange, makes nobody late."""
    files = [
        market_data / "ticks" / f"binance_{venue_}_btcusdt_20240808_{kind}.parquet"
        for venue_ in ("spot", "usdm")
        for kind in ("quotes", "trades")
    ]
    one, events = members(files)
    volume_qty = made_qty = 0.0
    seen = two = 0

    def counted() -> Iterator[Event]:
        nonlocal volume_qty
        for event in itertools.islice(events, 40_000):
            volume_qty += event.qty if isinstance(event, Trade) else 0.0
            yield event

    for made in play(counted(), one):
        if isinstance(made, Trade):
            made_qty += made.qty
            continue
        assert made.bid_px < made.ask_px
        seen += 1
        if seen % 200 == 0:
            said = one.at(made.ts_recv_ns)
            mids = [source.mid_px for source in said.sources if source.status == "live"]
            assert min(mids) <= said.mid_px <= max(mids)
            two += said.voters == 2
            assert said.voters == 1 or (2.0 < said.dispersion_bps < 8.0 and 0.8 < said.confidence < 1.0)
    assert seen > 15_000
    assert two > 0.95 * (seen // 200)
    assert made_qty == pytest.approx(volume_qty, rel=0.01)
    sources = one.at(one.now_ns).sources
    assert [source.status for source in sources] == ["live", "live"]
    assert -1_280 * MS < sources[1].clock_offset_ns < -1_260 * MS


def test_crossed_quotes_of_a_venue_do_not_vote(market_data: Path) -> None:
    """FXCM beside OANDA: as many lost votes as rows with bid above ask, none of them in a price that is not below."""
    files = [
        market_data / "ticks" / "oanda_eurusd_quotes_20140501_20140515.parquet",
        market_data / "ticks" / "fxcm_eurusd_quotes_20140501_20140516.parquet",
    ]
    one, events = members(files, stale_ns=60 * S)
    crossed = refused = seen = 0

    def watched() -> Iterator[Event]:
        nonlocal crossed, refused, seen
        late = itertools.dropwhile(lambda event: event.instrument != "EUR/USD@fxcm", events)  # type: ignore[attr-defined]
        for event in itertools.islice(late, 60_000):
            yield event
            # Asked for the next one: this one has been handled.
            if isinstance(event, Quote) and event.instrument == "EUR/USD@fxcm":
                seen += 1
                if event.bid_px > event.ask_px:
                    crossed += 1
                    refused += one.at(one.now_ns).sources[1].status == "crossed"

    for made in play(watched(), one):
        assert isinstance(made, Quote)
        assert made.bid_px < made.ask_px
    assert crossed == refused
    assert crossed > 0.02 * seen
    assert one.at(one.now_ns).sources[1].quality < 1.0
