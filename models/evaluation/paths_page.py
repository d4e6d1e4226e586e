"""One HTML page about the paths of a combinatorial purged cross-validation: spread, paths, equity."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
import plotly.graph_objects as go

from engine.durable import write_atomically
from engine.errors import DataError
from engine.page import LINE, Charts, none, page, section, table, tiles
from models.evaluation.paths import Paths

_CAUTION: Final = (
    "Paths share trainings and rows: their spread is no standard error. All rows lie before the test, which stays "
    "shut; settings that were searched for on these rows look better here than they are."
)


def write_page(path: Path, found: Paths) -> None:
    """Raises ``DataError`` where it cannot be written."""
    try:
        write_atomically(path, render(found).encode())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}", do="check the disk") from None


def spread_rows(found: Paths) -> list[tuple[str, ...]]:
    """Name, mean, deviation, least and greatest over the paths."""
    return [(name, *(f"{value:.4g}" for value in found.spread(name))) for name in found.figures]


def render(found: Paths) -> str:
    """The whole page."""
    charts = Charts()
    _, _, least, _ = found.spread("skill")
    better = sum(one.skill > 0 for one in found.paths)
    shown = [
        ("paths", f"{len(found.paths)}", ""),
        ("splits trained", f"{found.splits}", ""),
        ("better than knowing nothing", f"{better} of {len(found.paths)}", "good" if least > 0 else "bad"),
    ]
    if found.costs is not None:
        won = sum(one.traded is not None and one.traded.net > 0 for one in found.paths)
        shown.append(("won after costs", f"{won} of {len(found.paths)}", "good" if won == len(found.paths) else "bad"))
    sections = [tiles(shown)]
    if found.suspicions:
        lines = "".join(f"<p>{escape(text)}</p>" for text in found.suspicions)
        lines += f"<p>Explained: {escape(found.explained)}</p>" if found.explained else ""
        sections.append(section("Too good to be true", lines, "" if found.explained else "alarm"))
    head = ("over the paths", "mean", "sd", "least", "greatest")
    sections.append(section("Spread", table(head, spread_rows(found)) + none(_CAUTION)))
    sections.append(section("Paths", _paths(found)))
    if found.costs is not None:
        sections.append(section("Net returns, added up", _equity(charts, found)))
    sections.append(section("What was evaluated", _about(found)))
    first, last = _day(found.first_ns), _day(found.last_ns)
    return page(f"Paths of {found.run}", [found.task, found.network, f"{first} to {last} UTC"], sections)


def _paths(found: Paths) -> str:
    traded = found.costs is not None
    head = ["path", found.primary, found.loss, "loss of knowing nothing", "skill"]
    head += ["net", "Sharpe ratio, annualised", "probabilistic Sharpe", "deflated Sharpe"] if traded else []
    rows = []
    for number, one in enumerate(found.paths, 1):
        row = [f"{number}", *(f"{one.scores.get(name, np.nan):.5g}" for name in (found.primary, found.loss))]
        row += [f"{one.naive_loss:.5g}", f"{one.skill:.4g}"]
        if one.traded is not None:
            told = (one.traded.net, one.traded.sharpe, one.traded.psr, one.traded.dsr)
            row += ["-" if value is None else f"{value:.4g}" for value in told]
        rows.append(row)
    return table(head, rows)


def _equity(charts: Charts, found: Paths) -> str:
    figure = go.Figure()
    days = [_day(day) for day in found.days_ns]
    for number, one in enumerate(found.paths, 1):
        if one.traded is not None:
            figure.add_scatter(
                x=days, y=one.traded.equity, mode="lines", name=f"path {number}", line={"color": LINE, "width": 1}
            )
    figure.update_yaxes(title="share of the stake")
    text = "No fills are simulated: a position is taken at the row's price and given back at the label's."
    return charts.html(figure, 360) + none(text)


def _about(found: Paths) -> str:
    rows = [
        ("folds, held out at a time", f"{found.folds}, {found.held_out}"),
        ("rows of a path", f"{found.rows:,}"),
        ("seed", f"{found.seed}"),
        ("configuration", found.config_sha256),
        ("data", found.data_fingerprint),
        ("commit that evaluated", found.commit or "unknown"),
    ]
    if found.costs is not None:
        costs = found.costs
        brings = f", a signal brings {costs.gain_bps:g} or takes {costs.loss_bps:g}" if costs.gain_bps else ""
        rows.append(("costs, bps", f"{costs.cost_bps:g} a position{brings}"))
    return table(("what", "value"), rows, text=2)


def _day(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")
