"""Binance's native market data: a best-price message to a quote, a change of three levels to the book it changes.

``binance_book_ticker`` and ``binance_delta`` are parse to event, ``binance_delta_applied`` ends in the core's own book.
Messages are made as the venue writes them, wrapped by their stream; no two are equal.  ``ccxt_*`` is the library for
many exchanges with the same messages in the same run (``decode_ccxt``), where the real clients are installed.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, time_each
from connectors.binance.protocol import BinanceMarketProtocol
from engine.book import OrderBook
from engine.errors import KestrelError
from engine.events import BookDelta, BookSnapshot, Quote

_VENUE = "binance_spot"
_SYMBOL = "BTCUSDT"
_INSTRUMENT = f"BTC/USDT@{_VENUE}"
_DEPTH = 1_000
_CLIENTS = Path(__file__).parents[1] / "var"
_SCRIPT = Path(__file__).with_name("decode_ccxt.py")


def _book_tickers(count: int) -> list[bytes]:
    return [
        b'{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"%d.63000000","B":"3.%d0000000",'
        b'"a":"%d.64000000","A":"1.54698000"}}' % (50093239212 + i, 61837 + i % 9, 1 + i % 9, 61837 + i % 9)
        for i in range(count)
    ]


def _deltas(count: int) -> list[bytes]:
    """Two bids and an ask near the best prices, each with a new size; every third takes a level out."""
    return [
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":%d,"s":"BTCUSDT","U":%d,"u":%d,'
        b'"b":[["%d.10000000","%d.00000000"],["%d.10000000","1.%d0000000"]],"a":[["%d.10000000","%d.25000000"]]}}'
        % (
            *(1723161255208 + i, 101 + i, 101 + i),
            *(61000 - i % 7, i % 3, 60990 - i % 11, 1 + i % 9, 61002 + i % 5, 1 + i % 7),
        )
        for i in range(count)
    ]


def _snapshot() -> bytes:
    bids = [[f"{61000 - i}.10000000", "1.00000000"] for i in range(_DEPTH)]
    asks = [[f"{61001 + i}.10000000", "1.00000000"] for i in range(_DEPTH)]
    return json.dumps({"lastUpdateId": 100, "bids": bids, "asks": asks}).encode()


def _protocol() -> tuple[BinanceMarketProtocol, BookSnapshot]:
    """Its book is at update 100."""
    protocol = BinanceMarketProtocol(_VENUE, {_SYMBOL: (_INSTRUMENT,)})
    protocol.receive_frame(_deltas(1)[0].replace(b'"U":101,"u":101', b'"U":99,"u":100'), 1)
    (snapshot,) = protocol.receive_answer(f"https://venue/depth?symbol={_SYMBOL}", _snapshot(), 2)
    assert isinstance(snapshot, BookSnapshot)
    return protocol, snapshot


def run(quick: bool) -> list[Reading]:
    """Native lanes with their targets, and the library's beside them."""
    count = 2_000 if quick else 20_000
    overhead_ns = clock_cost_ns()
    tickers, deltas = _book_tickers(count), _deltas(count)
    protocol, snapshot = _protocol()
    readings = [
        latency(
            "binance_book_ticker",
            time_each(protocol.receive_frame, [(frame, 7) for frame in tickers], overhead_ns),
            targets=(Target("p50", 1.5),),
        )
    ]
    if not isinstance(protocol.receive_frame(tickers[-1], 7)[0], Quote):
        raise KestrelError("binance_book_ticker: no quote was made")
    readings.append(
        latency("binance_delta", time_each(protocol.receive_frame, [(frame, 7) for frame in deltas], overhead_ns))
    )
    if protocol.counters.gaps or protocol.counters.malformed or protocol.counters.out_of_order:
        raise KestrelError("binance_delta: the benchmark's stream broke")
    protocol, snapshot = _protocol()
    book = OrderBook(_INSTRUMENT)
    best = book.apply_snapshot(snapshot)
    assert best is not None
    book.apply_quote(best)
    receive, apply = protocol.receive_frame, book.apply_delta

    def applied(frame: bytes) -> None:
        """As the core does: new best prices are taken as such, a change behind them is not."""
        for event in receive(frame, 7):
            best = apply(event)  # type: ignore[arg-type]
            if best is not None:
                book.apply_quote(best)

    readings.append(
        latency(
            "binance_delta_applied",
            time_each(applied, [(frame,) for frame in deltas], overhead_ns),
            targets=(Target("p50", 3.0),),
            note="three levels, to the core's book of 2,000",
        )
    )
    alone = [
        BookDelta(7, 7, _INSTRUMENT, ((1, 61000.1, 1.0 + i), (1, 60990.1, 2.0), (-1, 61002.1, 3.0))) for i in range(9)
    ]
    readings.append(latency("book_delta_apply", time_each(apply, [(alone[i % 9],) for i in range(count)], overhead_ns)))
    return readings + _library(tickers, deltas)


def _library(tickers: list[bytes], deltas: list[bytes]) -> list[Reading]:
    """Its medians, in a process of its own; nothing where it is not installed."""
    pythons = sorted(_CLIENTS.glob("clients-*/bin/python"))
    if not pythons:
        return []
    told = b"\n".join([_snapshot(), *tickers, *deltas])
    ran = subprocess.run([pythons[-1], _SCRIPT], input=told, capture_output=True, timeout=300, check=False)
    if ran.returncode:
        raise KestrelError(f"ccxt_book_ticker: {ran.stderr.decode(errors='replace').strip().splitlines()[-1]}")
    medians = json.loads(ran.stdout)
    return [
        Reading(
            "ccxt_book_ticker", medians["bookTicker"], n=len(tickers), note="decoded and handled, one process alone"
        ),
        Reading("ccxt_delta_applied", medians["depth"], n=len(deltas), note="decoded and handled, one process alone"),
    ]
