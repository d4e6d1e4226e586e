"""Paper on Binance's public market: native streams, no keys, fills in this process."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.exchange import account_of
from config.load import load
from config.venue_kind import Opening
from config.venue_registry import kind_of
from config.venues import MarketOnPaper
from connectors.fakes import EventLog
from engine.commands import NewOrder, OrderIntent, OrderType
from engine.errors import ConfigError
from engine.events import (
    BalanceReported,
    BookSnapshot,
    FeedUp,
    InstrumentDefined,
    Observation,
    OrderFilled,
    Quote,
    Side,
    Trade,
)
from engine.runtime.child import ChildServer
from engine.runtime.clocks import SystemClock
from tests.support.binance import binance_server
from tests.support.daemon import ROOT
from tests.support.waiting import until

D = Decimal


def settings_of(venue: str, *channels: str, **more: Any) -> Any:
    given = {"venue.name": venue, "venue.feed": "live", "venue.symbols": ["BTC/USDT"], "venue.channels": [*channels]}
    return load((), env={}, overrides={**given, "paper.latency_ms": 0, **more})


@pytest.mark.parametrize(("venue", "channel"), [("binance_spot", "level2"), ("binance_usdm", "ticker")])
async def test_orders_meet_the_public_market(venue: str, channel: str) -> None:
    """Spot told by its levels alone, futures by best prices alone: a market buy fills at the ask that was told, for the
    instrument's fee; both streams are up, and what was foreseen is what the venue lists."""
    log, clock = EventLog(), SystemClock()
    settings = settings_of(venue, channel, "market_trades")
    async with binance_server(venue) as server:
        said = {"rest": server.url, "ws_market": server.ws_url}
        paper = MarketOnPaper(kind_of(settings), settings, log, clock, lambda: 0, said, "t", lambda _: (0, 0))
        try:
            await paper.start()
            assert {event.stream for event in log.of(FeedUp)} == {"market", "user"}
            assert [(event.currency, event.total) for event in log.of(BalanceReported)] == [("USDT", D(100_000))]
            (foreseen,) = kind_of(settings).foresee(settings)
            (listed,) = [event.definition for event in log.of(InstrumentDefined)]
            for name in ("id", "asset_class", "base", "quote", "settlement", "can_short", "has_depth", "has_trades"):
                assert getattr(foreseen, name) == getattr(listed, name), name
            await server.change(("ask", "100.50", "2.0"))
            await server.quote("100.00", "100.50")
            await until(lambda: log.of(BookSnapshot if channel == "level2" else Quote))
            now_ns = clock.now_ns()
            wish = OrderIntent(now_ns, "s", f"BTC/USDT@{venue}", Side.BUY, D("0.5"), OrderType.MARKET)
            (gateway,) = paper.gateways
            gateway.submit(NewOrder(now_ns, "c1", venue, wish))
            async with asyncio.timeout(30):
                while not log.of(OrderFilled):
                    paper.settle()
                    await asyncio.sleep(0.005)
            (fill,) = log.of(OrderFilled)
            assert (fill.px, fill.qty, fill.fee) == (D("100.5"), D("0.5"), D("50.25") * listed.taker_fee_rate)
        finally:
            await paper.stop()


def test_binance_alone_is_its_spot_market() -> None:
    """The short name stands for what instrument ids say."""
    assert settings_of("binance", "ticker").venue.name == "binance_spot"


def test_what_is_traded_where_nobody_named_anything() -> None:
    """One line of configuration: the default symbols of the settings are another venue's."""
    settings = load((), env={}, overrides={"venue.name": "binance_usdm", "venue.feed": "live"})
    assert [one.id for one in kind_of(settings).foresee(settings)] == ["BTC/USDT@binance_usdm", "ETH/USDT@binance_usdm"]


async def test_an_address_that_does_not_answer_is_stood_in_for() -> None:
    """By the settings alone; at a venue that would not hear of it they are refused."""
    more = {"venue.rest_url": "http://127.0.0.1:9", "venue.ws_market_url": "ws://127.0.0.1:9"}
    async with binance_server() as server:
        more |= {"venue.rest_fallbacks": [server.url], "venue.ws_market_fallbacks": [server.ws_url]}  # type: ignore[dict-item]
        settings = settings_of("binance_spot", "ticker", **more)
        log = EventLog()
        opening = Opening(log, SystemClock(), lambda: 0, lambda _: (0, 0))
        venue = kind_of(settings).watch(settings, {}, opening)
        try:
            await venue.start()
            assert log.of(FeedUp)
        finally:
            await venue.stop()
    with pytest.raises(ConfigError, match="with coinbase"):
        kind_of(settings_of("coinbase", "ticker", **more))


def test_an_account_there_is_refused_with_where_it_is() -> None:
    """Whoever would need one is told before anything is started; a paper session has none."""
    settings = settings_of("binance_spot", "ticker", **{"venue.feed": "sandbox"})
    kind = kind_of(settings)
    with pytest.raises(ConfigError, match=r"orders and an account at binance_spot; expected run\.py paper"):
        kind.key_name(settings)
    running = {"venue.rest_url": "http://127.0.0.1:9", "venue.ws_market_url": "ws://127.0.0.1:9"}
    settings = settings_of("binance_spot", "ticker", **{"venue.feed": "sandbox", "venue.key_file": "k.json", **running})
    assert account_of(settings) == ""


@pytest.mark.parametrize("venue", ["binance_spot", "binance_usdm"])
async def test_paper_on_its_own_sandbox(tmp_path: Path, venue: str) -> None:
    """The built-in server as ``paper`` starts it: its market comes by the venue's protocol, both streams are up, books
    are told, a market buy is filled at an ask of it; futures tell their funding rate as well."""
    funding = ["funding"] if venue == "binance_usdm" else []
    settings = settings_of(venue, "level2", "market_trades", *funding, **{"venue.feed": "sandbox"})
    log, clock, lines = EventLog(), SystemClock(), list[str]()
    command = kind_of(settings).sandbox_command(settings, tmp_path / "key.json", ROOT / "run.py")
    child = ChildServer("sandbox", command)
    paper = MarketOnPaper(
        kind_of(settings), settings, log, clock, lambda: 0, {}, "t", lambda _: (0, 0), lines.append, child
    )
    try:
        await paper.start()
        assert {event.stream for event in log.of(FeedUp)} == {"market", "user"}
        assert "orders are matched here" in lines[0]
        await until(lambda: log.of(BookSnapshot) and log.of(Trade))
        now_ns = clock.now_ns()
        wish = OrderIntent(now_ns, "s", f"BTC/USDT@{venue}", Side.BUY, D("0.01"), OrderType.MARKET)
        (gateway,) = paper.gateways
        gateway.submit(NewOrder(now_ns, "c1", venue, wish))
        async with asyncio.timeout(30):
            while not log.of(OrderFilled):
                paper.settle()
                await asyncio.sleep(0.005)
        if funding:
            await until(lambda: [one for one in log.of(Observation) if one.series.startswith("funding_rate:")])
    finally:
        await paper.stop()
    assert child.pid is None, "it ended with the session"
