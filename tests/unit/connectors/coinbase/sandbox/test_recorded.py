"""Recorded markets on the sandbox, from small written files and from real ones."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.recorded import RecordedMarket, with_recorded_products
from connectors.coinbase.sandbox.settings import SandboxSettings
from engine.errors import DataError
from tests.support.coinbase_sandbox import running

NOW_NS = 1_795_183_387_000_000_000
S = 1_000_000_000
FIRST_NS = 1_723_075_200 * S


def write_table(table: pa.Table, path: Path) -> None:
    pq.write_table(table.replace_schema_metadata({"venue": "binance_usdm", "symbol": "BTCUSDT"}), path)


def write(folder: Path, *, loop: bool = False, speed: float = 1.0) -> tuple[Exchange, RecordedMarket]:
    """Quotes at 0, 1, 2, 3 s (the third crossed) and trades at 0.5 and 2.5 s."""
    quotes = folder / "binance_usdm_btcusdt_20240808_quotes.parquet"
    trades = folder / "binance_usdm_btcusdt_20240808_trades.parquet"
    times = [FIRST_NS + i * S for i in range(4)]
    write_table(
        pa.table(
            {
                "ts_ns": times,
                "bid": [100.0, 100.1, 100.9, 100.2],
                "bid_size": [1.0, 2.0, 1.0, 3.0],
                "ask": [100.2, 100.3, 100.4, 100.4],
                "ask_size": [4.0, 5.0, 1.0, 6.0],
            }
        ),
        quotes,
    )
    write_table(
        pa.table(
            {
                "ts_ns": [FIRST_NS + S // 2, FIRST_NS + 5 * S // 2],
                "price": [100.2, 100.1],
                "size": [0.5, 0.25],
                "side": ["buy", "sell"],
                "trade_id": ["1", "2"],
            }
        ),
        trades,
    )
    settings = with_recorded_products(SandboxSettings(replay=(quotes, trades), loop_replay=loop, speed=speed))
    ids = itertools.count()
    exchange = Exchange(settings, now_ns=NOW_NS, new_id=lambda: str(next(ids)))
    return exchange, RecordedMarket(exchange, settings, NOW_NS)


def test_the_products_and_play_money_come_from_the_files(tmp_path: Path) -> None:
    """Names, increments and the balance of a currency that settings do not mention."""
    exchange, _ = write(tmp_path)
    product = exchange.products["BTC-USDT"]
    assert (product.start_px, product.price_increment) == (100, Decimal("0.1"))
    assert exchange.wallets.amounts("USDT") == (100_000, 0)


def test_the_record_happens_now_at_its_own_pace(tmp_path: Path) -> None:
    """Quotes and trades appear when due, stamped with the present; crossed quotes do not."""
    exchange, market = write(tmp_path)
    book = exchange.markets["BTC-USDT"]
    market.step(NOW_NS)
    assert book.engine.best() == (Decimal("100.0"), 1, Decimal("100.2"), 4)
    assert not book.tape.trades
    market.step(NOW_NS + S)
    assert book.engine.best() == (Decimal("100.1"), 2, Decimal("100.3"), 5)
    trade = book.tape.trades[0]
    assert (trade.px, trade.qty, trade.maker_side, trade.ts_ns) == (
        Decimal("100.2"),
        Decimal("0.5"),
        "SELL",
        NOW_NS + S // 2,
    )
    market.step(NOW_NS + 2 * S)
    assert book.engine.best() == (Decimal("100.1"), 2, Decimal("100.3"), 5)
    market.step(NOW_NS + 3 * S)
    assert book.engine.best() == (Decimal("100.2"), 3, Decimal("100.4"), 6)
    assert [t.px for t in exchange.drain().trades["BTC-USDT"]] == [Decimal("100.2"), Decimal("100.1")]


def test_speed_multiplies_the_pace_and_stamps_stay_within_the_present(tmp_path: Path) -> None:
    """Four times as fast: all is over after 0.75 s."""
    exchange, market = write(tmp_path, speed=4.0)
    market.step(NOW_NS + 3 * S // 4)
    book = exchange.markets["BTC-USDT"]
    assert book.engine.best() == (Decimal("100.2"), 3, Decimal("100.4"), 6)
    assert [t.ts_ns - NOW_NS for t in book.tape.trades] == [S // 8, 5 * S // 8]


def test_at_the_end_it_starts_over_or_stands_still(tmp_path: Path) -> None:
    """After the last row, with and without looping."""
    exchange, market = write(tmp_path, loop=True)
    market.step(NOW_NS + 4 * S)
    market.step(NOW_NS + 4 * S + 1)
    assert exchange.markets["BTC-USDT"].engine.best() == (Decimal("100.0"), 1, Decimal("100.2"), 4)
    exchange, market = write(tmp_path)
    market.step(NOW_NS + 4 * S)
    market.step(NOW_NS + 9 * S)
    assert market.ended
    assert exchange.markets["BTC-USDT"].engine.best() == (Decimal("100.2"), 3, Decimal("100.4"), 6)


def test_a_client_order_in_a_recorded_market_waits_in_the_queue_and_fills_from_a_print(tmp_path: Path) -> None:
    """A bid at 100.1 behind 2: the seller of 0.25 is served by those before it; a market buy takes the ask."""
    exchange, market = write(tmp_path)
    market.step(NOW_NS + S)

    def place(name: str, **fields: str) -> str:
        body = {"client_order_id": name, "product_id": "BTC-USDT", "side": "BUY"}
        kind = "limit_limit_gtc" if "limit_price" in fields else "market_market_ioc"
        reply = exchange.place(body | {"order_configuration": {kind: fields}}, NOW_NS + S)
        found: str = reply["success_response"]["order_id"]
        return found

    waiting = exchange.orders[place("a", base_size="1.2", limit_price="100.1")]
    taken = exchange.orders[place("b", base_size="1")]
    assert (taken.status, taken.average_px) == ("FILLED", Decimal("100.3"))
    market.step(NOW_NS + 5 * S // 2)
    assert waiting.status == "OPEN"
    prints = [(t.px, t.qty) for t in exchange.markets["BTC-USDT"].tape.trades]
    assert prints == [
        (Decimal("100.2"), Decimal("0.5")),
        (Decimal("100.3"), 1),
        (Decimal("100.1"), Decimal("0.25")),
    ]


def test_a_file_without_a_usable_row_is_one_line(tmp_path: Path) -> None:
    """Only NaN prices."""
    path = tmp_path / "binance_usdm_btcusdt_20240808_quotes.parquet"
    nan = float("nan")
    columns = {name: [nan, nan] for name in ("bid", "bid_size", "ask", "ask_size")}
    write_table(pa.table({"ts_ns": [FIRST_NS, FIRST_NS + 1], **columns}), path)
    with pytest.raises(DataError, match="no usable row"):
        with_recorded_products(SandboxSettings(replay=(path,)))


@pytest.mark.parametrize(
    ("names", "product_id"),
    [
        (("binance_usdm_btcusdt_20240808_quotes", "binance_usdm_btcusdt_20240808_trades"), "BTC-USDT"),
        (("oanda_eurusd_quotes_20140501_20140515",), "EUR-USD"),
    ],
)
async def test_real_recorded_markets_are_served_and_traded(tmp_path, market_data, names, product_id) -> None:
    """Real files through the real server: a book, a ticker, a market order that fills at the touch."""
    files = tuple(market_data / "ticks" / f"{name}.parquet" for name in names)
    async with running(tmp_path, replay=files, warmup_s=20.0) as client:
        bid, ask = await client.best(product_id)
        assert bid < ask
        reply = await client.order("BUY", product_id, market_market_ioc={"quote_size": "1000"})
        order = (await client.get(f"/orders/historical/{reply['success_response']['order_id']}"))["order"]
        assert order["status"] == "FILLED"
        assert Decimal(order["average_filled_price"]) >= ask
