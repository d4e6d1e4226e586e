"""The page says what the outcome says, escapes what comes from outside, and needs no network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from models.evaluation.evaluate import evaluate
from models.evaluation.importance import Importance
from models.evaluation.outcome import Outcome
from models.evaluation.report import figure_text, render
from models.manifest import Metric
from tests.support import made_up_runs as made_up

for library in ("arch", "lightgbm", "mapie", "shap", "skfolio"):
    pytest.importorskip(library)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("report")
    run = made_up.write_run(folder / "run", made_up.three_classes(200))
    return evaluate(run.path, ledger=folder / "ledger.jsonl", commit="c0ffee", now_ns=made_up.NOW_NS)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def read(page: str) -> Tags:
    """Every tag is closed by its like, and nothing is fetched."""
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.links == []
    return tags


def test_every_part_has_its_section(outcome: Outcome) -> None:
    """Learning curves, curves, tables, importance, verdicts."""
    epochs = [made_up.EpochLine(1, n, {"log_loss": 1.0}, {"log_loss": 1.1}) for n in range(2)]
    headings = read(render(outcome, epochs)).headings
    for name in (
        "Verdicts",
        "Scores on the test",
        "Over seeds",
        "Learning curves",
        "Precision and recall",
        "ROC",
        "Reliability (15 equal-mass bins)",
        "Confusion",
        "Risk by coverage",
        "Conformal sets and intervals",
        "Loss by symbol",
        "Loss by month",
        "Loss by regime",
        "Importance: LightGBM, shap",
        "Strategy",
        "What was evaluated",
    ):
        assert name in headings, name
    assert "Test re-used" not in headings


def test_every_baseline_and_verdict_stands_on_the_page(outcome: Outcome) -> None:
    """As the outcome has them."""
    page = render(outcome)
    for one in outcome.scores:
        assert f"<td>{one.name}</td>" in page
    for one in outcome.comparisons:
        assert figure_text(one.difference) in page
    assert "mean block" in page
    assert "pending, the run has no back-test" in page


def test_what_comes_from_outside_is_escaped(outcome: Outcome) -> None:
    """Names of a task, of a network and of a column that are markup."""
    evil = "<script>alert(1)</script>"
    importance = [Importance("permutation", evil, evil, 1, {evil: 1.0})]
    page = render(msgspec.structs.replace(outcome, task=evil, network=evil, run=evil, importance=importance))
    read(page)
    assert evil not in page


def test_a_variance_has_no_classes_to_draw(outcome: Outcome) -> None:
    """Without curves and groups the page still stands."""
    scores = [msgspec.structs.replace(one, metrics={"log_loss": one.metrics["log_loss"]}) for one in outcome.scores]
    page = render(msgspec.structs.replace(outcome, kind="variance", scores=scores, groups={}, importance=[]))
    assert not re.search("Confusion|ROC", " ".join(read(page).headings))


def test_an_interval_that_ends_at_nothing_is_drawn_to_its_end(outcome: Outcome) -> None:
    """A difference of 0.25 from 0 to 0.5: 0 is an end and not the lack of one."""
    group = msgspec.structs.replace(outcome.groups["symbol"][0], difference=Metric(value=0.25, low=0.0, high=0.5))
    page = render(msgspec.structs.replace(outcome, groups={"symbol": [group]}))
    assert re.search(r'"array":\[0\.25\],"arrayminus":\[0\.25\]', page.replace(" ", ""))


def test_figures_are_told_with_their_interval() -> None:
    """Or alone."""
    assert figure_text(Metric(value=0.123456, low=0.1, high=0.2)) == "0.1235 [0.1, 0.2]"
    assert figure_text(Metric(value=2.0)) == "2"
