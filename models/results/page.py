"""``docs/results/TASK/README.md`` from the list and from what is kept, and from nothing else.

Owns the page.  What was not run says so: no number stands here that no outcome holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from engine.durable import write_atomically
from engine.errors import DataError
from models.evaluation.comparison import verdict
from models.evaluation.description import Figure
from models.evaluation.outcome import FigureVerdict
from models.evaluation.period_losses import common, paired
from models.evaluation.report import figure_text
from models.evaluation.scoring import NETWORK
from models.results.kept import CONFIG, Kept, KeptForecast
from models.results.listed import FORWARD, Entry, Listed
from models.results.pictures import picture_name
from models.results.work import Standing

PAGE: Final = "README.md"
NOT_RUN: Final = "not run yet"
PENDING: Final = "pending"
_PERIODS_LEAST = 10
_EARLIER = "earlier measurement"
_FigureOf = tuple[str, str, float, str]
"""Name, metric, value and source: what tells one figure to beat from another."""
_COLUMNS = {
    "classes": ("log_loss", "mcc", "macro_f1", "weighted_f1", "balanced_accuracy", "ece", "direction_accuracy"),
    "signal": ("pr_auc", "log_loss", "precision", "recall", "f1", "ece"),
    "variance": ("qlike", "r2_log"),
    "return": ("r2_oos", "direction_accuracy"),
}


def render(listed: Listed, standings: Sequence[Standing]) -> str:
    """The whole page."""
    return "\n".join(_page(listed, standings)).rstrip() + "\n"


def write(folder: Path, listed: Listed, standings: Sequence[Standing]) -> None:
    """Raises ``DataError``."""
    path = folder / listed.task / PAGE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, render(listed, standings).encode(), 0o644)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}", do="make room") from None


def _page(listed: Listed, standings: Sequence[Standing]) -> Iterator[str]:
    yield f"# {listed.file.title}\n"
    yield f"<!-- Made by `python run.py results --only {listed.task}`; edits are lost. -->\n"
    yield f"{listed.file.about.strip()}\n"
    later = [name for name, one in listed.file.entries.items() if one.later]
    but = f", but {', '.join(later)} (listed later: development, whatever they come to)," if later else ""
    yield (
        f"The list is [{listed.path.name}](../../../config/results/{listed.path.name}); its entries{but} "
        "were fixed before any of its tests was opened, [as far as that is on "
        "record](../../training.md#results-of-record). "
        "How a test is scored and what the intervals are: "
        "[training](../../training.md). A verdict is `ahead` or `behind` only where the paired 95 % interval leaves 0 "
        "out. Net profit of strategies: "
        f"{PENDING} (it waits for the back-test).\n"
    )
    if any(figure.source.startswith(_EARLIER) for entry in listed.entries for figure in _figures_of(entry)):
        yield (
            "Figures to beat that come from an earlier measurement were measured on these tests: they had been looked "
            "at before the first opening on this ledger. A result on a fixed test is development, the walk-forward is "
            "the record.\n"
        )
    yield "## What was run\n"
    yield from _runs(standings)
    shown = [(one, forecast) for one in standings if one.kept for forecast in one.kept.forecasts]
    fixed = [(one, forecast) for one, forecast in shown if one.entry.name != FORWARD]
    idle = [one.entry for one in standings if one.kept is None and one.entry.name != FORWARD]
    for task in dict.fromkeys(forecast.task for _, forecast in fixed):
        own = [(one, forecast) for one, forecast in fixed if forecast.task == task]
        yield f"## {task}\n"
        yield from _scores(own)
        yield from _verdicts(own, listed.file.explain)
        yield from _figures(own, idle)
        yield from _signals(own)
    yield from _not_judged({_figure_of(f) for _, forecast in fixed for f in forecast.figures}, idle)
    yield from _against(standings)
    yield from _forward(
        [(one, forecast) for one, forecast in shown if one.entry.name == FORWARD], _chosen_on(listed, shown)
    )
    if shown:
        yield "## How it was made\n"
        yield from _made(standings)


def _figures_of(entry: Entry) -> Sequence[Figure]:
    return entry.settings.judged.figures if entry.settings else ()


def _runs(standings: Sequence[Standing]) -> Iterator[str]:
    yield "| entry | network | parameters | seeds | state | core-hours, estimated | seconds of training |"
    yield "|---|---|---|---|---|---|---|"
    for one in standings:
        entry, kept = one.entry, one.kept
        network = kept.network if kept else entry.settings.network.name if entry.settings else "chosen by validation"
        state = NOT_RUN if kept is None else "done" if one.state == "done" else f"done with {one.state}"
        cells = (f"{kept.parameters:,}", f"{len(kept.seeds)}", state) if kept else ("-", _seeds(entry), state)
        yield _row(_linked(one), network, *cells, f"{entry.core_hours:g}", f"{kept.seconds:,.0f}" if kept else "-")
    left = sum(one.entry.core_hours for one in standings if one.kept is None)
    yield f"\nStill to run: about {left:.1f} core-hours of {sum(one.entry.core_hours for one in standings):.1f}.\n"


def _seeds(entry: Entry) -> str:
    return f"{len(entry.settings.fit.seeds)}" if entry.settings else "-"


def _linked(one: Standing) -> str:
    return f"[{one.entry.name}]({one.entry.name}/{CONFIG})" if one.kept else one.entry.name


def _scores(own: Sequence[tuple[Standing, KeptForecast]]) -> Iterator[str]:
    first = own[0][1]
    yield (
        f"Test {first.periods['test'][0]} to {first.periods['test'][1]}, {first.rows['test']:,} rows "
        f"({first.rows['train']:,} of training, {first.rows['validation']:,} of validation), "
        f"drawn by {first.drawn_by}, mean block {first.block}.\n"
    )
    kind = "signal" if first.primary == "pr_auc" else first.kind
    names = [name for name in _COLUMNS[kind] if any(name in score.metrics for _, f in own for score in f.scores)]
    yield _row("forecast", *(name.replace("_", " ") for name in names), f"{first.primary} over seeds: sd, worst")
    yield _row(*["---"] * (len(names) + 2))
    for one, forecast in own:
        for score in forecast.scores:
            if score.role == "baseline":
                continue
            spread = score.seeds.get(forecast.primary)
            told = f"{spread.sd:.2g}, {spread.worst:.4g}" if spread and len(one.entry.settings.fit.seeds) > 1 else "-"  # type: ignore[union-attr]
            yield _row(
                f"**{_named(one, score.name)}**", *(_cell(forecast, score.name, metric) for metric in names), told
            )
    # Baselines have no seeds of ours and the same rows in every entry of one test: the first tells them.
    for forecast in {f.opening.test.fingerprint: f for _, f in reversed(own)}.values():
        for score in forecast.scores:
            if score.role == "baseline":
                yield _row(score.name, *(_cell(forecast, score.name, metric) for metric in names), "-")
    yield ""


def _named(one: Standing, forecast: str) -> str:
    """The entry, and which of its forecasts it is."""
    return one.entry.name if forecast == NETWORK else f"{one.entry.name}, {forecast.removeprefix(f'{NETWORK}, ')}"


def _cell(forecast: KeptForecast, name: str, metric: str) -> str:
    found = forecast.metric(name, metric)
    return "-" if found is None else figure_text(found)


def _verdicts(own: Sequence[tuple[Standing, KeptForecast]], explain: str) -> Iterator[str]:
    yield "| forecast | best baseline | metric | ours minus theirs [95 %] | verdict | Diebold-Mariano p | test |"
    yield "|---|---|---|---|---|---|---|"
    for one, forecast in own:
        for found in forecast.comparisons:
            if found.theirs != forecast.best_baseline:
                continue
            name = _named(one, found.ours)
            p = "-" if found.dm_p is None else f"{found.dm_p:.3f}"
            said = f"**{found.verdict}**" if found.metric == forecast.primary else found.verdict
            yield _row(name, found.theirs, found.metric, figure_text(found.difference), said, p, _use(forecast))
    yield ""
    behind = [one.entry.name for one, f in own if f.headline.verdict != "ahead"]
    if behind:
        yield f"Not shown to be better than the best baseline, and so no reason to trade by: {', '.join(behind)}.\n"
    doubted = [(one.entry.name, forecast.suspicions) for one, forecast in own if forecast.suspicions]
    if doubted:
        names = ", ".join(name for name, _ in doubted)
        yield f"Too good to be true ({names}): {doubted[0][1][0]}. {explain.strip() or 'Not explained.'}\n"


def _use(forecast: KeptForecast) -> str:
    earlier = len(forecast.opened_before_by)
    return "first opening" if not earlier else f"re-used, opening {earlier + 1}"


def _figures(own: Sequence[tuple[Standing, KeptForecast]], idle: Sequence[Entry]) -> Iterator[str]:
    """What the entries of one forecast came to against each figure; ``idle`` ones that are to have it stand beside."""
    figures = list(dict.fromkeys(_figure_of(f) for _, one in own for f in one.figures))
    if not figures:
        return
    waiting = [entry for entry in idle if not set(figures).isdisjoint(_asked(entry))]
    names = [one.entry.name for one, _ in own]
    yield _row("figure to beat", "metric", "figure", "source", *names, *(entry.name for entry in waiting))
    yield _row(*["---"] * (4 + len(names) + len(waiting)))
    for figure in figures:
        said = [next((f.verdict for f in one.figures if _figure_of(f) == figure), "-") for _, one in own]
        yield _row(*_told(figure), *said, *_awaited(figure, waiting))
    yield ""


def _not_judged(judged: Collection[_FigureOf], idle: Sequence[Entry]) -> Iterator[str]:
    """Figures that nothing was held against so far."""
    figures = list(dict.fromkeys(figure for entry in idle for figure in _asked(entry) if figure not in judged))
    if not figures:
        return
    waiting = [entry for entry in idle if not set(figures).isdisjoint(_asked(entry))]
    yield "## Figures that nothing was held against so far\n"
    yield _row("figure to beat", "metric", "figure", "source", *(entry.name for entry in waiting))
    yield _row(*["---"] * (4 + len(waiting)))
    for figure in figures:
        yield _row(*_told(figure), *_awaited(figure, waiting))
    yield ""


def _figure_of(judged: FigureVerdict) -> _FigureOf:
    return judged.name, judged.metric, judged.figure, judged.source


def _asked(entry: Entry) -> list[_FigureOf]:
    """The figures that the settings of an entry name."""
    return [(one.name, one.metric, one.value, one.source) for one in _figures_of(entry)]


def _told(figure: _FigureOf) -> tuple[str, ...]:
    return figure[0], figure[1], f"{figure[2]:g}", figure[3]


def _awaited(figure: _FigureOf, waiting: Sequence[Entry]) -> list[str]:
    return [NOT_RUN if figure in _asked(entry) else "-" for entry in waiting]


def _signals(own: Sequence[tuple[Standing, KeptForecast]]) -> Iterator[str]:
    if not any(forecast.signals for _, forecast in own):
        return
    yield _row(
        "forecast", "rows said", "episodes", "precision of first rows", "against break-even", "profit", "by pair"
    )
    yield _row(*["---"] * 7)
    told: set[tuple[str, str]] = set()  # baselines say the same in every entry of one test
    for one, forecast in own:
        for signal in forecast.signals:
            ours = signal.name.startswith(NETWORK)
            if not ours and (signal.name, forecast.opening.test.fingerprint) in told:
                continue
            told.add((signal.name, forecast.opening.test.fingerprint))
            above = forecast.symbols_above
            by_pair = f"PR-AUC above the best baseline's in {above[0]} of {above[1]}" if ours and above else "-"
            cells = (f"{signal.rows:,}", f"{signal.episodes:,}", figure_text(signal.precision), signal.verdict, PENDING)
            yield _row(f"{one.entry.name}, seeds averaged" if ours else signal.name, *cells, by_pair)
    yield ""


def _against(standings: Sequence[Standing]) -> Iterator[str]:
    """Entries against each other, paired by period of the same test rows."""
    by_name = {one.entry.name: one for one in standings}
    pairs = [(one, by_name[other]) for one in standings for other in one.entry.against]
    if not pairs:
        return
    yield "## Against each other\n"
    yield (
        "Mean loss over seeds on the same rows, paired by period; less is better. Where a table above is about another "
        "metric, that of both stands beside it; its difference has no interval, as forecasts are not kept.\n"
    )
    yield "| ours | theirs | forecast | loss | common rows | ours minus theirs [95 %] | verdict | ours, theirs |"
    yield "|---|---|---|---|---|---|---|---|"
    idle: list[str] = []
    for ours, theirs in pairs:
        if ours.kept is None or theirs.kept is None:
            yield _row(ours.entry.name, theirs.entry.name, "-", "-", "-", NOT_RUN, "-", "-")
            continue
        for mine in ours.kept.forecasts:
            for other in theirs.kept.forecasts:
                if mine.task != other.task:
                    continue
                row, ahead = _pair(ours.entry.name, theirs.entry.name, mine, other)
                yield row
                if not ahead:
                    idle.append(f"{ours.entry.name} for {theirs.entry.name} ({mine.task})")
    yield ""
    if idle:
        told = "; ".join(idle)
        yield f"Not shown to be better than what it was to beat, and so not to be used in its place: {told}.\n"


def _pair(ours: str, theirs: str, mine: KeptForecast, other: KeptForecast) -> tuple[str, bool]:
    """The row, and whether ours is ahead."""
    first, second = common(mine.losses, other.losses)
    if len(first.rows) < _PERIODS_LEAST:
        return _row(ours, theirs, mine.task, mine.loss, f"{sum(first.rows):,}", "-", "no common rows", "-"), False
    gap = paired([first], [second], NETWORK, NETWORK)
    said = verdict(mine.loss, gap)
    cells = (mine.task, mine.loss, f"{sum(first.rows):,}", figure_text(gap.metric), f"**{said}**", _both(mine, other))
    return _row(ours, theirs, *cells), said == "ahead"


def _both(mine: KeptForecast, other: KeptForecast) -> str:
    """The primary metric of both, where it is not the loss; its name is that of ours."""
    if mine.primary == mine.loss:
        return "-"
    return f"{mine.primary} {_cell(mine, NETWORK, mine.primary)}, {_cell(other, NETWORK, mine.primary)}"


def _chosen_on(listed: Listed, shown: Sequence[tuple[Standing, KeptForecast]]) -> tuple[str, str] | None:
    """The first and the last validation row that the network of the walk-forward was chosen by."""
    among = listed.file.walk_forward.among if listed.file.walk_forward else ()
    return next((forecast.periods["validation"] for one, forecast in shown if one.entry.name in among), None)


def _forward(shown: Sequence[tuple[Standing, KeptForecast]], chosen_on: tuple[str, str] | None) -> Iterator[str]:
    if not shown:
        return
    yield "## Walk-forward\n"
    yield (
        "Each origin learns from all before it and is judged on the stretch that follows; one seed. The network was "
        "chosen by validation scores. All origins together are compared by the loss, with the best baseline of each.\n"
    )
    if chosen_on is not None:
        yield (
            f"The rows that it was chosen by are of {chosen_on[0]} to {chosen_on[1]}, and what lies before them was "
            "learned from for that: only stretches behind them had no part in the choice.\n"
        )
    head = ("forecast", "origin", "test", "rows", "metric", "network", "best baseline", "ours minus theirs [95 %]")
    yield _row(*head, "verdict", "test opened")
    yield _row(*["---"] * 10)
    for _, one in shown:
        period = f"{one.periods['test'][0]} to {one.periods['test'][1]}"
        theirs = f"{one.best_baseline}: {_cell(one, one.best_baseline, one.primary)}"
        headline = one.headline
        cells = (
            one.task,
            f"{one.origin}",
            period,
            f"{one.rows['test']:,}",
            one.primary,
            _cell(one, NETWORK, one.primary),
        )
        yield _row(*cells, theirs, figure_text(headline.difference), headline.verdict, _use(one))
    for task in dict.fromkeys(one.task for _, one in shown):
        own = [one for _, one in shown if one.task == task]
        best = [one.losses.losses[one.best_baseline] for one in own]
        renamed = [
            type(one.losses)(one.losses.test, one.losses.block, one.losses.first_ns, one.losses.rows, {"best": losses})
            for one, losses in zip(own, best, strict=True)
        ]
        gap = paired([one.losses for one in own], renamed, NETWORK, "best")
        rows = sum(one.rows["test"] for one in own)
        said = verdict(own[0].loss, gap)
        yield _row(task, "all", "-", f"{rows:,}", own[0].loss, "-", "-", figure_text(gap.metric), f"**{said}**", "-")
    yield ""


def _made(standings: Sequence[Standing]) -> Iterator[str]:
    kept = [one.kept for one in standings if one.kept]
    yield "| entry | settings | data, labels and cuts | trained by commit | machine | pictures |"
    yield "|---|---|---|---|---|---|"
    for one in kept:
        prints = ", ".join(f"`{found[:12]}`" for found in one.fingerprints)
        pictures = "-" if one.entry == FORWARD else _pictures(one)
        place = f"{one.environment.processor}, torch {one.environment.libraries.get('torch', '-')}"
        yield _row(one.entry, f"`{one.config_sha256[:12]}`", prints, _commit(one.environment.commit), place, pictures)
    yield ""
    sources = dict(item for one in kept for item in one.sources.items())
    yield "Data, sha256: " + ", ".join(f"{name} `{sha[:16]}`" for name, sha in sorted(sources.items())) + ".\n"
    openings = Counter(f.opening.test.fingerprint[:12] for one in kept for f in one.forecasts)
    told = ", ".join(f"`{name}` {count}x" for name, count in openings.items())
    yield f"Openings of test rows by this list, each with its line in [the ledger](../test-ledger.jsonl): {told}.\n"
    if any(f.opened_before_by for one in kept for f in one.forecasts):
        yield "What is marked re-used shares test rows with an earlier opening.\n"


def _commit(name: str) -> str:
    """Shortened; ``+`` where files differed from it."""
    return f"`{name[:12]}{'+' if name.endswith('+') else ''}`" if name else "unknown"


def _pictures(one: Kept) -> str:
    names = [forecast.forecast for forecast in one.forecasts]
    return ", ".join(f"[{name or 'test'}]({one.entry}/{picture_name(name)})" for name in names)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
