"""Parsers of market streams: no message whatever raises, any split of the bytes gives the same events, and a book of
changes that arrive late, twice, or not at all is the venue's book or no book."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.binance.depth import WAITING_MAX, Alignment
from connectors.market_stream import MarketStream
from engine import codec
from engine.book import OrderBook
from engine.events import BookDelta, BookSnapshot, Gap, InputEvent
from tests.support.mutated import fed, mutate, reshape
from tests.support.streams import MESSAGES, binance, depth, fresh, snapshot
from tests.support.ws_contract import frame as ws_frame

ALL = [(name, message) for name, messages in MESSAGES.items() for message in messages]


def read(parser: MarketStream, messages: list[bytes]) -> list[InputEvent]:
    return [event for message in messages for event in parser.receive_frame(message, 7)]


@pytest.mark.parametrize("name", MESSAGES)
def test_the_messages_that_are_mutated_below_are_good_ones(name: str) -> None:
    """None of them is unknown or malformed, and each venue's make events: mutating them means something."""
    parser = fresh(name)
    assert read(parser, MESSAGES[name])
    assert parser.counters.malformed == parser.counters.unknown_message == parser.counters.unknown_product == 0


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(MESSAGES)), st.lists(st.integers(1, 300), min_size=1, max_size=40))
def test_any_split_of_the_byte_stream_gives_the_same_events(name: str, sizes: list[int]) -> None:
    """Messages on the wire, cut at arbitrary places and fed to the real transport, against the messages whole."""
    messages = MESSAGES[name]
    stream = b"".join(ws_frame(1, message) for message in messages)
    frames = fed(stream, sizes)
    assert frames == messages
    split, whole = read(fresh(name), frames), read(fresh(name), messages)
    assert [codec.encode(event) for event in split] == [codec.encode(event) for event in whole]


@st.composite
def mutated(draw: Any) -> tuple[str, bytes]:
    name, message = draw(st.sampled_from(ALL))
    return name, mutate(draw, message)


@st.composite
def reshaped(draw: Any) -> tuple[str, bytes]:
    """A good message with one member, at any depth, replaced by an arbitrary value or removed."""
    name, text = draw(st.sampled_from(ALL))
    return name, reshape(draw, text)


@pytest.mark.fault("C12", "C13")
@settings(deadline=None, max_examples=150)
@given(st.lists(mutated() | reshaped(), min_size=1, max_size=4), st.booleans())
def test_no_message_raises_and_what_it_yields_can_be_journaled(messages: list[tuple[str, bytes]], answer: bool) -> None:
    """Bytes flipped, cut, inserted and repeated, members replaced and removed, on the stream and as the answer to a
    request, after a good beginning; a new connection works as ever."""
    for name, message in messages:
        parser = fresh(name)
        read(parser, MESSAGES[name][:2])
        urls = [f"https://host/{path}" for path in ("depth?symbol=BTCUSDT", "order_book/btcusd", "AssetPairs", "x")]
        told = [*parser.receive_frame(message, 7)]
        for url in urls if answer else ():
            told += parser.receive_answer(url, message, 7)
        for event in told:
            assert codec.encode(codec.decode(codec.encode(event))) == codec.encode(event)
        parser.reset()
        assert read(parser, MESSAGES[name]) or parser.counters.duplicate_trades


# --- Binance's books ------------------------------------------------------------------------------------------------

PRICES = [f"{px}.0" for px in range(90, 110)]
Change = tuple[int, int, int, list[tuple[str, str, str]]]


@st.composite
def histories(draw: Any) -> list[Change]:
    """What a venue tells: first id, last id, the last id before, levels.  Futures' ids have holes."""
    made: list[Change] = []
    last = draw(st.integers(1, 50))
    for _ in range(draw(st.integers(3, 25))):
        previous = last
        first = previous + draw(st.integers(1, 4))
        last = first + draw(st.integers(0, 3))
        levels = draw(
            st.lists(
                st.tuples(st.just("bid"), st.sampled_from(PRICES[:10]), st.sampled_from(["0", "1.5", "2.25"]))
                | st.tuples(st.just("ask"), st.sampled_from(PRICES[10:]), st.sampled_from(["0", "1.5", "2.25"])),
                max_size=4,
            )
        )
        made.append((first, last, previous, levels))
    return made


def truth(changes: list[Change], upto: int) -> tuple[dict[str, str], dict[str, str]]:
    sides: dict[str, dict[str, str]] = {"bid": {"90.0": "9"}, "ask": {"109.0": "9"}}
    for _, last, _, levels in changes:
        if last <= upto:
            for side, px, qty in levels:
                if qty == "0":
                    sides[side].pop(px, None)
                else:
                    sides[side][px] = qty
    return sides["bid"], sides["ask"]


@settings(deadline=None, max_examples=50)
@given(histories(), st.sampled_from(["binance_spot", "binance_usdm"]), st.data())
def test_a_book_is_the_venues_book_at_its_last_id_or_no_book(changes: list[Change], venue: str, data: Any) -> None:
    """Changes told in order, some lost, some twice; snapshots of any moment arrive when one is asked for, some late,
    some too old.  Whenever the parser stands by a book, its levels are those that the venue had at that id; a loss is
    a gap at the next change, never a silent one; and in the end a fresh snapshot always brings the book back."""
    if venue == "binance_spot":  # spot's ids have no holes
        start = changes[0][0]
        spans = [last - first for first, last, _, _ in changes]
        firsts = [start + sum(spans[:i]) + i for i in range(len(spans))]
        changes = [(f, f + s, f - 1, each[3]) for f, s, each in zip(firsts, spans, changes, strict=True)]
    parser = binance(venue)
    instrument = f"BTC/USDT@{venue}"
    book = OrderBook(instrument)
    alignment: Alignment | None = None

    def take(events: Any) -> None:
        for event in events:
            if isinstance(event, Gap):
                book.invalidate()
            elif isinstance(event, BookSnapshot):
                book.apply_snapshot(event)
            elif isinstance(event, BookDelta):
                book.apply_delta(event)

    def answer(upto: int) -> None:
        bids, asks = ([[px, qty] for px, qty in side.items()] for side in truth(changes, upto))
        take(parser.receive_answer("https://host/depth?symbol=BTCUSDT", snapshot(upto, bids, asks), 7))

    def tell(change: Change) -> None:
        first, last, previous, levels = change
        take(parser.receive_frame(depth(first, last, *levels, previous=None if spot else previous), 7))

    spot = venue == "binance_spot"
    for at, change in enumerate(changes):
        for _ in range(data.draw(st.sampled_from([1, 1, 1, 1, 0, 2]))):
            tell(change)
        if parser.snapshots_wanted and data.draw(st.booleans()):
            answer(data.draw(st.sampled_from([each[1] for each in changes[max(0, at - 4) : at + 2]])))
        alignment = parser._books.get("BTCUSDT")
        assert book.has_levels == (alignment is not None and alignment.last_id >= 0)
        if book.has_levels and alignment is not None:
            _check(book, truth(changes, alignment.last_id))
    answer(changes[-1][1])
    if not book.has_levels:  # nothing was ever told
        return
    _check(book, truth(changes, changes[-1][1]))


def _check(book: OrderBook, expected: tuple[dict[str, str], dict[str, str]]) -> None:
    for side, levels in zip((1, -1), expected, strict=True):
        assert dict(book.levels(side, 100)) == {float(px): float(qty) for px, qty in levels.items()}


def test_what_waits_for_a_snapshot_is_bounded_and_too_old_a_snapshot_is_asked_for_again() -> None:
    """More changes than are kept: a snapshot of before the oldest of them is refused, one within them is taken."""
    parser = binance()
    for number in range(1, WAITING_MAX + 11):
        parser.receive_frame(depth(number, number, ("bid", "90.0", "1")), 7)
    assert parser.snapshots_wanted == {"BTCUSDT"}
    url = "https://host/depth?symbol=BTCUSDT"
    assert not parser.receive_answer(url, snapshot(5, [["89.0", "1"]], [["95.0", "1"]]), 7)
    assert parser.snapshots_wanted == {"BTCUSDT"}
    (event,) = parser.receive_answer(url, snapshot(11, [["89.0", "1"]], [["95.0", "1"]]), 7)
    assert isinstance(event, BookSnapshot)
    assert event.bids == ((90.0, 1.0), (89.0, 1.0))
