"""What a person sees while a session runs: a line a second, and a summary at the end.

Colour on a terminal, plain lines elsewhere.  Reads state and writes text; decides nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.commands import RiskState
from engine.core import TradingCore
from engine.runtime.histogram import Histogram

_STATE_COLOUR = {RiskState.ACTIVE: "green", RiskState.REDUCING: "yellow", RiskState.HALTED: "bold red"}


class _Terminal(Console):
    """rich ends the process when its reader goes away; a trading session goes on, unseen."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # What Python still buffers for the stream must not fail again at exit.
        with contextlib.suppress(OSError, ValueError):
            descriptor = self.file.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


class StatusConsole:
    """``stream`` is stdout, or stderr when stdout carries JSON alone.  A reader that went away is survived.
    ``now_s`` measures the second between two lines."""

    def __init__(self, stream: TextIO | None = None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._stream = stream or sys.stdout
        self._rich = _Terminal(file=self._stream, highlight=False, soft_wrap=True)
        self._last_ticks = 0
        self._last_s = now_s()

    def say(self, text: str) -> None:
        """One line of the program's own."""
        self._print(escape(text))

    def line(self, core: TradingCore, tick_to_order: Histogram) -> None:
        """The line of this second."""
        now_s = self._now_s()
        counters = core.counters
        rate = (counters.ticks - self._last_ticks) / max(now_s - self._last_s, 1e-3)
        self._last_ticks, self._last_s = counters.ticks, now_s
        state = core.gate.state
        parts = [
            time.strftime("%H:%M:%S"),
            f"[{_STATE_COLOUR[state]}]{state.value.upper():<8}[/]",
            f"{rate:6.0f} ticks/s",
            f"pred {counters.predictions}",
            f"orders {counters.orders}",
            f"fills {counters.fills}",
        ]
        refused = sum(counters.rejected.values()) + sum(counters.venue_rejected.values())
        if refused:
            parts.append(f"[yellow]refused {refused}[/]")
        parts.append(f"equity {money(core.portfolio.equity)}")
        if tick_to_order.count:
            p50_us = tick_to_order.percentile(0.5) / 1000.0
            p99_us = tick_to_order.percentile(0.99) / 1000.0
            parts.append(f"tick-to-order {p50_us:.0f}/{p99_us:.0f} us")
        parts += [_market(core, instrument) for instrument in list(core.lanes)[:4]]
        if len(core.lanes) > 4:
            parts.append(f"+{len(core.lanes) - 4} more")
        self._print("  ".join(parts))

    def summary(self, rows: Mapping[str, str], title: str) -> None:
        """The table at the end."""
        table = Table(title=title, show_header=False, title_justify="left", box=None)
        for name, value in rows.items():
            table.add_row(f"[bold]{escape(name)}[/]", escape(value))
        try:
            self._rich.print(table)
        except (OSError, ValueError):
            return

    def _print(self, markup: str) -> None:
        try:
            self._rich.print(markup)
        except (OSError, ValueError):
            return  # a closed pipe must not end a trading session


def _market(core: TradingCore, instrument: str) -> str:
    """``BTC/USD 61234.50 +0.0123`` or why it does not trade yet."""
    lane = core.lanes[instrument]
    name = instrument.partition("@")[0]
    mid_px = lane.book.top.mid_px
    if not isfinite(mid_px):
        return f"{name} no price"
    text = f"{name} {lane.mark_px()}"
    qty = core.portfolio.qty(instrument)
    if qty:
        text += f" [bold]{qty.normalize():+f}[/]"
    if lane.features is not None and not lane.features.warm:
        text += f" [dim]({escape(lane.features.reason)})[/]"
    return text


def money(value: Decimal | None) -> str:
    return "unknown" if value is None else f"{value:,.2f}"
