"""The messages of Binance's spot and USD-M market streams as typed structs, and their decoders.

Owns shapes and number kinds (float64).  Does not decide what a message means (``protocol``, ``depth``), does no I/O.
Fields that we do not use are not declared: the decoder skips them without making objects.

Source: Binance spot API and USD-M futures API, WebSocket market streams and ``GET depth``.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec
from msgspec import field

_NS_PER_MS = 1_000_000
MICROSECONDS_FROM = 100_000_000_000_000
"""Larger times are microseconds: of a spot connection that was asked for them."""

Level = tuple[float, float]
Data = TypeVar("Data")


class BookTicker(msgspec.Struct, gc=False):
    """``{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21","a":"25.36520000","A":"40.66"}``; futures add
    ``"e":"bookTicker"`` and the times ``T`` (of the trade) and ``E`` (of the message), milliseconds."""

    symbol: str = field(name="s")
    bid_px: float = field(name="b")
    bid_qty: float = field(name="B")
    ask_px: float = field(name="a")
    ask_qty: float = field(name="A")
    update_id: int = field(name="u")
    time: int = field(name="T", default=0)


class Trade(msgspec.Struct, gc=False):
    """``{"e":"trade","E":...,"s":"BNBUSDT","t":12345,"p":"0.001","q":"100","T":...,"m":true}``; ``m``: the buyer is
    the maker.  Futures add ``X``: ``MARKET``, or what was no trade in the book (``INSURANCE_FUND``, ``ADL``)."""

    symbol: str = field(name="s")
    id: int = field(name="t")
    px: float = field(name="p")
    qty: float = field(name="q")
    time: int = field(name="T")
    buyer_is_maker: bool = field(name="m")
    kind: str = field(name="X", default="MARKET")


class AggTrade(msgspec.Struct, gc=False):
    """``{"e":"aggTrade","E":...,"s":"BNBUSDT","a":5933014,"p":"0.001","q":"100","f":100,"l":105,"T":...,"m":true}``:
    what one order took at one price."""

    symbol: str = field(name="s")
    id: int = field(name="a")
    px: float = field(name="p")
    qty: float = field(name="q")
    time: int = field(name="T")
    buyer_is_maker: bool = field(name="m")


class DepthUpdate(msgspec.Struct, gc=False):
    """``{"e":"depthUpdate","E":...,"s":"BNBUSDT","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","0"]]}``;
    futures add ``T`` and ``pu``, the ``u`` of the stream's message before.  Sizes are absolute, 0 removes."""

    symbol: str = field(name="s")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    sent: int = field(name="E")
    time: int = field(name="T", default=0)
    previous_id: int = field(name="pu", default=-1)


class PartialDepth(msgspec.Struct, gc=False):
    """Spot's ``<symbol>@depth<5|10|20>`` and both venues' ``GET depth``; futures' answer has ``E`` and ``T``.

    ``{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}``
    """

    last_id: int = field(name="lastUpdateId")
    bids: list[Level]
    asks: list[Level]
    sent: int = field(name="E", default=0)
    time: int = field(name="T", default=0)


class Candle(msgspec.Struct, gc=False):
    """``t`` to ``T`` are its first and last millisecond, ``x`` says that it is finished, ``v`` is base volume."""

    first: int = field(name="t")
    last: int = field(name="T")
    open_px: float = field(name="o")
    high_px: float = field(name="h")
    low_px: float = field(name="l")
    close_px: float = field(name="c")
    volume_qty: float = field(name="v")
    finished: bool = field(name="x")


class Kline(msgspec.Struct, gc=False):
    """``{"e":"kline","E":...,"s":"BNBBTC","k":{"t":...,"T":...,"i":"1m","o":"0.0010",...,"x":false,...}}``."""

    symbol: str = field(name="s")
    candle: Candle = field(name="k")


class MarkPrice(msgspec.Struct, gc=False):
    """``{"e":"markPriceUpdate","E":...,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"11784.25","r":"0.00038167",
    "T":1562306400000}``: mark, index, funding rate and when it is paid next; ``r`` is empty for a dated future."""

    symbol: str = field(name="s")
    sent: int = field(name="E")
    mark_px: float = field(name="p")
    index_px: str = field(name="i", default="")
    funding_rate: str = field(name="r", default="")
    funding_time: int = field(name="T", default=0)


class Liquidation(msgspec.Struct, gc=False):
    """``{"e":"forceOrder","E":...,"o":{...}}``: read for its shape only, a trade of it comes as a trade."""

    sent: int = field(name="E")


class Combined(msgspec.Struct, Generic[Data], gc=False):
    """``{"stream":"btcusdt@trade","data":{...}}``."""

    data: Data


class VenueError(msgspec.Struct, gc=False):
    code: int = 0
    msg: str = ""


class Envelope(msgspec.Struct, gc=False):
    """What tells kinds of messages apart, answers to requests included: ``{"result":null,"id":1}``,
    ``{"error":{"code":2,"msg":"Invalid request"},"id":1}`` and, older, ``{"code":2,"msg":"...","id":1}``."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    type: str = field(name="e", default="")
    update_id: int | None = field(name="u", default=None)
    last_update_id: int | None = field(name="lastUpdateId", default=None)
    id: int | str | None = None
    result: list[str] | None = None
    error: VenueError | None = None
    code: int | None = None
    msg: str = ""


# Lax: the venue writes numbers as strings.
decode_book_ticker = msgspec.json.Decoder(BookTicker, strict=False).decode
decode_trade = msgspec.json.Decoder(Trade, strict=False).decode
decode_agg_trade = msgspec.json.Decoder(AggTrade, strict=False).decode
decode_depth_update = msgspec.json.Decoder(DepthUpdate, strict=False).decode
decode_partial_depth = msgspec.json.Decoder(PartialDepth, strict=False).decode
decode_kline = msgspec.json.Decoder(Kline, strict=False).decode
decode_mark_price = msgspec.json.Decoder(MarkPrice, strict=False).decode
decode_liquidation = msgspec.json.Decoder(Liquidation, strict=False).decode
decode_envelope = msgspec.json.Decoder(Envelope, strict=False).decode

decode_combined_book_ticker = msgspec.json.Decoder(Combined[BookTicker], strict=False).decode
decode_combined_trade = msgspec.json.Decoder(Combined[Trade], strict=False).decode
decode_combined_agg_trade = msgspec.json.Decoder(Combined[AggTrade], strict=False).decode
decode_combined_depth_update = msgspec.json.Decoder(Combined[DepthUpdate], strict=False).decode

encode_json = msgspec.json.Encoder().encode


def time_ns(time: int) -> int:
    """A time of the venue (milliseconds, or microseconds where they were asked for) as UTC nanoseconds."""
    return time * _NS_PER_MS if time < MICROSECONDS_FROM else time * 1000
