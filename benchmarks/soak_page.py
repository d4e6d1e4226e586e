"""A soak's result as a page: the table of verdicts, one small chart for each figure, and the rows as JSON.

Owns how it looks.  The charts are plain SVG, made here: the project's drawing library writes only for browsers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.soak_verdict import AT_LEAST, Row, Verdict

CHARTS = {
    "ticks_per_s": "ticks per second",
    "daemon_anon_mb": "daemon, own memory, MB",
    "daemon_file_mb": "daemon, mapped files, MB",
    "daemon_descriptors": "daemon, descriptors",
    "daemon_threads": "daemon, threads",
    "tick_to_order_p50_us": "tick to order, median, us",
    "cpu_us_per_tick": "processor time of the daemon per tick, us",
    "waited_share": "share of time in which the loop waited for a processor",
    "tick_to_order_p99_us": "tick to order, 99th percentile, us",
    "decode_p50_us": "received to handled, median, us",
    "features_p50_us": "features, median, us",
    "loop_lag_s": "loop lag, worst of a second, s",
    "conflated_per_s": "quotes that gave way, per second",
    "queued": "waiting in all queues",
    "predictions_per_s": "predictions per second",
    "orders_per_s": "orders per second",
    "journal_bytes": "journal, bytes",
    "gc_full": "full collections",
    "exchange_anon_mb": "exchange, own memory, MB",
}
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP_X, _GAP_Y, _COLUMNS = 300, 90, 60, 40, 90, 50, 2


def table(verdicts: Sequence[Verdict]) -> str:
    """One line a verdict."""
    rows = ["| figure | seen | 95 % interval | bound | |", "|---|---|---|---|---|"]
    for one in verdicts:
        interval = "" if one.low == one.high else f"{one.low:+.2f} to {one.high:+.2f}"
        sign = ">=" if one.name in AT_LEAST else "<="
        rows.append(f"| {one.name} | {one.text} | {interval} | {sign} {one.bound:,.2f} | {_word(one)} |")
    return "\n".join(rows)


def _word(one: Verdict) -> str:
    if not one.judged:
        return "not judged"
    return "ok" if one.ok else "NOT FLAT"


def write(folder: Path, result: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
    """``soak.md``, ``soak.svg`` and ``soak.json`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = result["rows"]
    names = sorted({name for row in rows for name in row})
    columns = {name: [_short(row.get(name)) for row in rows] for name in names}
    content = {**result, "rows": columns, "verdicts": {one.name: [_short(one.value), one.ok] for one in verdicts}}
    (folder / "soak.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
    (folder / "soak.svg").write_text(svg(rows))
    (folder / "soak.md").write_text(page(result, verdicts))


def page(result: dict[str, Any], verdicts: Sequence[Verdict]) -> str:
    summary, machine = result["summary"], result["machine"]
    about = ", ".join(str(value) for value in machine.values() if isinstance(value, str | int | float))
    return f"""# Soak

`make soak ARGS="--minutes {result["minutes"]:g} --rate {result["rate"]:g} --write docs/results"`: a real session on the
built-in exchange for {result["minutes"]:g} minutes, trading with the demo model and three strategies. The market stream
is the exchange's, its quotes repeated with other sizes up to {result["rate"]:,.0f} messages a second
(`benchmarks/soak_feed.py`). Growth is the slope of Theil and Sen over the last two thirds, times that time
(`benchmarks/soak_verdict.py: judge`).

{summary["ticks"]:,} ticks, {summary["predictions"]:,} predictions, {summary["orders"]:,} orders, {summary["fills"]:,}
fills. Machine: {about}.

{table(verdicts)}

![charts](soak.svg)
"""


def svg(rows: Sequence[Row], charts: Mapping[str, str] = MappingProxyType(CHARTS)) -> str:
    """A grid of lines over time, one for each figure that ``charts`` has a title for."""
    lines = -(-len(charts) // _COLUMNS)
    width = _COLUMNS * (_WIDTH + _GAP_X) + _LEFT
    height = lines * (_HEIGHT + _GAP_Y) + _TOP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{width}" height="{height}" fill="#fff"/>'
    )
    parts = [head]
    for number, (name, title) in enumerate(charts.items()):
        x = _LEFT + number % _COLUMNS * (_WIDTH + _GAP_X)
        y = _TOP + number // _COLUMNS * (_HEIGHT + _GAP_Y)
        parts.append(_chart(x, y, title, [(row["at_s"] / 60, row[name]) for row in rows if name in row]))
    return "\n".join([*parts, "</svg>\n"])


def _chart(x: int, y: int, title: str, points: Sequence[tuple[float, float]]) -> str:
    frame = (
        f'<text x="{x}" y="{y - 8}">{title}</text>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#bbb"/>'
    )
    points = [(at, value) for at, value in points if math.isfinite(value)]
    if len(points) < 2:
        return frame
    last = points[-1][0]
    top = max(value for _, value in points) * 1.1 or 1.0  # from zero: what looks flat is flat
    line = " ".join(f"{x + at / last * _WIDTH:.1f},{y + (1 - value / top) * _HEIGHT:.1f}" for at, value in points)
    return (
        f'{frame}<polyline points="{line}" fill="none" stroke="#1660a8" stroke-width="1"/>'
        f'<text x="{x - 4}" y="{y + 9}" text-anchor="end">{top:,.4g}</text>'
        f'<text x="{x - 4}" y="{y + _HEIGHT}" text-anchor="end">0</text>'
        f'<text x="{x + _WIDTH}" y="{y + _HEIGHT + 12}" text-anchor="end">{last:.0f} min</text>'
    )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
