"""An exchange of the library as a venue, against a server on this machine that speaks Coinbase."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.ccxt_venue import library, streams
from connectors.ccxt_venue import venue as module
from connectors.ccxt_venue.capabilities import Needs, needs_of
from connectors.coinbase.sandbox.keys import make_key_file
from engine.errors import ConfigError, VenueError, WrongAccount
from engine.events import (
    AccountSettled,
    BookDelta,
    BookSnapshot,
    FeedDown,
    FeedUp,
    InstrumentDefined,
    InstrumentStatus,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderFound,
    Quote,
    Side,
    Trade,
    TradingStatus,
)
from tests.support.ccxt_venue import LocalExchange, Session, clients_tasks, local_exchange, session


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[LocalExchange]:
    async with local_exchange("coinbase", tmp_path) as one:
        yield one


async def _trade(exchange: LocalExchange, side: str, price: str, **fields: Any) -> None:
    await exchange.operate("trade", product_id="BTC-USD", side=side, price=price, **fields)


def _streams(s: Session, kind: type) -> list[str]:
    return [event.stream for event in s.of(kind)]


async def test_public_data_needs_no_key_and_the_end_leaves_nothing(exchange: LocalExchange) -> None:
    """Definition, status, book, prices, trades, one stream; no gateway; after the stop no task of ours is left."""
    before = clients_tasks()
    async with session(exchange.settings(keyed=False, depth=True)) as s:
        assert s.venue.gateway is None
        (defined,) = s.of(InstrumentDefined)
        assert defined.definition.has_depth
        assert [event.status for event in s.of(InstrumentStatus)] == [TradingStatus.TRADING]
        await s.until(lambda: s.of(BookSnapshot) and s.of(Quote))
        ask = s.of(Quote)[-1].ask_px
        await _trade(exchange, "BUY", str(ask), size="0.001")
        await s.until(lambda: s.of(Trade) and s.of(BookDelta), "the trade and the change")
        assert s.of(Trade)[-1].aggressor == 1, "the library tells the resting side at this exchange"
        assert _streams(s, FeedUp) == ["market"]
        assert s.of(AccountSettled) == []
    assert _streams(s, FeedDown) == ["market"]
    await asyncio.sleep(0)
    assert clients_tasks() - before == set()


async def test_a_line_that_breaks_is_down_and_up_again_with_its_prices(exchange: LocalExchange) -> None:
    """Every kind of end; what happened to an order meanwhile is known after it."""
    async with session(exchange.settings()) as s:
        resting = s.order(limit_px=Decimal(61_000))
        await s.heard(resting, OrderAccepted)
        for number, code in enumerate((1001, 1006), 1):
            await exchange.operate("disconnect", code=code)
            await s.until(lambda wanted=number: _streams(s, FeedDown).count("market") >= wanted, "down")  # type: ignore[misc]
            await s.until(lambda wanted=number: _streams(s, FeedUp).count("market") > wanted, "up again")  # type: ignore[misc]
        await _trade(exchange, "SELL", "61000", size="10000")
        await s.heard(resting, OrderFilled)


async def test_a_mute_stream_is_told_from_a_quiet_market(
    exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing moves: that is asked about and stays up.  Then the price moves while the stream says nothing."""
    monkeypatch.setattr(library, "CLOSE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(streams, "SETTLE_S", 0.1)
    async with session(exchange.settings(silence_s=0.4, keyed=False)) as s:
        await asyncio.sleep(0.9)
        assert _streams(s, FeedDown) == []
        await exchange.operate("mute")
        bid, ask = s.of(Quote)[-1].bid_px, s.of(Quote)[-1].ask_px
        await _trade(exchange, "BUY", f"{ask + 40:.2f}", rest=True)
        await s.until(lambda: s.of(FeedDown), "the mute stream is noticed")
        assert "silent while its price moves" in s.of(FeedDown)[0].reason
        assert bid < ask


async def test_objects_are_replaced_without_a_hole(exchange: LocalExchange) -> None:
    """Twice a second instead of once a day: no stream goes down, no trade is told twice, orders go on."""
    async with session(exchange.settings(recycle_s=0.4)) as s:
        market, trading = s.venue.market, s.venue.trading
        assert market is not None
        assert trading is not None
        first = trading.handle
        resting = s.order()
        await s.until(lambda: market.recycled > 0 and trading.recycled > 0, "both were replaced")
        assert first.closed
        await _trade(exchange, "BUY", f"{s.of(Quote)[-1].ask_px:.2f}", size="0.001")
        await s.until(lambda: s.of(Trade), "a trade on the new object")
        s.cancel(resting)
        await s.heard(resting, OrderCancelled)
        assert s.of(FeedDown) == []
        ids = [trade.trade_id for trade in s.of(Trade)]
        assert len(ids) == len(set(ids))


async def test_without_streams_everything_is_asked(exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same exchange as if it had none: prices, trades and the course of an order by questions."""

    def polled(name: str, abilities: Any) -> Needs:
        return needs_of(name + "-", {key: value for key, value in abilities.items() if not key.startswith("watch")})

    monkeypatch.setattr(module, "needs_of", polled)
    async with session(exchange.settings()) as s:
        assert s.venue.needs is not None
        assert (s.venue.needs.quotes, s.venue.needs.order_hints) == ("fetchOrderBook", ())
        ask = s.of(Quote)[-1].ask_px
        resting = s.order(limit_px=Decimal(61_000))
        await s.heard(resting, OrderAccepted)
        await _trade(exchange, "BUY", f"{ask + 5:.2f}", rest=True)
        await s.until(lambda: s.of(Quote)[-1].ask_px > ask and s.of(Trade), "the price and the trade")
        await _trade(exchange, "SELL", "61000", size="30000")
        await s.heard(resting, OrderFilled)


async def test_orders_of_others_are_told_and_another_daemons_are_refused(exchange: LocalExchange) -> None:
    """One made by hand is found at the start; one that names a session that is not ours ends it."""
    for client_id in ("by-hand", "k20260101T000000-ffff-1"):
        body = {"client_order_id": client_id, "product_id": "BTC-USD", "side": "BUY", "order_configuration": {
            "limit_limit_gtc": {"base_size": "0.01", "limit_price": "30000", "post_only": False}}}  # fmt: skip
        assert exchange.running.exchange.place(body, time.time_ns())["success"]
    async with session(exchange.settings()) as s:
        found = {event.client_order_id: event for event in s.of(OrderFound)}
        assert set(found) == {"by-hand", "k20260101T000000-ffff-1"}
        assert (found["by-hand"].side, found["by-hand"].qty) == (Side.BUY, Decimal("0.01"))
    with pytest.raises(WrongAccount, match="20260101T000000-ffff"):
        async with session(exchange.settings(), rival=lambda one: one[1:21] if one.startswith("k2026") else ""):
            pass


async def test_a_start_that_cannot_be_says_why_and_leaves_nothing(exchange: LocalExchange, tmp_path: Path) -> None:
    """A key of nobody, an unknown symbol, a contract, the wrong kind of money, nobody at the address."""
    before = clients_tasks()
    stranger = tmp_path / "stranger.json"
    make_key_file(stranger)
    for changes, wanted in (
        ({"key_file": str(stranger)}, "AuthenticationError"),
        ({"symbols": ("BTC/USX",)}, "did you mean"),
        ({"rest_url": "http://127.0.0.1:9"}, "ExchangeNotAvailable"),
    ):
        with pytest.raises(VenueError, match=wanted):
            async with session(exchange.settings(**changes)):
                pass
    for changes, kind in (
        ({"money": "real"}, WrongAccount),
        ({"symbols": ("BTC/USD:USD",)}, ConfigError),
        ({"exchange": "no_such"}, ConfigError),
        ({"rest_url": "https://example.com"}, ConfigError),
    ):
        with pytest.raises(kind):
            async with session(exchange.settings(**changes)):
                pass
    await asyncio.sleep(0)
    assert clients_tasks() - before == set()
