"""Writes ``docs/hpo-summary.md``: ``python docs/make_hpo.py`` after the study of record was run again.

Owns what follows the mark in the page; the figures are those of ``docs/results/tuning``, which ``run.py tune --write``
fills.
``tests/tidy/test_documents.py`` compares the committed page with what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

DOCS = Path(__file__).resolve().parent
STUDY = DOCS / "results" / "tuning"

MARK: Final = "<!-- study: what follows is made by docs/make_hpo.py -->\n"
PAGE: Final = "hpo-summary.md"


def summary() -> str:
    """The page: its text as it is, and the study."""
    found = json.loads((STUDY / "summary.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (STUDY / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    text, _, _ = (DOCS / PAGE).read_text(encoding="utf-8").partition(MARK)
    return text + MARK + _study(found, lines)


def _study(found: Mapping[str, Any], lines: list[dict[str, Any]]) -> str:
    metric, chosen = found["metric"], found["finalists"][0]
    ended = ", ".join(f"{count} {state}" for state, count in found["trials"].items())
    done = [line for line in lines if line["state"] == "complete"]
    best = min(done, key=lambda line: -line["value"] if found["maximise"] else line["value"])
    rows = [
        f"| {one['number']} | {_values(one['values'])} | {one['search_value']:.4f} | {fmean(one['scores']):.4f} | "
        f"{_spread(one['scores'])} | {_net(one)} |"
        for one in found["finalists"]
    ]
    importance = ", ".join(f"`{key}` {share:.2f}" for key, share in found["importance"].items())
    minutes = sum(line.get("seconds", 0.0) for line in lines) / 60
    before = found["baseline"]
    return "\n".join(
        [
            "",
            "## A small study",
            "",
            f"    python run.py tune --config config/tune/{found['name']}.yaml --write docs/results/tuning",
            "    python docs/make_hpo.py",
            "",
            f"Network `{found['network']}`, {len(lines)} trials ({ended}), {found['epochs']} epochs: {minutes:.0f}",
            f"minutes of trials on a busy machine of two cores. The score is `{metric}` on validation rows.",
            "The settings as they were are no trial."
            if before is None
            else f"The settings as they were: {before:.4f}.",
            "",
            f"| trial | values | in the search | mean of {len(chosen['seeds'])} seeds | deviation | net, bps a day |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"- Chosen by {found['by']}: trial {chosen['number']}.",
            f"- {_luck(found, best)}",
            f"- {_margin(found)}",
            *_profit(found),
            f"- Share of the score's variance (fANOVA, only {len(done)} trials): {importance or 'not told'}.",
            "- One short period of validation, one network: it shows the way. The test stays shut.",
            "",
            "![scores over trials](results/tuning/history.png)",
            "![importance](results/tuning/importance.png)",
            "![all trials](results/tuning/parallel.png)",
            "",
        ]
    )


def _luck(found: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """How much of the best trial's score was left on other seeds."""
    again = next((fmean(one["scores"]) for one in found["finalists"] if one["number"] == best["number"]), None)
    if again is None:
        return f"The best of the search, trial {best['number']} with {best['value']:.4f}, failed on other seeds."
    worse = (again < best["value"]) == found["maximise"]
    return (
        f"The best of the search, trial {best['number']}, had {best['value']:.4f} there and has {again:.4f} over the "
        f"seeds: {abs(again - best['value']):.4f} {'worse' if worse else 'better'}."
    )


def _margin(found: Mapping[str, Any]) -> str:
    """Whether the finalists can be told apart at all."""
    means = [fmean(one["scores"]) for one in found["finalists"]]
    between = max(means) - min(means)
    spread = max(stdev(one["scores"]) if len(one["scores"]) > 1 else 0.0 for one in found["finalists"])
    apart = "more than" if between > spread else "less than"
    return f"The finalists lie {between:.4f} apart, {apart} the largest deviation over seeds, {spread:.4f}."


def _profit(found: Mapping[str, Any]) -> list[str]:
    """Whether any finalist would have earned something; nothing where it was not asked."""
    net = [one["net"] for one in found["finalists"] if one["net"] is not None]
    if not net:
        return []
    if max(net) <= 0:
        return ["- After costs every finalist loses: none of them is to be traded."]
    return [
        f"- After costs {sum(one > 0 for one in net)} of {len(net)} finalists gain; the deflated ratio is evaluation's."
    ]


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _spread(scores: list[float]) -> str:
    return f"{stdev(scores):.4f}" if len(scores) > 1 else "-"


def _net(one: Mapping[str, Any]) -> str:
    return "-" if one["net"] is None else f"{1e4 * one['net']:.2f}"


PAGES: Final[Mapping[str, Callable[[], str]]] = {PAGE: summary}


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
