"""One HTML page about an evaluation: verdict, table, curves, errors, importance.  One file, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import plotly.graph_objects as go

from engine.page import BAD, GOOD, LINE, Charts, none, page, section, table, tiles
from models.evaluation.comparison import Verdict
from models.evaluation.description import EpochLine
from models.evaluation.importance import Importance
from models.evaluation.outcome import OUTCOME, Comparison, Curve, ForecastScores, GroupRow, Outcome
from models.manifest import Metric

REPORT: Final = "report.html"
_COLOURS = (LINE, BAD, GOOD, "#b07b1a", "#6b4e9b", "#5b6b7a")
_KIND: dict[Verdict, str] = {"ahead": "good", "behind": "bad", "level within noise": "", "not compared": ""}
_COLUMNS = {
    "classes": ("log_loss", "accuracy", "balanced_accuracy", "macro_f1", "mcc", "brier", "ece", "roc_auc", "pr_auc"),
    "variance": ("qlike", "r2_log"),
    "return": ("r2_oos", "mse", "direction_accuracy"),
}
_BARS_MAX = 25
_GROUPS_MAX = 60


def render(outcome: Outcome, epochs: Sequence[EpochLine] = ()) -> str:
    """The whole page."""
    charts = Charts()
    sections = [_tiles(outcome)]
    if outcome.suspicions:
        lines = "".join(f"<p>{escape(text)}</p>" for text in outcome.suspicions)
        lines += f"<p>Explained: {escape(outcome.explained)}</p>" if outcome.explained else ""
        sections.append(section("Too good to be true", lines, "" if outcome.explained else "alarm"))
    if outcome.reused:
        text = (
            f"The same rows or some of them were {outcome.told_of_reuse}: the result counts as development, not as a "
            "result of record."
        )
        sections.append(section("Test re-used", none(text), "alarm"))
    sections += [
        section("Verdicts", _verdicts(outcome)),
        section("Scores on the test", _scores(outcome)),
        section("Over seeds", _seeds(outcome)),
    ]
    if epochs:
        sections.append(section("Learning curves", _learning(charts, epochs)))
    if outcome.kind == "classes":
        sections += [
            section("Precision and recall", _lines(charts, outcome.precision_recall, "recall", "precision")),
            section("ROC", _lines(charts, outcome.roc, "false positive rate", "true positive rate", diagonal=True)),
            section("Reliability (15 equal-mass bins)", _reliability(charts, outcome)),
            section("Confusion", _confusion(charts, outcome)),
            section("Risk by coverage", _risk(charts, outcome)),
        ]
    if outcome.signals:
        sections.append(section("Signals by episode", _signals(outcome)))
    sections.append(section("Conformal sets and intervals", _coverage(outcome)))
    sections += [section(f"Loss by {kind}", _groups(charts, rows)) for kind, rows in outcome.groups.items()]
    sections += [section(f"Importance: {one.of}, {one.method}", _importance(charts, one)) for one in outcome.importance]
    sections.append(section("Strategy", _selection(outcome)))
    sections.append(section("What was evaluated", _about(outcome)))
    first, last = outcome.periods["test"]
    about = [outcome.task, outcome.network, f"test {first} to {last} UTC"]
    return page(f"Evaluation of {outcome.run}", about, sections)


def figure_text(metric: Metric) -> str:
    """``0.1234 [0.1, 0.2]``."""
    text = f"{metric.value:.4g}"
    if metric.low is None or metric.high is None:
        return text
    return f"{text} [{metric.low:.4g}, {metric.high:.4g}]"


def _tiles(outcome: Outcome) -> str:
    ours, headline = outcome.scores[0], outcome.headline
    return tiles(
        [
            (f"against {outcome.best_baseline}", headline.verdict, _KIND[headline.verdict]),
            (f"{outcome.primary}, network", f"{ours.metrics[outcome.primary].value:.4g}", ""),
            (f"{outcome.primary}, minus theirs", figure_text(headline.difference), _KIND[headline.verdict]),
            ("test rows", f"{outcome.rows['test']:,}", ""),
            ("seeds", f"{len(outcome.seeds)}", ""),
            ("test", "re-used" if outcome.reused else "first opening", "bad" if outcome.reused else ""),
        ]
    )


def _verdicts(outcome: Outcome) -> str:
    head = ("ours", "baseline", "metric", "verdict", "ours minus theirs [95 %]", "Diebold-Mariano p")
    rows = table(head, (_comparison(one) for one in outcome.comparisons), text=4)
    if outcome.figures:
        rows += table(
            ("figure to beat", "metric", "source", "verdict", "figure"),
            ((one.name, one.metric, one.source, one.verdict, f"{one.figure:g}") for one in outcome.figures),
            text=4,
        )
        if outcome.test_of:
            text = "Figures to beat are not compared: they are of a fixed test, and this one is that of"
            rows += none(f"{text} {outcome.test_of}.")
    rule = (
        f"Ahead or behind only where the paired 95 % interval leaves 0 out; {outcome.draws:,} draws of whole "
        f"{outcome.drawn_by}s, mean block {outcome.block}."
    )
    return rows + none(rule)


def _comparison(one: Comparison) -> Sequence[str]:
    p = "-" if one.dm_p is None else f"{one.dm_p:.3f}"
    return one.ours, one.theirs, one.metric, one.verdict, figure_text(one.difference), p


def _scores(outcome: Outcome) -> str:
    first = [one for one in (outcome.primary,) if one not in _COLUMNS[outcome.kind]]
    names = [*first, *_COLUMNS[outcome.kind]]
    if "direction_accuracy" in outcome.scores[0].metrics and "direction_accuracy" not in names:
        names.append("direction_accuracy")

    def row(one: ForecastScores) -> Sequence[str]:
        cells = (figure_text(one.metrics[name]) if name in one.metrics else "-" for name in names)
        may_be_best = "-" if one.set_p is None else f"{one.set_p:.3f}"
        thresholds = ", ".join(f"{value:.3g}" for value in one.thresholds) or "-"
        return one.name, *cells, may_be_best, thresholds

    head = ("forecast", *(name.replace("_", " ") for name in names), "confidence set p", "threshold")
    text = "In the model confidence set, from 0.05 up a forecast may be the best. Thresholds come from validation rows."
    return table(head, (row(one) for one in outcome.scores)) + none(text)


def _seeds(outcome: Outcome) -> str:
    ours = outcome.scores[0]
    rows = ((name, f"{s.mean:.5g}", f"{s.sd:.2g}", f"{s.worst:.5g}") for name, s in ours.seeds.items())
    temperatures = ", ".join(f"{value:.3g}" for value in ours.temperatures)
    more = none(f"Temperatures, from validation rows: {temperatures}") if temperatures else ""
    return table(("metric", "mean", "sd", "worst"), rows) + more


def _learning(charts: Charts, epochs: Sequence[EpochLine]) -> str:
    names = [name for name in epochs[0].validation if any(name in one.train for one in epochs)]
    body = ""
    for name in names or list(epochs[0].validation)[:1]:
        figure = go.Figure()
        for number, seed in enumerate(dict.fromkeys(one.seed for one in epochs)):
            own = [one for one in epochs if one.seed == seed]
            colour = _COLOURS[number % len(_COLOURS)]
            for part, dash in (("train", "dot"), ("validation", "solid")):
                figure.add_scatter(
                    x=[one.epoch for one in own],
                    y=[(one.train if part == "train" else one.validation).get(name) for one in own],
                    mode="lines",
                    name=f"{part}, seed {seed}",
                    line={"color": colour, "dash": dash, "width": 1.5},
                )
        figure.update_xaxes(title="epoch")
        figure.update_yaxes(title=escape(name.replace("_", " ")))
        body += charts.html(figure, 300)
    return body


def _lines(charts: Charts, curves: Iterable[Curve], x: str, y: str, *, diagonal: bool = False) -> str:
    figure = go.Figure()
    for number, curve in enumerate(curves):
        figure.add_scatter(
            x=curve.x,
            y=curve.y,
            mode="lines",
            name=escape(curve.name),
            line={"color": _COLOURS[number % len(_COLOURS)], "width": 1.5},
        )
    if diagonal:
        figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", showlegend=False, line={"color": "#5b6b7a", "dash": "dot"})
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return charts.html(figure, 360)


def _reliability(charts: Charts, outcome: Outcome) -> str:
    figure = go.Figure()
    for number, curve in enumerate(outcome.reliability):
        figure.add_scatter(
            x=curve.x,
            y=curve.y,
            mode="lines+markers",
            name=escape(curve.name),
            line={"color": _COLOURS[number % len(_COLOURS)], "width": 1.5},
        )
    top = max(value for curve in outcome.reliability for value in (*curve.x, *curve.y))
    figure.add_scatter(x=[0, top], y=[0, top], mode="lines", showlegend=False, line={"color": "#5b6b7a", "dash": "dot"})
    figure.update_xaxes(title="said")
    figure.update_yaxes(title="happened")
    return charts.html(figure, 360)


def _confusion(charts: Charts, outcome: Outcome) -> str:
    names = [row.name for row in outcome.classes]
    figure = go.Figure(
        go.Heatmap(
            x=[escape(name) for name in names],
            y=[escape(name) for name in names],
            z=outcome.confusion,
            text=outcome.confusion,
            texttemplate="%{text:,}",
            colorscale="Blues",
            showscale=False,
        )
    )
    figure.update_xaxes(title="said")
    figure.update_yaxes(title="happened", autorange="reversed")
    rows = (
        (one.name, f"{one.rows:,}", f"{one.said:,}", f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}")
        for one in outcome.classes
    )
    return charts.html(figure, 320) + table(("class", "happened", "said", "precision", "recall", "F1"), rows)


def _risk(charts: Charts, outcome: Outcome) -> str:
    rows = ((name, f"{one.area:.4f}", f"{one.random:.4f}", f"{one.best:.4f}") for name, one in outcome.risk.items())
    head = ("forecast", "area", "area without knowing", "least possible")
    return _lines(charts, outcome.risk_coverage, "share of rows answered, the surest first", "error") + table(
        head, rows
    )


def _signals(outcome: Outcome) -> str:
    head = ("forecast", "against the precision that pays", "rows said", "episodes", "precision of their first rows")
    rows = (
        (one.name, one.verdict, f"{one.rows:,}", f"{one.episodes:,}", figure_text(one.precision))
        for one in outcome.signals
    )
    text = "Signals of an instrument whose labels overlap are one episode. Net profit waits for the back-test."
    return table(head, rows, text=2) + none(text)


def _coverage(outcome: Outcome) -> str:
    head = ("promised", "covered", "mean size", "sets of one class", "right among these", "covered by regime")

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = (
        (
            f"{one.level:.0%}",
            f"{one.coverage:.3f}",
            f"{one.size:.3g}",
            share(one.singletons),
            share(one.singleton_accuracy),
            ", ".join(f"{name} {value:.3f}" for name, value in one.by_group.items()) or "-",
        )
        for one in outcome.coverage
    )
    return table(head, rows)


def _groups(charts: Charts, rows: Sequence[GroupRow]) -> str:
    shown = rows[:_GROUPS_MAX]
    low = [0.0 if one.difference.low is None else one.difference.value - one.difference.low for one in shown]
    high = [0.0 if one.difference.high is None else one.difference.high - one.difference.value for one in shown]
    figure = go.Figure(
        go.Bar(
            x=[escape(one.name) for one in shown],
            y=[one.difference.value for one in shown],
            error_y={"type": "data", "symmetric": False, "array": high, "arrayminus": low, "color": "#5b6b7a"},
            marker={"color": LINE},
            customdata=[(one.rows, one.loss) for one in shown],
            hovertemplate="%{x}: %{y:.4g}<br>%{customdata[0]:,} rows, loss %{customdata[1]:.4g}<extra></extra>",
        )
    )
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="loss minus the best baseline's")
    more = none(f"{len(rows) - len(shown)} more in evaluation.json.") if len(rows) > len(shown) else ""
    ranked = [one.pr_auc for one in rows if one.pr_auc is not None]
    if ranked:
        above = sum(ours > theirs for ours, theirs in ranked)
        more += none(f"PR-AUC above the best baseline's in {above} of {len(ranked)}.")
    return charts.html(figure, 320) + more


def _importance(charts: Charts, one: Importance) -> str:
    ranked = sorted(one.values.items(), key=lambda item: -abs(item[1]))[:_BARS_MAX][::-1]
    ends = [one.intervals.get(name, (value, value)) for name, value in ranked]
    high = [end - value for (_, end), (_, value) in zip(ends, ranked, strict=True)]
    low = [value - begin for (begin, _), (_, value) in zip(ends, ranked, strict=True)]
    figure = go.Figure(
        go.Bar(
            x=[value for _, value in ranked],
            y=[escape(name) for name, _ in ranked],
            orientation="h",
            marker={"color": LINE},
            error_x={"type": "data", "symmetric": False, "array": high, "arrayminus": low, "color": "#5b6b7a"}
            if one.intervals
            else None,
        )
    )
    figure.update_xaxes(title=escape(one.unit))
    return charts.html(figure, 60 + 22 * len(ranked)) + none(_told(one))


def _told(one: Importance) -> str:
    sample = f" of {one.of_rows:,}, drawn at random" if one.of_rows > one.rows else ""
    text = f"{one.rows:,} validation rows{sample}; no test row is explained."
    if one.intervals:
        text += " Whiskers: 95 % over dates."
    more = len(one.values) - _BARS_MAX
    if more > 0:
        text += f" {more} columns that matter less are in {OUTCOME}."
    for name, columns in one.groups.items():
        text += f" {name}: {', '.join(columns)}."
    return text


def _selection(outcome: Outcome) -> str:
    body = "".join(none(text) for text in outcome.skipped)
    one = outcome.selection
    if one is None:
        return body
    rows = [
        ("trials, all counted", f"{one.trials}"),
        ("Sharpe ratio, annualised", f"{one.sharpe:.3f}"),
        ("probabilistic Sharpe", f"{one.psr:.4f}"),
        ("best of so many by luck, per period", f"{one.sharpe_by_luck:.4f}"),
        ("deflated Sharpe (0.95 or more)", f"{one.dsr:.4f}"),
        ("probability of over-fitting (below 0.2)", "-" if one.pbo is None else f"{one.pbo:.4f}"),
        ("passed", "yes" if one.passed else "no"),
    ]
    return body + table(("figure", "value"), rows)


def _about(outcome: Outcome) -> str:
    line = outcome.opening
    rows = [
        *(
            (f"{part} rows", f"{outcome.rows[part]:,}, {first} to {last}")
            for part, (first, last) in outcome.periods.items()
        ),
        ("parameters", f"{outcome.parameters:,}"),
        ("configuration", line.config_sha256),
        ("data", line.data_fingerprint),
        ("test", line.test.fingerprint),
        ("commit that evaluated", outcome.commit or "unknown"),
        ("test opened", f"{line.at}, on record in {outcome.ledger}"),
        ("openings before", outcome.told_of_reuse if outcome.reused else "none"),
    ]
    return table(("what", "value"), rows, text=2)
