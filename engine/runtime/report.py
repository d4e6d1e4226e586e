"""One self-contained HTML page about a finished session: equity, prices with fills, latency, tables, versions.

Owns the page.  It runs in a process of its own (``python -m engine.runtime.report SESSION_FOLDER``), because plotly has
no place in the process that trades; it reads ``summary.json`` and ``series.json`` and nothing else.  Everything that
came from outside (names of strategies, reasons, instruments) is escaped.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any, Final

import plotly.graph_objects as go

from engine.durable import write_atomically
from engine.errors import DataError, KestrelError
from engine.page import BAD, GOOD, LINE, Charts, none, page, section, table
from engine.page import tiles as page_tiles
from engine.runtime.summary import FillPoint, SessionSeries, SessionSummary, read_series, read_summary

REPORT_FILE: Final = "report.html"
_FILL_ROWS: Final = 200
_BINS_PER_DECADE: Final = 12


def build_report(session_folder: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of a session (into its folder unless ``out`` says otherwise) and return its path.

    Raises ``DataError`` when the folder holds no readable summary or the page cannot be written.
    """
    folder = Path(session_folder)
    path = Path(out) if out is not None else folder / REPORT_FILE
    text = render(read_summary(folder), read_series(folder))
    try:
        write_atomically(path, text.encode())  # whoever opens the report never sees half of it
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror}", do="check the disk and its permissions"
        ) from None
    return path


def render(summary: SessionSummary, series: SessionSeries) -> str:
    """The whole page."""
    charts = Charts()
    sections = [_tiles(summary)]
    if summary.warnings or summary.open_orders:
        title = "To be done by hand" if summary.open_orders else "Warnings"
        sections.insert(0, section(title, _left(summary), "alarm"))
    sections.append(section("Equity", _equity(charts, summary, series)))
    instruments = sorted({*series.mids, *(fill.instrument for fill in series.fills)})
    sections.extend(section(f"Price and fills: {name}", _price(charts, name, series)) for name in instruments)
    sections.append(section("Tick to order", _latency(charts, summary, series)))
    sections.append(section("Positions at the end", _positions(summary)))
    sections.append(section("Refused, by reason", _counts(summary.rejections, "reason", "Nothing was refused.")))
    if summary.drops:
        sections.append(section("Market events not used, by reason", _counts(summary.drops, "reason", "")))
    sections.append(section("Last fills", _fills(series.fills)))
    sections.append(section("What decided", _versions(summary)))
    title = f"Session {summary.session}"
    spent_s = max(0, summary.ended_ns - summary.started_ns) / 1e9
    about = [
        f"{_utc(summary.started_ns)} to {_utc(summary.ended_ns)} UTC ({_duration(spent_s)})",
        *(part for part in (summary.venue, f"feed {summary.feed}" if summary.feed else "") if part),
        f"ended {summary.state}" + (f" by {summary.stopped_by}" if summary.stopped_by else ""),
    ]
    return page(title, about, sections)


def _equity(charts: Charts, summary: SessionSummary, series: SessionSeries) -> str:
    if not any(value is not None for _, value in series.equity):
        return none("No valuation was made.")
    figure = go.Figure(_line(series.equity, f"equity, {summary.currency}"))
    figure.update_yaxes(title=escape(summary.currency))
    return charts.html(figure, 320)


def _price(charts: Charts, instrument: str, series: SessionSeries) -> str:
    figure = go.Figure(_line(series.mids.get(instrument, []), "mid"))
    for side, name, colour, symbol in ((1, "buys", GOOD, "triangle-up"), (-1, "sells", BAD, "triangle-down")):
        fills = [fill for fill in series.fills if fill.instrument == instrument and fill.side == side]
        if fills:
            figure.add_scatter(
                x=[_utc(fill.ts_ns) for fill in fills],
                y=[fill.px for fill in fills],
                text=[_hover(fill) for fill in fills],
                mode="markers",
                name=f"{name} ({len(fills)})",
                hovertemplate="%{x}<br>%{text}<extra></extra>",
                marker={"symbol": symbol, "size": 10, "color": colour, "line": {"width": 1, "color": "#fff"}},
            )
    return charts.html(figure, 380)


def _latency(charts: Charts, summary: SessionSummary, series: SessionSeries) -> str:
    if not _log_bins(series.latency):
        return none("No order was sent, so nothing was measured.")
    bins = _log_bins(series.latency)
    figure = go.Figure(
        go.Bar(
            x=[(number + 0.5) / _BINS_PER_DECADE for number in bins],
            y=list(bins.values()),
            width=1 / _BINS_PER_DECADE,
            marker={"color": LINE, "line": {"width": 0}},
            name="orders",
            text=[f"{10 ** (n / _BINS_PER_DECADE):.3g} to {10 ** ((n + 1) / _BINS_PER_DECADE):.3g} us" for n in bins],
            textposition="none",
            hovertemplate="%{text}: %{y}<extra></extra>",
        )
    )
    # A linear axis of logarithms: bars on plotly's own log axis are not equally wide.
    ticks = [step * 10**decade for decade in range(-3, 9) for step in (1, 2, 5)]
    figure.update_xaxes(
        title="from the tick's arrival to the order's bytes, us (logarithmic)",
        tickvals=[math.log10(tick) for tick in ticks],
        ticktext=[f"{tick:,g}" for tick in ticks],
        range=[(min(bins) - 1) / _BINS_PER_DECADE, (max(bins) + 2) / _BINS_PER_DECADE],
    )
    figure.update_yaxes(title="orders")
    for name, value, place in (
        ("p50", summary.tick_to_order_us.p50, "top left"),
        ("p99", summary.tick_to_order_us.p99, "top right"),
    ):
        if value is not None and value > 0:
            figure.add_vline(
                x=math.log10(value),
                line={"dash": "dot", "color": "#5b6b7a"},
                annotation_text=f"{name} {value:,.0f} us",
                annotation_position=place,
            )
    return charts.html(figure, 300)


def _log_bins(buckets: Sequence[tuple[float, int]]) -> dict[int, int]:
    """Counts by bin of 1/12 decade, without holes: a bucket counts where its upper edge lies."""
    counts: dict[int, int] = {}
    for us, count in buckets:
        if us > 0 and count > 0:
            # An upper edge is exclusive, so that one on a bin's edge belongs below it.
            number = math.ceil(round(math.log10(us) * _BINS_PER_DECADE, 9)) - 1
            counts[number] = counts.get(number, 0) + count
    return {number: counts.get(number, 0) for number in range(min(counts), max(counts) + 1)} if counts else {}


def _line(points: Sequence[tuple[int, float | None]], name: str) -> Any:
    return go.Scatter(
        x=[_utc(ts_ns) for ts_ns, _ in points],
        y=[value for _, value in points],
        mode="lines",
        name=escape(name),
        line={"color": LINE, "width": 1.5},
        connectgaps=False,
    )


def _hover(fill: FillPoint) -> str:
    side = "buy" if fill.side > 0 else "sell"
    return escape(f"{side} {fill.qty:g} at {fill.px:g}, fee {fill.fee:g}, {fill.strategy}")


def _tiles(summary: SessionSummary) -> str:
    profit = None
    if summary.equity is not None and summary.equity_start is not None:
        profit = summary.equity - summary.equity_start
    colour = "" if not profit else "good" if profit > 0 else "bad"
    latency = summary.tick_to_order_us
    tiles = [
        ("equity, " + summary.currency, _money(summary.equity), ""),
        ("profit after fees", _money(profit, sign=True), colour),
        ("fees", _money(summary.fees), ""),
        *([("funding", _money(summary.funding, sign=True), "")] if summary.funding else []),
        ("ticks", f"{summary.ticks:,}", ""),
        ("predictions", f"{summary.predictions:,}", ""),
        ("late predictions", f"{summary.late_predictions:,}", "bad" if summary.late_predictions else ""),
        ("intents", f"{summary.intents:,}", ""),
        ("orders", f"{summary.orders:,}", ""),
        ("fills", f"{summary.fills:,}", ""),
        ("refused", f"{summary.rejected:,}", ""),
        ("dropped market events", f"{summary.dropped:,}", ""),
        ("tick to order p50 / p99, us", f"{_number(latency.p50)} / {_number(latency.p99)}", ""),
    ]
    return page_tiles(tiles)


def _positions(summary: SessionSummary) -> str:
    if not summary.positions:
        return none("Nothing was ever held.")
    rows = (
        (
            name,
            f"{line.qty:f}",
            f"{line.avg_px:f}",
            _money(line.realised, sign=True),
            _money(line.fees),
            _money(line.funding, sign=True),
        )
        for name, line in sorted(summary.positions.items())
    )
    return table(("instrument", "quantity", "average price", "realised", "fees", "funding"), rows)


def _counts(counts: dict[str, int], head: str, empty: str) -> str:
    if not counts:
        return none(empty)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return table((head, "count"), ((name, f"{count:,}") for name, count in ordered))


def _fills(fills: Sequence[FillPoint]) -> str:
    if not fills:
        return none("No order was filled.")
    rows = (
        (
            _utc(f.ts_ns),
            f.instrument,
            f.strategy,
            "buy" if f.side > 0 else "sell",
            f"{f.qty:g}",
            f"{f.px:.10g}",
            f"{f.fee:g}",
        )
        for f in reversed(fills[-_FILL_ROWS:])
    )
    rows_shown = table(("time, UTC", "instrument", "strategy", "side", "quantity", "price", "fee"), rows, text=4)
    more = len(fills) - _FILL_ROWS
    return rows_shown + (none(f"{more:,} earlier fills are in the journal.") if more > 0 else "")


def _versions(summary: SessionSummary) -> str:
    rows = [("configuration", summary.config_hash), ("code", summary.code_hash)]
    rows += [("model", name) for name in summary.models] + [("features", name) for name in summary.features]
    body = "".join(f'<tr><td>{escape(kind)}</td><td class="h">{escape(value)}</td></tr>' for kind, value in rows)
    return f"<table>{body}</table>"


def _left(summary: SessionSummary) -> str:
    """What may still live at the venues, and what else a person has to look at."""
    lines = "".join(f"<p>{escape(text)}</p>" for text in summary.warnings)
    if not summary.open_orders:
        return lines
    rows = (
        (
            order.client_order_id,
            order.venue_order_id or "unknown",
            order.instrument,
            "buy" if order.side > 0 else "sell",
            order.state,
            f"{order.qty:f}",
            f"{order.leaves_qty:f}",
        )
        for order in summary.open_orders
    )
    head = ("client order id", "venue order id", "instrument", "side", "last known state", "quantity", "open")
    more = summary.open_order_count - len(summary.open_orders)
    return lines + table(head, rows, text=5) + (none(f"{more:,} more are in the journal.") if more > 0 else "")


def _money(value: Decimal | None, *, sign: bool = False) -> str:
    if value is None:
        return "unknown"
    return f"{value:+,.2f}" if sign else f"{value:,.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _utc(ts_ns: int) -> str:
    """Milliseconds, as plotly reads them."""
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """``SESSION_FOLDER [OUT]``: prints the path of the page, or one line of error and a non-zero exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) not in (1, 2):
        print("usage: python -m engine.runtime.report SESSION_FOLDER [OUT]", file=sys.stderr)
        return 2
    try:
        print(build_report(*arguments))
    except KestrelError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
