"""Quality gates for tests: a gate, events for it, and what it said in words."""

from __future__ import annotations

from typing import Any

from engine.events import Bar, Quote, Trade
from engine.quality.gate import QualityGate
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import ISSUES, VERDICTS
from tests.support.core import BTC, spot

MS = 1_000_000
S = 1_000 * MS
START = 1_700_000_000 * S


def gate(tolerances: Tolerances | None = None, **changes: Any) -> QualityGate:
    """A gate of BTC/USD on cent ticks; ``changes`` are the instrument's."""
    return QualityGate(spot(**changes), tolerances or Tolerances())


def quote(at_ns: int, mid_px: float = 100.0, *, delay_ns: int = 0, spread_px: float = 0.02, qty: float = 1.0) -> Quote:
    """At venue time ``START + at_ns``, received ``delay_ns`` later."""
    ts_ns = START + at_ns
    return Quote(ts_ns, ts_ns + delay_ns, BTC, mid_px - spread_px / 2, qty, mid_px + spread_px / 2, 2.0)


def trade(at_ns: int, px: float = 100.0, qty: float = 1.0, trade_id: str = "", *, delay_ns: int = 0) -> Trade:
    ts_ns = START + at_ns
    return Trade(ts_ns, ts_ns + delay_ns, BTC, px, qty, 1, trade_id)


def bar(at_ns: int, close_px: float = 100.0, volume_qty: float = 5.0, interval_ns: int = 60 * S) -> Bar:
    ts_ns = START + at_ns
    return Bar(ts_ns, ts_ns, BTC, interval_ns, close_px, close_px + 1.0, close_px - 1.0, close_px, volume_qty)


def said(code: int) -> str:
    """``accepted``, ``dropped late`` and so on."""
    return f"{VERDICTS[code & 3]} {ISSUES[code >> 2]}".strip()


def warm(judge: QualityGate, n: int = 40, *, trades: bool = False) -> int:
    """A calm market of ``n`` ticks a millisecond apart around 100, a cent up and down; the time after it."""
    for i in range(n):
        px = 100.0 + 0.01 * (i % 2)
        code = judge.trade(trade(i * MS, px)) if trades else judge.quote(quote(i * MS, px))
        assert said(code) == "accepted", i
    return n * MS
