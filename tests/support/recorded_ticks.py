"""The recorded tick files as arrays, judged the two ways there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from engine.events import Quote, Trade
from engine.quality.gate import Codes, QualityGate, id_key
from tests.support.core import BTC, D, spot


class Ticks(NamedTuple):
    """One file; ``columns`` as ``judge_quotes`` or ``judge_trades`` takes them after the times."""

    quotes: bool
    ts_ns: Any
    recv_ns: Any
    columns: tuple[Any, ...]
    ids: list[str] | None

    def gate(self) -> QualityGate:
        sized = self.quotes and len(self.columns) > 2
        return QualityGate(spot(has_quote_sizes=sized, tick_px=D("0.00000001")))

    def at_once(self, judge: QualityGate, start: int = 0, stop: int | None = None) -> Codes:
        cut = slice(start, stop)
        columns = [column[cut] for column in self.columns]
        method = judge.judge_quotes if self.quotes else judge.judge_trades
        return method(self.ts_ns[cut], self.recv_ns[cut], *columns)

    def one_by_one(self, judge: QualityGate, start: int = 0, stop: int | None = None) -> Codes:
        cut = slice(start, stop)
        times = [self.ts_ns[cut].tolist(), self.recv_ns[cut].tolist()]
        values = [column[cut].tolist() for column in self.columns]
        n = len(times[0])
        if self.quotes:
            bid, ask, *sizes = values
            bid_qty, ask_qty = sizes or ([float("nan")] * n, [float("nan")] * n)
            events = map(Quote, *times, [BTC] * n, bid, bid_qty, ask, ask_qty)
            return np.fromiter(map(judge.quote, events), np.uint8, n)
        px, qty = values[:2]
        names = self.ids[cut] if self.ids else [""] * n
        return np.fromiter(map(judge.trade, map(Trade, *times, [BTC] * n, px, qty, [0] * n, names)), np.uint8, n)


def read_ticks(path: Path) -> Ticks:
    """Quotes, trades, or one side of a quote in each row (taken as trades, for their numbers)."""
    table = pq.read_table(path)
    names = table.column_names

    def column(name: str) -> Any:
        return table[name].to_numpy().astype(np.float64)

    ts_ns = table["ts_ns"].to_numpy()
    recv_ns = table["recv_ns"].to_numpy() if "recv_ns" in names else ts_ns
    if "bid" in names:
        sizes = ("bid_size", "ask_size") if "bid_size" in names else ()
        return Ticks(True, ts_ns, recv_ns, tuple(map(column, ("bid", "ask", *sizes))), None)
    ids = [str(one) for one in table["trade_id"].to_pylist()] if "trade_id" in names else None
    keys = () if ids is None else (np.array([id_key(one) for one in ids]),)
    return Ticks(False, ts_ns, recv_ns, (column("price"), column("size"), *keys), ids)
