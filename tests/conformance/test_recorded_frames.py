"""Every file of recorded raw messages through the parsers of the live streams: nothing unknown, books are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from connectors.kraken.futures import KrakenFuturesProtocol
from connectors.kraken.futures import split_contract as split_kraken_contract
from connectors.kraken.spot_v2 import KrakenV2Protocol
from connectors.market_stream import Counters, MarketStream, Products
from connectors.replay.frames import FramesFile
from connectors.replay.parsers import PARSERS
from engine.book import OrderBook
from engine.events import BookDelta, BookSnapshot, Gap, InputEvent, Quote, Trade
from tests.support.frames import recorded

BINANCE = [f"binance_{kind}_{symbol}_20240808" for kind in ("spot", "usdm") for symbol in ("btcusdt", "ethusdt")]
OTHERS = {
    "binance_spot_misc_20211012": {"Quote": 84, "Trade": 2, "BookSnapshot": 4, "BookDelta": 172},
    "bitmex_ws_20210722": {"Quote": 436, "Trade": 17, "BookSnapshot": 10, "BookDelta": 1969},
    "bitstamp_ws_20220105": {"Trade": 10, "BookSnapshot": 10, "BookDelta": 615},
    "coinbase_exchange_20210417": {"Quote": 107, "Trade": 97, "BookSnapshot": 10, "BookDelta": 9719},
    "deribit_ws_20210722": {"Quote": 89, "BookSnapshot": 10, "BookDelta": 36},
    "kraken_futures_20210722": {"Quote": 107, "Trade": 3, "BookSnapshot": 10, "BookDelta": 7014},
    "kraken_ws_20210417": {"Trade": 10, "BookSnapshot": 10, "BookDelta": 4269},
}
"""Of each file the events that its messages make; those of Kraken's books have their checksums proved on the way."""


SAMPLES = ("coinbase_adapter_fixtures", "kraken_adapter_fixtures", "oanda_v20_responses")
"""Messages by name, without a time: they can be read and not played."""


def test_no_file_is_left_out(market_data: Path) -> None:
    found = {path.name.removesuffix(".jsonl.gz") for path in (market_data / "raw_frames").iterdir()}
    assert found == {*BINANCE, *OTHERS, *SAMPLES}


def path_of(market_data: Path, name: str) -> Path:
    return market_data / "raw_frames" / f"{name}.jsonl.gz"


def lost(counters: Counters) -> int:
    return (
        counters.malformed + counters.oversize + counters.unknown_message + counters.unknown_product
        + counters.gaps + counters.venue_errors + counters.duplicate_trades
    )  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_every_message_is_known_and_rebuilt_books_have_the_prices_that_the_venue_told_apart(
    name: str, market_data: Path
) -> None:
    """No message unread, unknown or missing, no book crossed; and each best price of the venue's own stream is the
    book's at that moment (within 2 s: streams of one venue are not in step)."""
    file = FramesFile(path_of(market_data, name), quotes=True, books=True)
    made = list(file.events())
    assert lost(file.counters) == 0, file.unknown
    assert Counter(type(event).__name__ for event in made) == OTHERS[name]
    books: dict[str, OrderBook] = {}
    states: dict[str, list[tuple[int, float, float]]] = {}
    for event in made:
        if isinstance(event, BookSnapshot | BookDelta):
            book = books.setdefault(event.instrument, OrderBook(event.instrument))
            _apply(book, event)
            best = book.best(0, 0)
            if best is not None:
                assert best.bid_px < best.ask_px, event
                states.setdefault(event.instrument, []).append((event.ts_recv_ns, best.bid_px, best.ask_px))
    told = [event for event in made if isinstance(event, Quote) and event.instrument in states]
    known = [quote for quote in told if _was(quote, states[quote.instrument])]
    # Told at once on a subscription: prices of the last trade, some minutes old.  Binance's are faster than its books.
    stale = {"coinbase_exchange_20210417": 7, "binance_spot_misc_20211012": 4}.get(name, 0)
    assert len(told) - len(known) == stale


def _was(quote: Quote, states: list[tuple[int, float, float]]) -> bool:
    near = [state[1:] for state in states if abs(state[0] - quote.ts_recv_ns) < 2_000_000_000]
    last = [state[1:] for state in states if state[0] <= quote.ts_recv_ns][-1:]
    return (quote.bid_px, quote.ask_px) in near or (quote.bid_px, quote.ask_px) in last


def _apply(book: OrderBook, event: InputEvent) -> None:
    if isinstance(event, BookSnapshot):
        book.apply_snapshot(event)
    elif isinstance(event, BookDelta):
        book.apply_delta(event)


@pytest.mark.parametrize("name", BINANCE)
def test_ten_levels_of_binance_books_are_those_that_others_rebuilt(name: str, market_data: Path) -> None:
    """After each of the 20,000 depth messages of four files all ten levels of both sides equal ``lob/*_book10``; where
    a best-price message has the same update id, its prices and sizes are the book's too."""
    rows = pq.read_table(market_data / "lob" / f"{name}_book10.parquet")
    expected = np.stack([rows.column(f"{side}_{what}_{i}").to_numpy() for side, what, i in _COLUMNS], axis=1)
    venue = name.rpartition("_")[0].rpartition("_")[0]
    parser = PARSERS[venue].open(PARSERS[venue].products(), quotes=True, books=True)
    seen, quotes = [], {}
    book = OrderBook("x")
    wanted = set(rows.column("update_id").to_pylist())
    for recv_ns, message in recorded(path_of(market_data, name)):
        if b"@bookTicker" in message[:40]:
            at = message.index(b'"u":') + 4
            update_id = int(message[at : message.index(b",", at)])
            if update_id in wanted:
                (quote,) = parser.receive_frame(message, recv_ns)
                quotes[update_id] = quote
        elif b"@trade" not in message[:40]:
            for event in parser.receive_frame(message, recv_ns):
                assert not isinstance(event, Gap)
                _apply(book, event)
                levels = zip(book.levels(1, 10), book.levels(-1, 10), strict=True)
                seen.append([x for bid, ask in levels for x in (*bid, *ask)])
    if len(seen) > len(expected):
        del seen[0]  # the snapshot alone, where nothing that waited was newer: the others have no row of that
    merged = len(expected) - len(seen)  # else its state is that of the last of those changes
    assert 0 <= merged <= 5
    assert np.array_equal(np.array(seen), expected[merged:])
    assert lost(parser.counters) == 0
    ids = rows.column("update_id").to_pylist()[merged:]
    tops = {each: row[:4] for each, row in zip(ids, seen, strict=True)}
    same = [each for each in quotes if each in tops]
    assert len(same) > 500
    for each in same:
        quote = quotes[each]
        assert [quote.bid_px, quote.bid_qty, quote.ask_px, quote.ask_qty] == tops[each]


_COLUMNS = [(side, what, i) for i in range(1, 11) for side in ("bid", "ask") for what in ("price", "size")]


@pytest.mark.parametrize("name", BINANCE)
def test_binance_quotes_and_trades_are_the_rows_that_others_made_of_the_same_messages(
    name: str, market_data: Path
) -> None:
    """Times, prices, sizes, sides and ids of the first 12,000 messages equal ``ticks/*``, row by row."""
    file = FramesFile(path_of(market_data, name))
    quotes: list[Any] = []
    trades: list[Any] = []
    for event in islice(file.events(), 12_000):
        if isinstance(event, Quote):
            quotes.append(
                (event.ts_event_ns, event.ts_recv_ns, event.bid_px, event.bid_qty, event.ask_px, event.ask_qty)
            )
        elif isinstance(event, Trade):
            trades.append((event.ts_event_ns, event.px, event.qty, event.aggressor))
    assert lost(file.counters) == 0
    for kind, made, columns in (
        ("quotes", quotes, ["ts_ns", "recv_ns", "bid", "bid_size", "ask", "ask_size"]),
        ("trades", trades, ["ts_ns", "price", "size", "side"]),
    ):
        table = pq.read_table(market_data / "ticks" / f"{name}_{kind}.parquet", columns=columns).slice(0, len(made))
        rows = [tuple(row.values()) for row in table.to_pylist()]
        if kind == "trades":
            rows = [(*row[:3], 1 if row[3] == "buy" else -1) for row in rows]
        assert made == rows


def test_samples_of_krakens_messages_are_all_known(market_data: Path) -> None:
    """65 messages of spot and futures, answers and streams: read or known by name, nothing malformed; those of the
    market make events.  Requests among them are what a client sends."""
    spot = KrakenV2Protocol("kraken", Products("kraken"))
    futures = KrakenFuturesProtocol("kraken_futures", Products("kraken_futures", split_kraken_contract))
    made: list[InputEvent] = []
    for name, body in _samples(path_of(market_data, "kraken_adapter_fixtures")):
        parser: MarketStream = futures if "futures" in name else spot
        if name.startswith("http"):
            made += parser.receive_answer(_KRAKEN_URLS.get(name, f"https://host/{name}"), body, 7)
        else:
            made += parser.receive_frame(body, 7)
        assert parser.counters.unknown_message == parser.counters.malformed == 0, (name, parser.last_unknown)
    assert Counter(type(event).__name__ for event in made) == {
        "Quote": 2,
        "Trade": 3,
        "BookSnapshot": 3,
        "BookDelta": 1,
    }
    # A delta of another book's sequence is a gap, a refused order is a refusal.
    assert spot.counters.venue_errors == 1
    assert spot.last_error == "add_order: EOrder:Insufficient funds"


_KRAKEN_URLS = {
    f"http_{name}": f"https://host/{endpoint}"
    for name, endpoint in {
        "asset_pairs": "0/public/AssetPairs",
        "asset_pairs_tokenized": "0/public/AssetPairs",
        "ticker": "0/public/Ticker?pair=XBTUSDT",
        "order_book": "0/public/Depth?pair=XBTUSDT",
        "trades": "0/public/Trades?pair=XBTUSDT",
        "ohlc": "0/public/OHLC?pair=XBTUSDT",
        "server_time": "0/public/Time",
        "system_status": "0/public/SystemStatus",
        "futures_instruments": "derivatives/api/v3/instruments",
        "futures_instrument_no_fee_schedule": "derivatives/api/v3/instruments",
        "futures_orderbook": "derivatives/api/v3/orderbook?symbol=PI_XBTUSD",
        "futures_tickers": "derivatives/api/v3/tickers",
        "futures_candles_mark": "api/charts/v1/mark/PI_XBTUSD/1h",
        "futures_candles_spot": "api/charts/v1/spot/PI_XBTUSD/1h",
        "futures_candles_trade": "api/charts/v1/trade/PI_XBTUSD/1h",
        "futures_historical_funding_rates": "derivatives/api/v4/historical-funding-rates?symbol=PF_XBTUSD",
        "futures_public_executions": "api/history/v3/market/PI_XBTUSD/executions",
    }.items()
}


def _samples(path: Path) -> Iterator[tuple[str, bytes]]:
    return recorded(path, named=True)


def test_samples_of_coinbases_messages_are_all_known(market_data: Path) -> None:
    """21 messages of Advanced Trade: every one of the streams, and the answers that the connector asks for, through its
    own parsers and decoders.  Of the streams it takes no candles: that message alone is none that it knows."""
    from connectors.coinbase import product_wire, wire
    from connectors.coinbase.protocol import CoinbaseMarketProtocol
    from connectors.coinbase.tracker import OrderTracker
    from connectors.coinbase.user_protocol import CoinbaseUserProtocol

    products = {name: (f"{name.replace('-', '/')}@coinbase",) for name in ("BTC-USD", "ETH-USD")}

    rows = msgspec.defstruct("Rows", [("products", list[product_wire.Product])])
    answers: dict[str, Any] = {
        "http_accounts": wire.Accounts,
        "http_fills": wire.Fills,
        "http_order": wire.RestOrderAnswer,
        "http_orders_list": wire.RestOrders,
        "http_product": product_wire.Product,
        "http_products": rows,
        "http_products_future": rows,
    }
    made: Counter[str] = Counter()
    for name, body in _samples(path_of(market_data, "coinbase_adapter_fixtures")):
        if name in answers:
            msgspec.json.decode(body, type=answers[name], strict=False)
        elif name.startswith("ws"):
            market = CoinbaseMarketProtocol("coinbase", products, ("ticker", "market_trades"))
            user = CoinbaseUserProtocol("coinbase", OrderTracker("coinbase", {"BTC-USD": "BTC/USD@coinbase"}))
            parser: Any = user if name == "ws_user" else market
            parser.receive_frame(b'{"channel":"heartbeats","timestamp":"","sequence_num":0,"events":[]}', 7)
            parser.reset()
            made.update(type(event).__name__ for event in parser.receive_frame(body, 7))
            assert parser.counters.malformed == 0, name
            made["unknown"] += parser.counters.unknown_channel
            made["streams"] += 1
    assert (made["Quote"], made["Trade"], made["BookSnapshot"]) == (1, 2, 1)
    assert (made["streams"], made["unknown"]) == (8, 0)


def test_oandas_recorded_answers_and_stream_messages_are_read(market_data: Path) -> None:
    """31 answers of a practice account, of 2016: those of requests that the connector makes are decoded by its own
    decoders, both streams go through its parsers; the other 23 are of requests that it never makes."""
    from connectors.oanda import wire
    from connectors.oanda.protocol import PriceProtocol

    read: dict[str, Any] = {
        "_v3_account_by_accountID": wire.decode_details,
        "_v3_accounts_accountID_pricing": wire.decode_pricing,
        "_v3_accounts_accountID_transactions": wire.decode_pages,
        "_v3_accounts_transaction_sinceid": wire.decode_transactions,
        "_v3_accounts_accountID_order_cancel": wire.decode_order_answer,
        "_v3_accounts_accountID_order_replace": wire.decode_order_answer,
    }
    decoded, never_asked = 0, set()
    for name, body in recorded(path_of(market_data, "oanda_v20_responses"), named=True, answers=True):
        if name == "_v3_accounts_accountID_pricing_stream":
            names = {"EUR_USD": "EUR/USD@oanda", "EUR_JPY": "EUR/JPY@oanda"}
            prices = PriceProtocol("oanda", names)
            lines = [bytes(each) for each in msgspec.json.decode(body, type=list[msgspec.Raw])]
            made = [event for each in lines for event in prices.receive_frame(each + b"\n", 7)]
            assert prices.counters.lines == len(lines)
            assert prices.counters.malformed == prices.counters.unknown_instrument == 0
            assert {event.instrument for event in made if isinstance(event, Quote)} == set(names.values())
        elif name == "_v3_accounts_transactions_stream":
            told = [wire.decode_transaction(each) for each in msgspec.json.decode(body, type=list[msgspec.Raw])]
            assert {each.type for each in told} >= {"HEARTBEAT"}
        elif name in read:
            read[name](body)
            decoded += 1
        else:
            never_asked.add(name)
    assert decoded == len(read)
    assert len(never_asked) == 23
