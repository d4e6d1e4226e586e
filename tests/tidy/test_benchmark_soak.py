"""What a soak sees: what grows, what is too full, and only that."""

from __future__ import annotations

import random

import pytest

from benchmarks import ccxt_soak, soak_verdict
from benchmarks.market import INSTRUMENT, PRODUCT, VENUE, Market
from benchmarks.soak_feed import Repeater
from connectors.coinbase.protocol import CoinbaseMarketProtocol
from engine.errors import KestrelError
from engine.events import Quote, Trade


def soaked(leak: str = "", per_look: float = 0.0, factor: float = 1.0, waited: float = 0.0) -> list[dict[str, float]]:
    """Looks of half an hour: levels with noise, one of which may grow; latencies of the last third times ``factor``."""
    noise = random.Random(1)
    rows = []
    for number in range(360):
        row = {name: 100.0 + noise.gauss(0.0, 0.2) for name in soak_verdict.GROWTH}
        row |= {name: noise.uniform(0.9, 1.1) * (factor if number >= 240 else 1.0) for name in soak_verdict.LATENCIES}
        row |= dict.fromkeys(soak_verdict.NONE, 0.0)
        row |= {"at_s": 5.0 * number, "ticks_per_s": 3_000.0, "conflated_per_s": 2_000.0, "orders_per_s": 1.0}
        row["waited_share"] = waited
        if leak:
            row[leak] += per_look * number
        rows.append(row)
    return rows


def not_flat(rows: list[dict[str, float]], rate: float = 5_000.0) -> set[str]:
    return {verdict.name for verdict in soak_verdict.judge(rows, rate) if not verdict.ok}


@pytest.mark.parametrize(
    ("name", "per_look"), [("daemon_descriptors", 0.01), ("daemon_anon_mb", 0.04), ("queued", 0.1)]
)
def test_a_soak_sees_what_grows_and_only_that(name: str, per_look: float) -> None:
    """A descriptor in eight minutes, 10 MB in twenty: named; the same noise without growth is flat."""
    assert not_flat(soaked()) == set()
    assert not_flat(soaked(name, per_look)) == {name}


def test_a_soak_judges_latencies_only_where_the_loop_had_a_processor() -> None:
    """Half as slow again in the last third is seen, unless the loop waited for others: then it is said, not judged."""
    assert not_flat(soaked(factor=1.5)) == set(soak_verdict.LATENCIES)
    verdicts = soak_verdict.judge(soaked(factor=1.5, waited=0.4), 5_000.0)
    said = {verdict.name: verdict.text for verdict in verdicts if not verdict.judged}
    assert set(said) == set(soak_verdict.LATENCIES)
    assert all("waited for a processor 40% of the time" in text for text in said.values())


def test_a_soak_that_had_not_its_load_shows_nothing() -> None:
    """Too few ticks, or no orders in the end; and too few looks are none."""
    assert not_flat(soaked(), rate=6_000.0) == {"ticks_per_s"}
    halted = [row | ({"orders_per_s": 0.0} if number > 200 else {}) for number, row in enumerate(soaked())]
    assert not_flat(halted) == {"orders_per_s"}
    with pytest.raises(KestrelError, match="a soak of 11 looks"):
        soak_verdict.judge(soaked()[:11], 5_000.0)


def soaked_symbols(leak: str = "", per_look: float = 0.0) -> list[dict[str, float]]:
    """Looks of ten minutes at 50 symbols, whose caches fill in the first of them."""
    noise = random.Random(1)
    rows = []
    for number in range(600):
        row = {name: 50_000.0 + noise.gauss(0.0, 5.0) for name in ccxt_soak.BOUNDS}
        row |= {"at_s": float(number), "fullest_cache": min(3.0 * number, 200.0), "alive": 1.0}
        row["cached_trades"] = min(150.0 * number, 10_000.0)
        if leak:
            row[leak] += per_look * number
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("name", "per_look"),
    [("", 0.0), ("connector_anon_mb", 5.0), ("tasks", 0.02), ("fullest_cache", 0.01), ("book_levels", 20.0)],
)
def test_a_soak_of_ccxt_sees_what_grows_and_what_is_too_full(name: str, per_look: float) -> None:
    """Caches that fill in the warm-up are flat; a task a minute, a trade too many in a cache: named."""
    verdicts = ccxt_soak.judge(soaked_symbols(name, per_look), {"trades_limit": 200})
    assert {verdict.name for verdict in verdicts if not verdict.ok} == ({name} if name else set())


def test_the_market_of_a_soak_is_one_stream_that_the_daemon_reads_whole() -> None:
    """What the exchange says and what is repeated, through the daemon's own protocol: no gap, nothing malformed, and
    quotes and trades at the exchange's prices."""
    market, repeater = Market(), Repeater()
    protocol = CoinbaseMarketProtocol(VENUE, {PRODUCT: (INSTRUMENT.id,)}, ("ticker", "market_trades"))
    frames = [repeater.take(market.ticker(10**18).decode())]
    frames += [text for number in range(100) for text in repeater.made(10**18 + number)]
    frames.append(repeater.take(market.trade(10**18 + 200).decode()))
    events = [event for text in frames for event in protocol.receive_frame(text.encode(), 10**18)]
    counters = protocol.counters
    assert (counters.gaps, counters.malformed, counters.duplicate_trades, counters.frames) == (0, 0, 0, 102)
    quotes = [event for event in events if isinstance(event, Quote)]
    assert {(quote.bid_px, quote.ask_px) for quote in quotes} == {(quotes[0].bid_px, quotes[0].ask_px)}
    trades = [event for event in events if isinstance(event, Trade)]
    assert (len(trades), len(quotes)) == (26, 76)
    assert {trade.px for trade in trades} == {quotes[0].bid_px, quotes[0].ask_px}
