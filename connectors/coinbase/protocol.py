"""Coinbase's market stream as events: pure, no clock, no socket.

Owns the meaning of market frames, the sequence rule, which subscriptions are confirmed and what is asked to resync.
Does not connect, sign or wait; ``feed`` does.  The user stream is read by
``user_protocol``, orders are written by ``orders``.

Sequence rule (venue's WebSocket overview, "sequence numbers"): ``sequence_num`` counts 0, 1, 2... per connection over
all channels.  A number above the expected one means that messages were dropped: a ``Gap`` is reported and every
level2 book is invalid until its next snapshot.  A number below it is out of order and ignored.  A message that cannot
be read does not advance the count, so that the next one reports the hole it left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from connectors.coinbase import market_wire
from connectors.coinbase.wire import NS_PER_S, TimeParser
from engine.events import (
    Bar,
    BookDelta,
    BookSnapshot,
    FeedUp,
    Gap,
    InputEvent,
    InstrumentStatus,
    Quote,
    Trade,
    TradingStatus,
)

MAX_FRAME_BYTES = 10 * 1024 * 1024
"""The venue's own client closes above this; a larger frame is counted and not read."""
RECENT_TRADES = 1024
"""Trade ids remembered per product, against a trade told twice around a resubscription."""
CANDLE_S = 300
"""Length of the candles of the stream."""
_TIMES_END_S = 1 << 33

_NAN = float("nan")
_ACK_NAMES = {"l2_data": "level2"}
_STATUS = {"online": TradingStatus.TRADING, "offline": TradingStatus.HALTED, "delisted": TradingStatus.HALTED}
_TICKER_PREFIX = b'{"channel":"ticker",'
_TRADES_PREFIX = b'{"channel":"market_trades",'
_LEVELS_PREFIX = b'{"channel":"l2_data",'


class Counters(msgspec.Struct):
    """What was dropped, by kind; each is a defect of the stream, none is fatal."""

    frames: int = 0
    malformed: int = 0
    oversize: int = 0
    unknown_channel: int = 0
    unknown_product: int = 0
    out_of_order: int = 0
    gaps: int = 0
    duplicate_trades: int = 0
    snapshot_trades: int = 0
    venue_errors: int = 0
    book_not_ready: int = 0


class StreamProtocol:
    """What the market and the user stream share: framing checks, the sequence rule and subscription acks.

    ``wanted`` is what must be confirmed before the stream counts as up: ``(channel, product_id)`` pairs, product empty
    where any product of the channel will do.
    """

    def __init__(self, venue: str, stream: str, wanted: Iterable[tuple[str, str]]) -> None:
        self.venue = venue
        self.stream = stream
        self.wanted = frozenset(wanted)
        self.confirmed: frozenset[tuple[str, str]] = frozenset()
        self.up = False
        self.counters = Counters()
        self.last_error = ""
        """The venue's last error text on this connection; empty when it sent none."""
        self.resync_wanted = False
        """State that the lost messages could have changed must be read anew.  The feed clears it when it asked."""
        self._next_seq = -1
        self._time = TimeParser().parse

    def reset(self) -> None:
        """A new connection: counts and confirmations start over."""
        self.confirmed = frozenset()
        self.up = False
        self.last_error = ""
        self.resync_wanted = False
        self._next_seq = -1

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]:
        """Events of one text frame.  Never raises: what cannot be read is counted and yields nothing."""
        self.counters.frames += 1
        if len(frame) > MAX_FRAME_BYTES:
            self.counters.oversize += 1
            return ()
        events: list[InputEvent] = []
        try:
            self._dispatch(frame if isinstance(frame, bytes) else bytes(frame), recv_ns, events)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError, RecursionError):
            self.counters.malformed += 1
        return events

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        raise NotImplementedError

    def _sequence(self, seq: int, recv_ns: int, events: list[InputEvent]) -> bool:
        """Apply the sequence rule; False when the message is to be ignored."""
        expected = self._next_seq
        if seq == expected or expected < 0:
            self._next_seq = seq + 1
            return True
        if seq < expected:
            self.counters.out_of_order += 1
            return False
        self.counters.gaps += 1
        events.append(Gap(recv_ns, recv_ns, self.venue, "", expected, seq))
        self._next_seq = seq + 1
        self._on_gap()
        return True

    def _on_gap(self) -> None:
        """A subclass invalidates what the lost messages could have changed."""

    def _acknowledge(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = market_wire.decode_subscriptions(frame)
        if not self._sequence(message.sequence_num, recv_ns, events):
            return
        confirmed: set[tuple[str, str]] = set()
        for event in message.events:
            for name, products in event.subscriptions.items():
                channel = _ACK_NAMES.get(name, name)
                confirmed.add((channel, ""))
                confirmed.update((channel, product) for product in products)
        self.confirmed = frozenset(confirmed)
        self._check_up(recv_ns, events)

    def _ready(self) -> bool:
        return self.wanted <= self.confirmed

    def _check_up(self, recv_ns: int, events: list[InputEvent]) -> None:
        if not self.up and self._ready():
            self.up = True
            events.append(FeedUp(recv_ns, recv_ns, self.venue, self.stream))

    def _other(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """Channels without data of ours: errors, heartbeats, and whatever the venue invents next."""
        envelope = market_wire.decode_envelope(frame)
        if envelope.type == "error":
            self.counters.venue_errors += 1
            self.last_error = envelope.message[:200] or "error without text"
            return
        if envelope.channel == "subscriptions":
            self._acknowledge(frame, recv_ns, events)
            return
        if envelope.sequence_num < 0:
            self.counters.malformed += 1
            return
        if not self._sequence(envelope.sequence_num, recv_ns, events):
            return
        if envelope.channel != "heartbeats":
            self.counters.unknown_channel += 1


class CoinbaseMarketProtocol(StreamProtocol):
    """Market frames to quotes, trades, books and states.

    ``products`` maps the venue's product id to the canonical instruments that it feeds; more than one where books are
    shared (data for BTC-USDC comes labelled BTC-USD).  ``listed`` maps instruments to their own product ids, by which
    the status channel names them.  ``channels`` are the subscribed ones: with ``level2`` the book makes the quotes, so
    tickers yield none, and batched tickers yield some where nothing else does.
    """

    def __init__(
        self,
        venue: str,
        products: Mapping[str, tuple[str, ...]],
        channels: Sequence[str],
        *,
        listed: Mapping[str, str] | None = None,
    ) -> None:
        wanted = [(c, "") if c in ("heartbeats", "status") else (c, p) for c in channels for p in products]
        super().__init__(venue, "market", wanted)
        self._products = dict(products)
        self._listed: dict[str, tuple[str, ...]] = dict(products)
        if listed is not None:
            self._listed = {p: tuple(i for i, own in listed.items() if own == p) for p in listed.values()}
        self._quotes_from_ticker = "level2" not in channels
        self._quotes_from_batch = self._quotes_from_ticker and "ticker" not in channels
        self._candles_open: dict[str, market_wire.StreamCandle] = {}
        self._recent: dict[str, tuple[deque[str], set[str]]] = {p: (deque(), set()) for p in products}
        self._book_ready: set[str] = set()

    def reset(self) -> None:
        super().reset()
        self._book_ready.clear()

    def _on_gap(self) -> None:
        self._candles_open.clear()  # a change of one may be among what was lost
        if not self._quotes_from_ticker:
            self._book_ready.clear()
            self.resync_wanted = True

    def label_of(self, instrument: str) -> str:
        """The product whose messages are about an instrument; empty when none is."""
        return next((label for label, ids in self._products.items() if instrument in ids), "")

    def forget_book(self, label: str, recv_ns: int) -> list[InputEvent]:
        """The product's book is wrong although no message was missed: nothing of it counts until its next snapshot."""
        self._book_ready.discard(label)
        return [Gap(recv_ns, recv_ns, self.venue, instrument, 0, 0) for instrument in self._products.get(label, ())]

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        if frame.startswith(_TICKER_PREFIX):
            self._tickers(frame, recv_ns, events)
        elif frame.startswith(_TRADES_PREFIX):
            self._trades(frame, recv_ns, events)
        elif frame.startswith(_LEVELS_PREFIX):
            self._levels(frame, recv_ns, events)
        else:
            # Members may come in any order: only now it costs a look at the whole message.
            channel = market_wire.decode_envelope(frame).channel
            if channel == "ticker":
                self._tickers(frame, recv_ns, events)
            elif channel == "market_trades":
                self._trades(frame, recv_ns, events)
            elif channel == "l2_data":
                self._levels(frame, recv_ns, events)
            elif channel == "ticker_batch":
                self._ticker_batch(frame, recv_ns, events)
            elif channel == "candles":
                self._candles(frame, recv_ns, events)
            elif channel == "status":
                self._statuses(frame, recv_ns, events)
            else:
                self._other(frame, recv_ns, events)

    # --- channels -----------------------------------------------------------------------------------------------

    def _tickers(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        try:
            message = market_wire.decode_ticker(frame)
        except msgspec.ValidationError:
            self._loose_tickers(frame, recv_ns, events)
            return
        seq = message.sequence_num
        if seq == self._next_seq:  # the common case of _sequence, without the call
            self._next_seq = seq + 1
        elif not self._sequence(seq, recv_ns, events):
            return
        if not self._quotes_from_ticker:
            return
        ts_ns = self._time(message.timestamp) or recv_ns
        for event in message.events:
            for t in event.tickers:
                for instrument in self._products.get(t.product_id) or self._unknown():
                    events.append(  # noqa: PERF401 -- one item in the common case: a comprehension costs more
                        Quote(
                            ts_ns, recv_ns, instrument, t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity
                        )
                    )

    def _loose_tickers(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """A side of the book is empty: its price is not known (NaN), which is a fact that blocks entries."""
        message = market_wire.decode_loose_ticker(frame)
        if not self._sequence(message.sequence_num, recv_ns, events) or not self._quotes_from_ticker:
            return
        ts_ns = self._time(message.timestamp) or recv_ns
        for event in message.events:
            for t in event.tickers:
                numbers = [_number(x) for x in (t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)]
                instruments = self._products.get(t.product_id) or self._unknown()
                events.extend(Quote(ts_ns, recv_ns, instrument, *numbers) for instrument in instruments)

    def _ticker_batch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """Every five seconds.  The live feed leaves the best prices out: what is not told is no quote, least of all
        one that nothing is known of."""
        message = market_wire.decode_loose_ticker(frame)
        if not self._sequence(message.sequence_num, recv_ns, events) or not self._quotes_from_batch:
            return
        ts_ns = self._time(message.timestamp) or recv_ns
        for event in message.events:
            for t in event.tickers:
                instruments = self._products.get(t.product_id) or self._unknown()
                if t.best_bid or t.best_ask:
                    numbers = [_number(x) for x in (t.best_bid, t.best_bid_quantity, t.best_ask, t.best_ask_quantity)]
                    events.extend(Quote(ts_ns, recv_ns, instrument, *numbers) for instrument in instruments)

    def _candles(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """A candle is told each second while it lasts, and is over when a later one is told.

        A snapshot's past is no event of this session, unless it ended while this connection was away.
        """
        message = market_wire.decode_candles(frame)
        if not self._sequence(message.sequence_num, recv_ns, events):
            return
        for event in message.events:
            fresh = {c.product_id for c in event.candles if c.product_id not in self._candles_open}
            for candle in sorted(event.candles, key=lambda one: one.start):
                instruments = self._products.get(candle.product_id) or self._unknown()
                open_one = self._candles_open.get(candle.product_id)
                if not instruments or not 0 < candle.start < _TIMES_END_S:
                    continue
                if open_one is not None and candle.start < open_one.start:
                    continue
                if open_one is not None and candle.start > open_one.start and candle.product_id not in fresh:
                    events.extend(_bar(open_one, instrument, recv_ns) for instrument in instruments)
                self._candles_open[candle.product_id] = candle

    def _trades(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = market_wire.decode_trades(frame)
        if not self._sequence(message.sequence_num, recv_ns, events):
            return
        for event in message.events:
            history = event.type == "snapshot"
            for trade in reversed(event.trades):  # the venue lists the newest first
                instruments = self._products.get(trade.product_id) or self._unknown()
                if not instruments or not self._is_new(trade.product_id, trade.trade_id):
                    continue
                if history:
                    # Told on each subscription: trades from before we listened are not events of this session.
                    self.counters.snapshot_trades += 1
                    continue
                aggressor = -1 if trade.side == "BUY" else 1 if trade.side == "SELL" else 0
                ts_ns = self._time(trade.time) or recv_ns
                for instrument in instruments:
                    events.append(  # noqa: PERF401
                        Trade(ts_ns, recv_ns, instrument, trade.price, trade.size, aggressor, trade.trade_id)
                    )

    def _levels(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = market_wire.decode_levels(frame)
        if not self._sequence(message.sequence_num, recv_ns, events):
            return
        ts_ns = self._time(message.timestamp) or recv_ns
        for event in message.events:
            product = event.product_id
            instruments = self._products.get(product) or self._unknown()
            if not instruments:
                continue
            if event.type == "snapshot":
                self._book_ready.add(product)
                levels = [(u.side, u.price_level, u.new_quantity) for u in event.updates if u.new_quantity > 0.0]
                bids = tuple(sorted(((px, qty) for side, px, qty in levels if side == "bid"), reverse=True))
                asks = tuple(sorted((px, qty) for side, px, qty in levels if side != "bid"))
                events.extend(BookSnapshot(ts_ns, recv_ns, i, bids, asks) for i in instruments)
            elif product in self._book_ready:
                changes = tuple((1 if u.side == "bid" else -1, u.price_level, u.new_quantity) for u in event.updates)
                events.extend(BookDelta(ts_ns, recv_ns, i, changes) for i in instruments)
            else:
                self.counters.book_not_ready += 1

    def _statuses(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = market_wire.decode_status(frame)
        if not self._sequence(message.sequence_num, recv_ns, events):
            return
        ts_ns = self._time(message.timestamp) or recv_ns
        for event in message.events:
            for product in event.products:
                status = _STATUS.get(product.status, TradingStatus.UNKNOWN)
                instruments = self._listed.get(product.id, ())
                events.extend(InstrumentStatus(ts_ns, recv_ns, i, status) for i in instruments)

    # --- helpers ------------------------------------------------------------------------------------------------

    def _unknown(self) -> tuple[str, ...]:
        self.counters.unknown_product += 1
        return ()

    def _is_new(self, product: str, trade_id: str) -> bool:
        order, seen = self._recent[product]
        if trade_id in seen:
            self.counters.duplicate_trades += 1
            return False
        seen.add(trade_id)
        order.append(trade_id)
        if len(order) > RECENT_TRADES:
            seen.discard(order.popleft())
        return True


def _bar(c: market_wire.StreamCandle, instrument: str, recv_ns: int) -> Bar:
    end_ns = (c.start + CANDLE_S) * NS_PER_S
    return Bar(end_ns, recv_ns, instrument, CANDLE_S * NS_PER_S, c.open, c.high, c.low, c.close, c.volume)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return _NAN
