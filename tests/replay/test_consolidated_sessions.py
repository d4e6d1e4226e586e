"""Sessions with a consolidated instrument on recorded markets: decided on several venues' price, decided again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine import events as e
from engine.commands import NewOrder, Rejected
from engine.runtime.journal_reader import read_journal
from tests.support.daemon import into, kestrel, paper_session, replay_session

TRADER = '''
from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side
from strategies.base import BaseStrategy


class Trader(BaseStrategy):
    """Each 200th consolidated quote: an order for the first member at the consolidated price, one for the price itself,
    what is known of it in the reason."""

    count = 0

    def on_quote(self, instrument, view):
        self.count += 1
        if self.count % 200:
            return ()
        said = view.consolidated(instrument)
        member = said.sources[0].instrument
        rules = view.instrument(member)
        side = Side.BUY if self.count % 400 else Side.SELL
        price = rules.price(said.mid_px, side)
        return [
            OrderIntent(
                ts_ns=view.now_ns, strategy=self.name, instrument=name, side=side, qty=QTY,
                order_type=OrderType.LIMIT, limit_px=price, time_in_force=TimeInForce.IOC,
                reason=f"{said.confidence!r} {said.dispersion_bps!r} {[s.status for s in said.sources]}",
            )
            for name in (member, instrument)
        ]
'''


def configured(folder: Path, pair: str, members: list[str], qty: str, **settings: Any) -> Path:
    """A configuration and its strategy in ``folder``."""
    (folder / "trader.py").write_text(f"from decimal import Decimal\n\nQTY = Decimal({qty!r})\n{TRADER}")
    path = folder / "c.json"
    path.write_text(
        json.dumps(
            {
                "consolidated": [{"instrument": pair, "members": members, **settings}],
                "features": {"columns": ["ret_1"], "window": 2},  # what they are made of does not matter here
                "strategies": [
                    {
                        "name": "trader",
                        "path": f"{folder / 'trader.py'}:Trader",
                        "instruments": [f"{pair}@consolidated"],
                        "model": "none",
                    }
                ],
            }
        )
    )
    return path


def cut(source: Path, folder: Path, column: str, low: int, high: int) -> Path:
    """The rows of a recorded file between two times, metadata kept."""
    table = pq.read_table(source)
    times = table[column]
    target = folder / source.name
    pq.write_table(table.filter(pc.and_(pc.greater_equal(times, low), pc.less(times, high))), target)
    return target


def check_session(folder: Path, summary: dict[str, Any], venue: str) -> list[NewOrder]:
    """Orders went to the member and only there; the session replays identically."""
    journal = [r.record for r in read_journal(folder / "sessions" / summary["session"] / "journal")]
    orders = [record for record in journal if isinstance(record, NewOrder)]
    refused = [record for record in journal if isinstance(record, Rejected)]
    assert orders
    assert {order.venue for order in orders} == {venue}
    closed = [record for record in refused if record.intent.instrument.endswith("@consolidated")]
    assert len(closed) >= len(orders)
    assert {record.check for record in closed} == {"tradable"}
    assert "consolidated price, no market" in closed[0].seen
    assert not any(isinstance(record, e.Quote) and "consolidated" in record.instrument for record in journal)
    status, result = replay_session(folder, summary["session"])
    assert (status, result["identical"], result["first_difference"]) == (0, True, None)
    return orders


def test_spot_and_futures_trade_on_their_common_price_and_replay(market_data: Path, tmp_path: Path) -> None:
    """Half a minute of Binance spot and USD-M BTCUSDT: orders carry what was known of the price, the same again."""
    begin = 1_723_161_480_000_000_000
    files = [
        cut(
            market_data / "ticks" / f"binance_{venue}_btcusdt_20240808_{kind}.parquet",
            tmp_path,
            "recv_ns",
            begin,
            begin + 30 * 10**9,
        )
        for venue in ("spot", "usdm")
        for kind in ("quotes", "trades")
    ]
    config = configured(tmp_path, "BTC/USDT", ["BTC/USDT@binance_usdm", "BTC/USDT@binance_spot"], "0.01", bar="1s")
    summary = paper_session(tmp_path, files, "--config", str(config))
    orders = check_session(tmp_path, summary, "binance_usdm")
    assert any("['live', 'live']" in order.intent.reason for order in orders)
    assert summary["positions"]["BTC/USDT@consolidated"]["qty"] == 0
    assert summary["features"]


def test_a_venue_with_crossed_quotes_has_no_say_in_them_and_the_session_replays(
    market_data: Path, tmp_path: Path
) -> None:
    """OANDA and FXCM EURUSD, half an hour of 2014-05-01: FXCM's crossed rows are dropped, the price goes on without."""
    begin = 1_398_945_600_000_000_000
    files = [
        cut(market_data / "ticks" / name, tmp_path, "ts_ns", begin, begin + 1800 * 10**9)
        for name in (
            "oanda_eurusd_quotes_20140501_20140515.parquet",
            "fxcm_eurusd_quotes_20140501_20140516.parquet",
        )
    ]
    config = configured(tmp_path, "EUR/USD", ["EUR/USD@oanda", "EUR/USD@fxcm"], "1000", stale_ms=30_000, wild_bps=20)
    summary = paper_session(tmp_path, files, "--config", str(config))
    assert summary["drops"]["crossed"] > 50
    check_session(tmp_path, summary, "oanda")


@pytest.mark.fault("D10")
def test_what_is_not_the_same_thing_is_refused_by_name(market_data: Path, tmp_path: Path) -> None:
    """Ether as a member of bitcoin: before a session exists.  Declared to be the same: by the first prices."""
    ticks = market_data / "ticks"
    files = [ticks / f"binance_usdm_{coin}usdt_20240808_quotes.parquet" for coin in ("btc", "eth")]
    config = configured(tmp_path, "BTC/USDT", ["BTC/USDT@binance_usdm", "ETH/USDT@binance_usdm"], "0.01")
    done = kestrel("paper", "--replay", *map(str, files), "--config", str(config), *into(tmp_path))
    assert done.returncode == 2
    assert "the member ETH/USDT@binance_usdm, which is ETH/USDT" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "sessions").exists() or not list((tmp_path / "sessions").iterdir())
    members = ["BTC/USDT@binance_usdm", "ETH/USDT@binance_usdm"]
    config = configured(tmp_path, "BTC/USDT", members, "0.01", equivalent={"ETH": "BTC"})
    done = kestrel("paper", "--replay", *map(str, files), "--config", str(config), *into(tmp_path))
    assert done.returncode == 2
    assert "at first sight" in done.stderr
    assert all(member in done.stderr for member in members)
