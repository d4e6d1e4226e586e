"""Kraken's answers to requests, spot and futures: what counts as one, and what they say of the market.

Owns the shapes of answers about the market.  Answers about the account (orders, balances, fills) are known by their
envelope and not read: orders go through another connector.  Source: Kraken REST API, Kraken Futures REST API.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from connectors.market_stream import CalendarTime


class Spot(msgspec.Struct):
    """``{"error":[],"result":{...}}``; every answer of spot, refusals with their codes in ``error``."""

    error: list[str]
    result: msgspec.Raw = msgspec.Raw()


class Pair(msgspec.Struct):
    """The rules of a pair: decimals of price and size, smallest order."""

    base: str
    quote: str
    pair_decimals: int
    lot_decimals: int
    altname: str = ""
    wsname: str = ""
    ordermin: str = "0"
    costmin: str = "0"
    tick_size: str = "0"
    status: str = "online"


class BestPrices(msgspec.Struct):
    """``a`` and ``b``: price, whole lots, size."""

    ask: tuple[float, float, float] = msgspec.field(name="a")
    bid: tuple[float, float, float] = msgspec.field(name="b")
    last: tuple[float, float] = msgspec.field(name="c")


class Depth(msgspec.Struct):
    asks: list[tuple[float, float, float]]
    bids: list[tuple[float, float, float]]


class Contract(msgspec.Struct):
    """A contract's rules; an index has a name only."""

    symbol: str
    type: str = ""
    tick_size: float = msgspec.field(name="tickSize", default=0.0)
    contract_size: float = msgspec.field(name="contractSize", default=0.0)
    tradeable: bool = False


class Contracts(msgspec.Struct):
    instruments: list[Contract]


class FuturesCandle(msgspec.Struct):
    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class FuturesCandles(msgspec.Struct):
    candles: list[FuturesCandle]
    more_candles: bool = False


class FuturesDepth(msgspec.Struct):
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class FuturesBook(msgspec.Struct):
    book: FuturesDepth = msgspec.field(name="orderBook")


class FuturesTicker(msgspec.Struct):
    """An index has neither bid nor ask."""

    symbol: str
    bid: float | None = None
    ask: float | None = None
    last: float | None = None


class FuturesTickers(msgspec.Struct):
    tickers: list[FuturesTicker]


class FundingRate(msgspec.Struct):
    timestamp: CalendarTime
    rate: float = msgspec.field(name="fundingRate")
    relative: float = msgspec.field(name="relativeFundingRate")


class FundingRates(msgspec.Struct):
    rates: list[FundingRate]


class Execution(msgspec.Struct):
    uid: str
    timestamp: int


class Executions(msgspec.Struct):
    elements: list[Execution]


_SpotTrade = tuple[float, float, float, str, str, str, int]
_SpotCandle = tuple[int, float, float, float, float, float, float, int]
_SPOT: Final[dict[str, Any]] = {
    "AssetPairs": dict[str, Pair],
    "Ticker": dict[str, BestPrices],
    "Depth": dict[str, Depth],
    "Trades": dict[str, list[_SpotTrade] | str],
    "OHLC": dict[str, list[_SpotCandle] | int],
    "Time": dict[str, int | str],
    "SystemStatus": dict[str, str],
}
_FUTURES: Final[dict[str, Any]] = {
    "instruments": Contracts,
    "orderbook": FuturesBook,
    "tickers": FuturesTickers,
    "charts": FuturesCandles,
    "historical-funding-rates": FundingRates,
    "executions": Executions,
}
_DECODERS: Final = {name: msgspec.json.Decoder(kind, strict=False) for name, kind in (_SPOT | _FUTURES).items()}
_decode_spot = msgspec.json.Decoder(Spot).decode


def read_answer(endpoint: str, body: bytes) -> Any:
    """An answer about the market, typed: spot's ``AssetPairs Ticker Depth Trades OHLC Time SystemStatus``, futures'
    ``instruments orderbook tickers charts historical-funding-rates executions``.

    None for an answer of another endpoint.  Raises ``msgspec.DecodeError`` for a body that is none of that endpoint;
    a refusal of the venue's is None as well.
    """
    decoder = _DECODERS.get(endpoint)
    if decoder is None:
        return None
    if endpoint in _SPOT:
        answer = _decode_spot(body)
        return None if answer.error else decoder.decode(answer.result)
    return decoder.decode(body)


def is_good_answer(url: str, body: bytes) -> bool:
    """Whether a body is an answer of the endpoint that ``url`` names, or, of an endpoint about the account, has the
    envelope of one.  Raises ``msgspec.DecodeError`` where it is not JSON or not of that shape."""
    endpoints = [part for part in url.partition("?")[0].split("/") if part in _DECODERS]
    if endpoints:
        read_answer(endpoints[-1], body)
        return True
    envelope = msgspec.json.decode(body)
    if not isinstance(envelope, dict):
        return False
    return (
        (isinstance(envelope.get("error"), list) and "result" in envelope)
        or "serverTime" in envelope
        or (envelope.get("result") in ("success", "error"))
    )
