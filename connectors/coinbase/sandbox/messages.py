"""Channels of the streams: what a subscribe message says and how events become text.

Owns channel names, subscribe messages and snapshots.  Pure; sockets are ``stream``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from connectors.coinbase.sandbox import listings, queries, wire
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.times import at
from engine.errors import RemoteProtocolError
from engine.events import Side

MARKET_CHANNELS = frozenset({"ticker", "ticker_batch", "level2", "market_trades", "candles"})
PRIVATE_CHANNELS = frozenset({"user", "futures_balance_summary"})
OPTIONAL_PRODUCTS = frozenset({"heartbeats", "status"}) | PRIVATE_CHANNELS
CHANNELS = MARKET_CHANNELS | OPTIONAL_PRODUCTS
USER_HOST_CHANNELS = frozenset({"heartbeats"}) | PRIVATE_CHANNELS
WIRE_NAMES = {"level2": "l2_data"}
"""Channels whose messages carry another name than the subscription."""

_SNAPSHOT_DEPTH = 20_000
_SNAPSHOT_TRADES = 100
_USER_BATCH = 50
FIVE_MINUTES_S = 300


class ClientMessage(msgspec.Struct):
    """``{"type":"subscribe","channel":"level2","product_ids":["BTC-USD"],"jwt":"..."}``"""

    type: str
    channel: str = ""
    product_ids: list[str] | None = None
    jwt: str | None = None


_decode = msgspec.json.Decoder(ClientMessage).decode
_encode = msgspec.json.Encoder().encode


class BadMessage(RemoteProtocolError):  # noqa: N818 - a verdict on the peer's message
    """Answered with ``{"type":"error","message":...}``."""


def parse_message(text: str) -> ClientMessage:
    """Raises ``BadMessage`` for anything that is not a subscribe or unsubscribe of a known channel."""
    try:
        message = _decode(text.encode())
    except (msgspec.MsgspecError, UnicodeEncodeError):
        raise BadMessage("message could not be parsed") from None
    if message.type not in {"subscribe", "unsubscribe"}:
        raise BadMessage(f"unknown message type {message.type[:40]}")
    if message.channel not in CHANNELS:
        raise BadMessage(f"unknown channel {message.channel[:40]}")
    return message


def products_of(message: ClientMessage, exchange: Exchange) -> frozenset[str]:
    """Products named by a message under the labels that its events carry; empty means all.  Raises ``BadMessage``."""
    if message.channel in {"heartbeats", "futures_balance_summary"}:
        return frozenset()
    named = message.product_ids or []
    if not named and message.channel in MARKET_CHANNELS:
        raise BadMessage(f"channel {message.channel} needs product_ids")
    found = []
    for product_id in named:
        market = queries.market_of(exchange, product_id)
        if market is None:
            raise BadMessage(f"unknown product_id {product_id[:40]}")
        found.append(market.product.label if message.channel in MARKET_CHANNELS else market.product.product_id)
    return frozenset(found)


def events_json(events: Sequence[wire.Json]) -> str:
    return _encode(events).decode()


def envelope(channel: str, sequence: int, timestamp: str, events: str) -> str:
    """One message; ``events`` is already JSON, so that it is encoded once for all connections."""
    return (
        f'{{"channel":"{channel}","client_id":"","timestamp":"{timestamp}",'
        f'"sequence_num":{sequence},"events":{events}}}'
    )


def error(text: str) -> str:
    return _encode({"type": "error", "message": text}).decode()


def heartbeat(now_ns: int, counter: int, uptime_s: float) -> str:
    current = at(now_ns).replace("T", " ").removesuffix("Z")
    return events_json([{"current_time": f"{current} +0000 UTC m=+{uptime_s:.9f}", "heartbeat_counter": counter}])


def snapshots(exchange: Exchange, channel: str, products: frozenset[str]) -> list[list[wire.Json]]:
    """What a new subscription gets first: the events of one or more messages."""
    wanted = [exchange.markets[product_id] for product_id in exchange.markets if not products or product_id in products]
    if channel in {"ticker", "ticker_batch"}:
        with_quote = channel == "ticker"
        return [[{"type": "snapshot", "tickers": [wire.ticker(market, with_quote=with_quote) for market in wanted]}]]
    if channel == "level2":
        return [[book_snapshot(exchange, market.product.product_id)] for market in wanted]
    if channel == "market_trades":
        made = []
        for market in wanted:
            latest = market.tape.latest(_SNAPSHOT_TRADES)
            trades = [wire.trade(market.product.product_id, trade) for trade in latest]
            made.append([{"type": "snapshot", "trades": trades}])
        return made
    if channel == "candles":
        return [[{"type": "snapshot", "candles": candles(exchange, m.product.product_id, 100)}] for m in wanted]
    if channel == "status":
        return [[{"type": "snapshot", "products": [listings.status(market) for market in wanted]}]]
    if channel == "user":
        return user_snapshots(exchange, products)
    if channel == "futures_balance_summary":
        return [[futures_event(exchange)]]
    return []


def book_snapshot(exchange: Exchange, product_id: str) -> wire.Json:
    engine = exchange.markets[product_id].engine
    updates = [
        wire.level_change(side, px, qty, wire.SNAPSHOT_TIME)
        for side in (Side.BUY, Side.SELL)
        for px, qty in engine.levels(side, _SNAPSHOT_DEPTH)
    ]
    return {"type": "snapshot", "product_id": product_id, "updates": updates}


def candles(exchange: Exchange, product_id: str, count: int) -> list[wire.Json]:
    """The newest five-minute candles, newest first."""
    found = exchange.markets[product_id].tape.candles(FIVE_MINUTES_S, 0, 1 << 62)[:count]
    return [{**wire.candle(candle), "product_id": product_id} for candle in found]


def futures_event(exchange: Exchange) -> wire.Json:
    return {"type": "snapshot", "fcm_balance_summary": exchange.futures.stream_summary()}


def user_event(exchange: Exchange, kind: str, orders: list[wire.Json]) -> wire.Json:
    return {"type": kind, "orders": orders, "positions": exchange.futures.user_positions()}


def user_snapshots(exchange: Exchange, products: frozenset[str]) -> list[list[wire.Json]]:
    """Open orders in batches of 50; a batch of fewer, possibly none, ends the snapshot."""
    orders = [
        wire.user_order(record, portfolio_id=exchange.portfolio_id)
        for record in exchange.open_orders.values()
        if not products or record.spec.product_id in products
    ]
    return [
        [user_event(exchange, "snapshot", orders[first : first + _USER_BATCH])]
        for first in range(0, len(orders) + 1, _USER_BATCH)
    ]
