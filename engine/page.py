"""The parts of a page that needs no network: style, charts, tables.  Reports are made of them.

Everything that comes from outside is escaped here, but for the bodies of sections, which are made of these parts.
plotly has no place in the process that trades: whoever imports this runs in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

import plotly.io

GOOD: Final = "#0a8f5b"
BAD: Final = "#c8372d"
LINE: Final = "#2f5d8a"

_STYLE: Final = """
:root { color: #1b2733; background: #f4f6f8; font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
body { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 17px; margin: 0 0 10px; }
p.sub { color: #5b6b7a; margin: 2px 0 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-bottom: 16px; }
.tile, section { background: #fff; border: 1px solid #e1e6eb; border-radius: 8px; }
.tile { padding: 12px 14px; } .tile b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; }
.tile span { color: #5b6b7a; font-size: 13px; } .good b { color: #0a8f5b; } .bad b { color: #c8372d; }
section.alarm { border: 2px solid #c8372d; }
section { padding: 16px 18px; margin-bottom: 16px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid #edf0f3; vertical-align: top; }
th { color: #5b6b7a; font-weight: 600; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.h { font-family: ui-monospace, monospace; font-size: 12.5px; word-break: break-all; }
p.none { color: #5b6b7a; margin: 0; }
"""


def page(title: str, about: Sequence[str], sections: Iterable[str]) -> str:
    """The whole document: ``about`` is a line below the title, ``sections`` come from ``section`` and ``tiles``."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="sub">{escape(" · ".join(about))}</p>{"".join(sections)}</body></html>\n'
    )


class Charts:
    """Figures as HTML; the library itself goes into the first one, so that the page needs no network."""

    def __init__(self) -> None:
        self._count = 0

    def html(self, figure: Any, height_px: int) -> str:
        figure.update_layout(
            template="plotly_white",
            height=height_px,
            margin={"l": 60, "r": 20, "t": 10, "b": 40},
            legend={"orientation": "h", "y": 1.08},
            hovermode="closest",
            font={"color": "#1b2733"},
        )
        text: str = plotly.io.to_html(
            figure,
            full_html=False,
            include_plotlyjs=self._count == 0,
            div_id=f"chart-{self._count}",
            config={"displaylogo": False, "responsive": True},
        )
        self._count += 1
        return text


def tiles(values: Iterable[tuple[str, str, str]]) -> str:
    """``(name, value, "good", "bad" or "")`` each."""
    cells = (
        f'<div class="tile {kind}"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value, kind in values
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text: int = 1) -> str:
    """``text``: how many leading columns are words; the others are figures."""

    def cells(tag: str, row: Sequence[str]) -> str:
        marks = ("" if number < text else ' class="n"' for number in range(len(row)))
        return "".join(f"<{tag}{mark}>{escape(cell)}</{tag}>" for mark, cell in zip(marks, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', head)}</tr>{body}</table>"


def section(title: str, body: str, kind: str = "") -> str:
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{body}</section>'


def none(text: str) -> str:
    return f'<p class="none">{escape(text)}</p>'
