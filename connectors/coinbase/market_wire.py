"""The messages of Coinbase's market streams as typed structs, and their decoders; the envelope of all streams.

Owns shapes and number kinds: float64.  Does not decide what a message means (``protocol``) and does no I/O.  Fields
that we do not use are not declared: the decoder skips them without making objects.  Everything the venue may leave out
has a default.  Messages about an account are ``wire``.

Source: Coinbase Advanced Trade API, WebSocket channels (docs.cdp.coinbase.com/advanced-trade).
"""

from __future__ import annotations

import msgspec

_NAN = float("nan")


class Ticker(msgspec.Struct, gc=False):
    """``{"type":"ticker","product_id":"BTC-USD","price":"61234.55","best_bid":"61234.54","best_bid_quantity":"0.5",
    "best_ask":"61234.56","best_ask_quantity":"0.4",...}``.  Quantities are absent on older feeds: NaN."""

    # In the order of the message: the decoder expects the next one next.
    product_id: str
    best_bid: float = _NAN
    best_bid_quantity: float = _NAN
    best_ask: float = _NAN
    best_ask_quantity: float = _NAN


class TickerEvent(msgspec.Struct, gc=False):
    tickers: list[Ticker]


class TickerMessage(msgspec.Struct, gc=False):
    """``{"channel":"ticker","client_id":"","timestamp":"2026-11-20T14:03:07.123456789Z","sequence_num":0,
    "events":[{"type":"update","tickers":[...]}]}``."""

    timestamp: str
    sequence_num: int
    events: list[TickerEvent]


class LooseTicker(msgspec.Struct, gc=False):
    """A ticker whose numbers are not numbers, as when a side of the book is empty: ``"best_bid":""``."""

    product_id: str
    best_bid: str = ""
    best_ask: str = ""
    best_bid_quantity: str = ""
    best_ask_quantity: str = ""


class LooseTickerEvent(msgspec.Struct, gc=False):
    tickers: list[LooseTicker]


class LooseTickerMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[LooseTickerEvent]


class MarketTrade(msgspec.Struct, gc=False):
    """``{"trade_id":"9001","product_id":"BTC-USD","price":"61234.55","size":"0.01","side":"BUY",
    "time":"2026-11-20T14:03:07.1Z"}``; ``side`` is the MAKER's."""

    trade_id: str
    product_id: str
    price: float
    size: float
    side: str = ""
    time: str = ""


class TradesEvent(msgspec.Struct, gc=False):
    trades: list[MarketTrade]
    type: str = "update"


class TradesMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[TradesEvent]


class LevelUpdate(msgspec.Struct, gc=False):
    """``{"side":"bid","event_time":"2026-11-20T14:03:07.1Z","price_level":"61234.54","new_quantity":"0.5"}``;
    ``side`` is ``bid`` or ``offer``; the quantity is absolute and "0" removes the level."""

    side: str
    price_level: float
    new_quantity: float


class LevelsEvent(msgspec.Struct, gc=False):
    type: str
    product_id: str
    updates: list[LevelUpdate]


class LevelsMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[LevelsEvent]


class StreamCandle(msgspec.Struct, gc=False):
    """``{"start":"1795183200","high":"61300","low":"61200","open":"61210","close":"61234.55","volume":"12.5",
    "product_id":"BTC-USD"}``: five minutes from ``start`` (unix seconds), told each second until they are over."""

    product_id: str
    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class CandlesEvent(msgspec.Struct, gc=False):
    candles: list[StreamCandle]
    type: str = "update"


class CandlesMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[CandlesEvent]


class StatusProduct(msgspec.Struct, gc=False):
    """``{"id":"BTC-USD","status":"online","status_message":"",...}``."""

    id: str
    status: str = ""


class StatusEvent(msgspec.Struct, gc=False):
    products: list[StatusProduct] = []


class StatusMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[StatusEvent]


class SubscriptionsEvent(msgspec.Struct, gc=False):
    """``{"subscriptions":{"ticker":["BTC-USD"],"heartbeats":["heartbeats"]}}``: the complete set after each change."""

    subscriptions: dict[str, list[str]] = {}


class SubscriptionsMessage(msgspec.Struct, gc=False):
    sequence_num: int
    events: list[SubscriptionsEvent]
    timestamp: str = ""


class Envelope(msgspec.Struct, gc=False):
    """What every message has, errors included: ``{"type":"error","message":"authentication failure"}``."""

    channel: str = ""
    type: str = ""
    message: str = ""
    sequence_num: int = -1
    timestamp: str = ""


# Lax: the venue writes numbers as strings.
decode_ticker = msgspec.json.Decoder(TickerMessage, strict=False).decode
decode_loose_ticker = msgspec.json.Decoder(LooseTickerMessage, strict=False).decode
decode_trades = msgspec.json.Decoder(TradesMessage, strict=False).decode
decode_levels = msgspec.json.Decoder(LevelsMessage, strict=False).decode
decode_candles = msgspec.json.Decoder(CandlesMessage, strict=False).decode
decode_status = msgspec.json.Decoder(StatusMessage, strict=False).decode
decode_subscriptions = msgspec.json.Decoder(SubscriptionsMessage, strict=False).decode
decode_envelope = msgspec.json.Decoder(Envelope, strict=False).decode
