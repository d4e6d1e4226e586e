"""Sentinels of honest learning: where there is no skill none is found, nothing knows what comes, and a leak scores
higher than a clean split.

Numbers (i) to (iv) and (vi) of the protocol; that what is served is what was learned from, (v), and that no column of a
task knows what comes, is held on recorded candles in ``tests/unit/models/windows/test_rows.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import run as program
from engine.events import Bar
from models.evaluation.baselines.classifiers import fit_classifiers
from models.evaluation.comparison import verdict
from models.evaluation.description import Task
from models.evaluation.draws import DAY_NS, Draws
from models.evaluation.losses import confusion
from models.evaluation.metrics import mcc
from models.evaluation.rows import Rows
from models.evaluation.scoring import Choices, Scored, choose, score_all
from models.splits import Spans, purged_folds
from models.windows.rows import in_memory
from tests.support import made_up_runs as made_up
from tests.support.candles import MINUTE, candle_spec, market
from tests.support.networks import SMALL, WINDOW, small

for library in ("arch", "lightgbm", "mapie", "shap", "skfolio"):
    pytest.importorskip(library)


@dataclass(frozen=True)
class Market:
    """A made-up market, what was chosen before its test, and the rows of that."""

    made: made_up.MadeUp
    choices: Choices
    test: Rows

    def scored(self) -> dict[str, Scored]:
        """All forecasts on the test part."""
        said = made_up.seeds_of(self.made.part("test")[1], self.made.task.kind, 0.1, (1, 2))
        draws = Draws.cut(self.test.ts_ns, self.made.task.horizon_s)
        return {one.name: one for one in score_all(self.made.task, self.choices, self.test, said, draws)}

    def said(self, test: Rows) -> dict[str, np.ndarray]:
        """What each baseline says of these rows."""
        return {one.name: one.predict(test) for one in (*self.choices.classifiers, *self.choices.forecasters)}


def prepared(made: made_up.MadeUp, folder: Path) -> Market:
    """Baselines fitted on the training part; the test opened on record."""
    run = made_up.write_run(folder / "run", made, shut=True)
    train, validation = run.rows("train"), run.rows("validation")
    choices = choose(run.data, train, validation, run.predictions("validation").values, 0)
    return Market(made, choices, run.sealed_test().open(made_up.open_test(run, folder / "ledger.jsonl")))


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Market]:
    """A GARCH-t random walk, as a task of classes and of a variance."""
    return {
        "classes": prepared(made_up.three_classes(800), tmp_path_factory.mktemp("classes")),
        "variance": prepared(made_up.variance(), tmp_path_factory.mktemp("variance")),
    }


def test_shuffled_labels_have_no_skill(tmp_path: Path) -> None:
    """(i) Labels in a random order, in every part: no forecast is ahead of the prior, each MCC's interval holds 0."""
    made = made_up.three_classes(800)
    order = np.random.default_rng(7).permutation(len(made.rows))
    found = prepared(replace(made, rows=replace(made.rows, label=made.rows.label[order])), tmp_path).scored()
    prior = found["prior"]
    for name in ("network", "logistic regression", "LightGBM", "logistic regression and LightGBM"):
        skill = found[name].estimates["mcc"].metric
        assert skill.low <= 0.0 <= skill.high, name
        assert verdict("log_loss", found[name].estimates["log_loss"] - prior.estimates["log_loss"]) != "ahead", name


def test_a_garch_walk_has_volatility_and_no_direction(walk: dict[str, Market]) -> None:
    """(ii) Direction of a true move is a coin for every forecast; HAR is ahead of a constant variance."""
    for name, one in walk["classes"].scored().items():
        direction = one.estimates["direction_accuracy"].metric
        assert direction.low <= 0.5 <= direction.high, name
    found = walk["variance"].scored()
    assert verdict("qlike", found["HAR-log"].estimates["qlike"] - found["constant"].estimates["qlike"]) == "ahead"
    assert found["HAR-log"].estimates["r2_log"].metric.low > 0


@pytest.mark.parametrize("kind", ["classes", "variance"])
def test_no_baseline_knows_what_comes(walk: dict[str, Market], kind: str) -> None:
    """(iii) All that is known of the later half of a test becomes nonsense: what is said of the first half is the same
    bits, what is said of the later is not."""
    test = walk[kind].test
    late = test.ts_ns > np.median(test.ts_ns)
    still = np.where(late, 1e-11 if kind == "variance" else 0.0, test.past_label)
    # A market that stood still once, before and after: what takes its place may not be looked up in what comes.
    before = replace(test, past_label=np.where(np.arange(len(test)) == 0, 0.0, test.past_label))
    series = test.series
    if series is not None:
        wild = np.where(series.ts_ns > np.median(test.ts_ns), 0.5, series.log_return)
        series = replace(series, log_return=wild)
    features = np.where(late[:, None], np.float32(-30.0), test.features)
    after = replace(before, features=features, past_label=np.where(late, still, before.past_label), series=series)
    said, poisoned = walk[kind].said(before), walk[kind].said(after)
    assert len(said) >= 6
    for name, one in said.items():
        assert one[~late].tobytes() == poisoned[name][~late].tobytes(), name
        assert (one[late] != poisoned[name][late]).any() or name in ("prior", "constant"), name


def test_no_network_knows_what_comes() -> None:
    """(iii) Every candle behind the 150th is nonsense: of every network, forecasts until then are the same bits, and
    the next one is not; windows of both are in one batch."""
    torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
    spec, sound = candle_spec(window=WINDOW), market(count=170)
    bars = list(sound.events())
    wild = [
        bar if number < 150 else Bar(bar.ts_event_ns, bar.ts_recv_ns, bar.instrument, MINUTE, 7.0, 9e3, 1.0, 8e3, 1e6)
        for number, bar in enumerate(bars)
    ]
    tables = [in_memory([replace(sound, events=lambda given=given: iter(given))], spec, {}) for given in (bars, wild)]
    position = np.flatnonzero(tables[0].warm & tables[1].warm)
    assert (position < 150).sum() > 100
    # Without the close: at a price of 100 recurrent networks say the same whatever else they see.
    x, poisoned = (torch.from_numpy(table.windows(position)[:, :, 1:]) for table in tables)
    for name in SMALL:
        network = small(name, columns=len(spec.columns) - 1)
        with torch.no_grad():
            before, after = network(x).numpy(), network(poisoned).numpy()
        assert before[position < 150].tobytes() == after[position < 150].tobytes(), name
        assert before[position == 150].tobytes() != after[position == 150].tobytes(), name


def wandering(rows: int, seed: int) -> Rows:
    """One instrument whose columns wander slowly, and a label that lasts and has nothing to do with them."""
    random = np.random.default_rng(seed)
    features = np.cumsum(random.normal(size=(rows, 4)), axis=0).astype(np.float32)
    lasting = np.convolve(random.normal(size=rows + 39), np.ones(40), "valid")
    return Rows(np.zeros(rows, np.int64), np.arange(rows) * DAY_NS, (lasting > 0).astype(float), features)


def split(rows: Rows, *, at_random: bool) -> Iterator[Rows]:
    """Train, validation and test: by time with 40 rows purged at each cut, or rows drawn at random."""
    place = np.random.default_rng(1).permutation(len(rows)) if at_random else np.arange(len(rows))
    purge = 0 if at_random else 40
    first, second = int(0.6 * len(rows)), int(0.8 * len(rows))
    yield rows.where(place < first - purge)
    yield rows.where((place >= first) & (place < second - purge))
    yield rows.where(place >= second)


def test_a_random_split_scores_higher_than_a_purged_one() -> None:
    """(iv) LightGBM finds its neighbours in time where the split lets it, and nothing where labels are purged."""
    task = Task("lasting", "classes", 86_400.0, "mcc", classes=("NO", "YES"))
    found: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(3):
        for at_random in (True, False):
            train, validation, test = split(wandering(1500, seed), at_random=at_random)
            fitted = fit_classifiers(task, ("a", "b", "c", "d"), train, validation, 0)
            trees = next(one for one in fitted if one.name == "LightGBM")
            said = trees.say(test, trees.predict(test))
            found[at_random].append(float(mcc(confusion(test.classes, said, 2).sum(axis=0))))
    assert min(found[True]) > 0.5
    assert abs(np.mean(found[False])) < 0.3
    assert min(found[True]) > max(found[False]) + 0.3


def test_folds_that_are_not_purged_score_higher_than_ours() -> None:
    """(iv) A forecast that repeats the nearest training row, over 100 folds: our purge and embargo leave it nothing,
    and the same folds without them a lot."""
    from sklearn.neighbors import KNeighborsClassifier

    found: dict[str, list[float]] = {"purged": [], "not purged": []}
    for seed in range(2):
        rows = wandering(1500, seed)
        spans = Spans(rows.ts_ns - DAY_NS, rows.ts_ns, rows.ts_ns + 40 * DAY_NS)
        said = {name: np.empty(len(rows), np.int64) for name in found}
        for part, held in purged_folds(spans, 100):
            others = np.setdiff1d(np.arange(len(rows)), held.index)
            for name, learned in (("purged", part.index), ("not purged", others)):
                nearest = KNeighborsClassifier(1).fit(rows.features[learned], rows.classes[learned])
                said[name][held.index] = nearest.predict(rows.features[held.index])
        for name, one in said.items():
            found[name].append(float(mcc(confusion(rows.classes, one, 2).sum(axis=0))))
    assert max(found["purged"]) < 0.2
    assert min(found["not purged"]) > max(found["purged"]) + 0.3


def test_what_is_too_good_fails_the_command_until_it_is_explained(tmp_path: Path) -> None:
    """(vi) A label that leaked into the predictions: exit 1 with the reason, then 0 with an explanation."""
    made = made_up.three_classes(200)
    leaky = replace(made, oracle=0.2 / 3 + 0.8 * np.eye(3)[made.rows.classes])
    run = made_up.write_run(tmp_path / "run", leaky, seeds=(1,))
    words = ["evaluate", "--run", str(run.path), "--ledger", str(tmp_path / "ledger.jsonl")]
    done = CliRunner().invoke(program.app, words)
    assert done.exit_code == 1
    assert "too good to be true: the direction accuracy of network is 1, more than 0.6" in done.output
    assert 'evaluate again with --explain "..."' in done.output
    done = CliRunner().invoke(program.app, [*words, "--explain", "the label is in the predictions, on purpose"])
    assert done.exit_code == 0
    assert "test re-used: opened before by run (1x)" in done.output
