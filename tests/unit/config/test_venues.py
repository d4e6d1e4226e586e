"""Settings become a venue: endpoints, fees, and a recording played through the paper exchange."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from config.load import load
from config.schema import Settings
from config.venues import (
    CoinbaseOnPaper,
    Endpoints,
    Recording,
    SandboxTrading,
    coinbase_settings,
    foreseen_instruments,
    with_paper_fees,
)
from connectors.coinbase.sandbox.records import make_instrument as made_by_sandbox
from connectors.coinbase.sandbox.settings import DEFAULT_PRODUCTS
from connectors.fakes import EventLog
from engine.data.catalogue import Catalogue, Source
from engine.data.parquet import describe_files
from engine.errors import ConfigError, DataError, VenueError
from engine.events import BalanceReported, FeedDown, FeedUp, InstrumentDefined, Observation, Quote, Timer
from engine.runtime.clocks import ManualClock
from tests.support.core import D, spot
from tests.support.published import published_file
from tests.support.recordings import START_NS, quotes_file


def settings_with(**overrides: Any) -> Settings:
    return load(env={}, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def test_the_users_own_endpoints_win_over_the_sandboxes() -> None:
    """Addresses of a sandbox, one of which is configured otherwise; then none of either."""
    sandbox = Endpoints("http://127.0.0.1:1", "ws://127.0.0.1:2", "ws://127.0.0.1:3", "sandbox.json")
    made = coinbase_settings(settings_with(venue__rest_url="http://127.0.0.1:9"), sandbox)
    assert (made.rest_url, made.ws_market_url, made.ws_user_url, made.key_file) == (
        "http://127.0.0.1:9", "ws://127.0.0.1:2", "ws://127.0.0.1:3", "sandbox.json",
    )  # fmt: skip
    plain = coinbase_settings(settings_with(venue__request_timeout_ms=1500), Endpoints())
    assert plain.rest_url.startswith("https://api.coinbase.com")
    assert (plain.key_file, plain.order_timeout_s, plain.symbols) == ("", 1.5, ("BTC/USD", "ETH/USD"))


def test_an_endpoint_of_the_wrong_kind_is_refused() -> None:
    """A web address where a WebSocket is wanted."""
    with pytest.raises(ConfigError, match="ws_market_url"):
        coinbase_settings(settings_with(venue__ws_market_url="https://host"), Endpoints())


def test_foreseen_instruments_are_what_the_venue_will_define() -> None:
    """Held against a definition as the sandbox makes it: all but steps, bounds and fees is the same."""
    foreseen = foreseen_instruments(settings_with(venue__symbols=["BTC/USD", "ETH/USD"]))
    listed = [made_by_sandbox(product, D(0), D(0)) for product in DEFAULT_PRODUCTS]
    told = ("tick_px", "lot_qty", "min_qty", "max_qty", "min_notional")
    assert foreseen == [
        msgspec.structs.replace(instrument, **{name: getattr(mine, name) for name in told})
        for instrument, mine in zip(listed, foreseen, strict=True)
    ]
    deep = foreseen_instruments(settings_with(venue__channels=["level2"]))
    assert [instrument.has_depth for instrument in (*foreseen, *deep)] == [False, False, True, True]


def test_paper_fees_replace_only_what_is_set() -> None:
    """Basis points become a share of notional; an unset rate stays the instrument's."""
    made = with_paper_fees(spot(), settings_with(paper__taker_fee_bps=25))
    assert (made.taker_fee_rate, made.maker_fee_rate) == (D("0.0025"), spot().maker_fee_rate)
    assert with_paper_fees(spot(), settings_with(paper__maker_fee_bps=0)).maker_fee_rate == D(0)


async def test_a_recording_defines_funds_plays_and_ends(tmp_path: Path) -> None:
    """A small file of quotes: what is published first, what then, with configured fees, and both streams down."""
    path = quotes_file(tmp_path, rows=20)
    log = EventLog()
    venue = Recording(settings_with(paper__taker_fee_bps=25), [path], "max", log, ManualClock(), lambda line: None, "t")
    (instrument,) = {info.instrument.id for info in describe_files([path])}
    await venue.start()
    (defined,) = log.of(InstrumentDefined)
    assert (defined.definition.id, defined.definition.taker_fee_rate) == (instrument, D("0.0025"))
    assert [(b.currency, b.total) for b in log.of(BalanceReported)] == [(defined.definition.quote, D(100_000))]
    assert [gateway.venue for gateway in venue.gateways] == [venue.name]
    await venue.finished()
    venue.settle()
    assert len(log.of(Quote)) == 20
    assert log.of(Timer)
    await venue.stop()
    assert {event.stream for event in log.of(FeedDown)} == {"market", "user"} == {e.stream for e in log.of(FeedUp)}
    assert venue.counts().conflated == 0


async def test_configured_series_play_with_a_recording(tmp_path: Path) -> None:
    """A catalogue with two series, one of them configured, and one more that was named with the recording."""
    day_ns = 86_400_000_000_000
    rows = [(START_NS - day_ns, START_NS - 9 * day_ns, "CPI", 1.0), (START_NS - day_ns, START_NS, "GDP", 2.0)]
    table = pq.read_table(published_file(tmp_path / "series.parquet", rows))
    with Catalogue(tmp_path / "stored").writer("exogenous", "ALL", "exogenous", source=Source("test")) as writer:
        writer.write(table)
    settings = settings_with(data__catalogue=str(tmp_path / "stored"), exogenous__series=["CPI"])
    named = [Observation(START_NS + 7, START_NS + 7, "PMI", 3.0, START_NS)]
    log = EventLog()
    path = quotes_file(tmp_path)
    venue = Recording(settings, [path], "max", log, ManualClock(), lambda line: None, "t", published=named)
    await venue.start()
    await venue.finished()
    await venue.stop()
    assert [(one.series, one.ts_recv_ns) for one in log.of(Observation)] == [("CPI", START_NS), ("PMI", START_NS + 7)]
    wrong = settings_with(data__catalogue=str(tmp_path / "stored"), exogenous__series=["XYZ"])
    with pytest.raises(DataError, match="no published series XYZ"):
        Recording(wrong, [path], "max", log, ManualClock(), lambda line: None, "t")


async def test_own_paper_balances_replace_the_default(tmp_path: Path) -> None:
    """A balance in the user's settings: exactly that."""
    log = EventLog()
    settings = settings_with(paper__balances={"USD": 50, "EUR": 7})
    venue = Recording(settings, [quotes_file(tmp_path)], "max", log, ManualClock(), lambda line: None, "t")
    await venue.start()
    assert {(b.currency, b.total) for b in log.of(BalanceReported)} >= {("USD", D(50)), ("EUR", D(7))}
    await venue.stop()


class DeadChild:
    """A server process that starts nothing and ends."""

    last_words = "no port"

    async def start(self, timeout_s: float) -> dict[str, Any]:
        raise VenueError("the exchange did not start: no port")

    async def ended(self) -> None:
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self.stopped = True


def test_a_key_file_that_others_can_read_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """Mode 644, then 600: the line says what to run."""
    key = tmp_path / "key.json"
    key.write_text("{}")
    key.chmod(0o644)
    settings = settings_with(venue__key_file=str(key))

    def make() -> SandboxTrading:
        return SandboxTrading(
            settings, DeadChild(), EventLog(), ManualClock(), lambda: 0, lambda line: None, lambda _: (0, 0)
        )

    with pytest.raises(ConfigError, match=f"mode 644.*chmod 600 {key}"):
        make()
    key.chmod(0o600)
    assert make().gateways == ()


async def test_an_exchange_that_does_not_start_or_ends_is_an_error() -> None:
    """Before its start there is no order entry and nothing to count; its death ends the feed; stopping is safe."""
    child = DeadChild()
    venue = SandboxTrading(
        settings_with(), child, EventLog(), ManualClock(), lambda: 0, lambda line: None, lambda _: (0, 0)
    )
    assert (venue.gateways, venue.shadow(), venue.connector, venue.counts().reconnects) == ((), None, None, 0)
    with pytest.raises(VenueError, match="no port"):
        await venue.start()
    with pytest.raises(VenueError, match="the built-in exchange ended: no port"):
        await venue.finished()
    await venue.stop()
    assert child.stopped


def test_paper_on_the_live_feed_has_no_key_and_fills_here() -> None:
    """A key that happens to be configured is not used where nothing is sent to the venue."""
    settings = settings_with(venue__key_file="mine.json")
    venue = CoinbaseOnPaper(settings, EventLog(), ManualClock(), lambda: 0, Endpoints(), "t", lambda _: (0, 0))
    assert [gateway.venue for gateway in venue.gateways] == ["coinbase"]
    assert venue.connector.gateway is None
    assert venue.name == "coinbase"
