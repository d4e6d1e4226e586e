"""A list of two entries and a walk-forward on made-up minutes: run, stopped, killed, gone on with, and on a page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

import run as program
from engine.errors import DataError
from models.evaluation.run_folder import RunFolder
from models.results import kept
from models.results.listed import Listed, load_list, selected
from tests.support.training import candle_settings, write_candles

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
for library in ("lightgbm", "mapie", "shap"):
    pytest.importorskip(library)

page = pytest.importorskip("models.results.page")
work = pytest.importorskip("models.results.work")

CUT_OFF_AFTER = 3
_BYTES_MAX = 200_000


def write_list(folder: Path, **changes) -> Path:
    """``tiny``: the return of two coins by two small networks, the second compared with the first."""
    base = candle_settings("return", fit={"epochs": 2, "seeds": [1, 2]})
    del base["name"], base["network"]
    small = {
        "title": "Tiny",
        "about": "Made up.",
        "order": 1,
        "base": base | {"judged": {"figures": [{"name": "zero", "metric": "r2_oos", "value": 0.0, "source": "0"}]}},
        "entries": {
            "mlp": {"core_hours": 0.1, "settings": {"network": {"name": "mlp", "sizes": [8]}}},
            "wide": {"core_hours": 0.1, "against": ["mlp"], "settings": {"network": {"name": "mlp", "sizes": [12]}}},
        },
        "walk_forward": {"among": ["mlp", "wide"], "by": "mse", "core_hours": 0.1, "origins": 2},
    }
    (folder / "list").mkdir(exist_ok=True)
    (folder / "list" / "tiny.yaml").write_text(yaml.safe_dump(small | changes))
    return folder / "list"


class Here:
    """A list and places of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.list_folder = write_list(folder)
        self.places = work.Places(folder / "kept", folder / "runs", folder / "ledger.jsonl", write_candles(folder))
        self.told: list[str] = []

    @property
    def listed(self) -> list[Listed]:
        return load_list(self.list_folder)

    def call(self, **changes) -> work.Call:
        return work.Call(self.places, "abc123", show=self.told.append, **changes)

    def run(self, *only: str, **changes) -> tuple[list[str], list[str], bool]:
        return work.work(self.listed, selected(self.listed, only), self.call(**changes))

    def states(self) -> dict[str, str]:
        return {one.entry.name: one.state for one in work.standings(self.listed[0], self.places)}

    def page(self) -> str:
        return page.render(self.listed[0], work.standings(self.listed[0], self.places, look_at_data=False))

    def openings(self) -> int:
        return len(self.places.ledger.read_text().splitlines())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Here:
    """Everything run once."""
    here = Here(tmp_path_factory.mktemp("whole"))
    assert here.run() == (["tiny/mlp", "tiny/wide", "tiny/walk-forward"], [], False)
    return here


def test_what_is_done_is_known_by_what_is_kept_and_not_run_again(whole):
    assert whole.states() == {"mlp": "done", "wide": "done", "walk-forward": "done"}
    before = whole.openings()
    assert before == 4  # each entry once, each origin once
    shutil.rmtree(whole.places.runs)  # as on another machine
    assert whole.run() == ([], [], False)
    assert whole.openings() == before
    assert not whole.places.runs.exists()


def test_other_settings_or_other_data_are_run_again(whole, tmp_path):
    found = whole.listed[0].entries[0]
    one = kept.read(whole.places.results, "tiny", "mlp")
    assert one is not None
    assert one.same_as(found.config_sha256, one.sources)
    assert not one.same_as("0" * 64, one.sources)
    assert not one.same_as(found.config_sha256, dict.fromkeys(one.sources, "0" * 64))
    write_candles(tmp_path, still_from=700)
    elsewhere = work.Places(whole.places.results, tmp_path, whole.places.ledger, tmp_path)
    assert work.standings(whole.listed[0], elsewhere)[0].state == "other data or settings"


def test_what_is_kept_is_small_and_has_configuration_and_picture(whole):
    folder = whole.places.results / "tiny" / "mlp"
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "outcome.json", "test.png"}
    assert (folder / "test.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "test.png").stat().st_size < _BYTES_MAX
    assert (folder / "outcome.json").stat().st_size < _BYTES_MAX
    one = kept.read(whole.places.results, "tiny", "mlp")
    assert one is not None
    assert one.seeds == (1, 2)
    assert one.environment.commit == "abc123"


def test_the_walk_forward_takes_the_network_that_validation_chose(whole):
    scores = {name: kept.read(whole.places.results, "tiny", name).validation["mse"] for name in ("mlp", "wide")}
    best = min(scores, key=scores.__getitem__)
    forward = kept.read(whole.places.results, "tiny", "walk-forward")
    entry = whole.listed[0].forward_entry(best)
    assert entry is not None
    assert forward.config_sha256 == entry.config_sha256
    assert [one.origin for one in forward.forecasts] == [1, 2]
    ends = [one.periods["test"] for one in forward.forecasts]
    assert ends[0][1] <= ends[1][0]


def test_the_page_comes_from_what_is_kept_alone(whole):
    """Every number on it is that of an outcome; profit waits; what shares test rows is told."""
    text = whole.page()
    one = kept.read(whole.places.results, "tiny", "mlp")
    forecast = one.forecasts[0]
    assert page.figure_text(forecast.headline.difference) in text
    assert f"| {page.figure_text(forecast.metric('network', 'r2_oos'))} |" in text
    assert "| zero | r2_oos | 0 | 0 |" in text
    assert "pending" in text
    assert "re-used, opening 2" in text
    assert "## Against each other" in text
    assert "## Walk-forward" in text
    first, last = forecast.periods["validation"]
    assert f"of {first} to {last}, and what lies before them was learned from" in text
    assert "had been looked at" not in text  # its figure comes from no earlier measurement
    assert page.NOT_RUN not in text


def test_entries_against_each_other_are_paired_by_their_own_losses(whole):
    both = [kept.read(whole.places.results, "tiny", name).forecasts[0] for name in ("wide", "mlp")]
    value = sum(
        (a - b) * rows
        for a, b, rows in zip(
            both[0].losses.losses["network"], both[1].losses.losses["network"], both[0].losses.rows, strict=True
        )
    ) / sum(both[0].losses.rows)
    line = next(line for line in whole.page().splitlines() if line.startswith("| wide | mlp |"))
    assert float(line.split("|")[6].split()[0]) == pytest.approx(value, rel=1e-3, abs=1e-9)
    scores = [page.figure_text(one.metric("network", "r2_oos")) for one in both]
    assert f"| r2_oos {scores[0]}, {scores[1]} |" in line
    told = f"not to be used in its place: wide for mlp ({both[0].task})."
    assert (told in whole.page()) is ("**ahead**" not in line)


def test_time_that_is_over_stops_between_epochs_and_the_next_call_goes_on(tmp_path, whole):
    """Stopped after one epoch of the second seed, it comes to the scores of the run that was never stopped."""
    here = Here(tmp_path)
    ticks = iter(range(1_000))
    assert here.run("tiny/mlp", deadline=CUT_OFF_AFTER + 1, monotonic=lambda: next(ticks)) == ([], [], True)
    assert here.states() == {"mlp": "half done", "wide": "not run yet", "walk-forward": "waits"}
    assert not here.places.ledger.exists()
    assert len(RunFolder(here.places.runs / "tiny-mlp").epochs()) == CUT_OFF_AFTER
    assert page.NOT_RUN in here.page()
    assert here.run("tiny/mlp") == (["tiny/mlp"], [], False)
    ours, theirs = (kept.read(place.places.results, "tiny", "mlp") for place in (here, whole))
    assert ours.validation == theirs.validation
    assert [one.metrics for one in ours.forecasts[0].scores] == [one.metrics for one in theirs.forecasts[0].scores]


def test_time_that_is_over_while_a_teacher_learns_stops_there_too(tmp_path):
    """The student has no weights yet; the teacher's checkpoint is there to go on from."""
    here = Here(tmp_path)
    taught = {
        "network": {"name": "mlp", "sizes": [8]},
        "distillation": {"network": {"name": "mlp", "sizes": [12]}, "seeds": [7, 8]},
        "fit": {"label_smoothing": 0.0},
    }
    write_list(tmp_path, entries={"small": {"core_hours": 0.1, "settings": taught}}, walk_forward=None)
    ticks = iter(range(1_000))
    assert here.run("tiny/small", deadline=5, monotonic=lambda: next(ticks)) == ([], [], True)
    run = here.places.runs / "tiny-small"
    assert (run / "teacher" / "checkpoint.pt").exists()
    assert not list((run / "weights").glob("*.pt"))


def test_a_run_that_is_killed_before_it_is_kept_opens_its_test_no_second_time(tmp_path, monkeypatch):
    here = Here(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(work, "draw", killed)
        with pytest.raises(KeyboardInterrupt):
            here.run("tiny/mlp")
    assert here.openings() == 1
    assert here.run("tiny/mlp") == (["tiny/mlp"], [], False)
    assert here.openings() == 1


def test_an_entry_that_fails_is_one_line_and_the_others_are_run(tmp_path):
    """The command: exit 1, what is needed told, and the page written of what there is."""
    here = Here(tmp_path)
    write_list(tmp_path, needs="python run.py data import X", walk_forward=None)
    (tmp_path / "runs" / "tiny-mlp").mkdir(parents=True)
    words = ["results", "--list-folder", str(here.list_folder), "--out", str(here.places.results), "--json"]
    words += ["--runs", str(here.places.runs), "--ledger", str(here.places.ledger), "--data", str(tmp_path)]
    assert "not run yet" in CliRunner().invoke(program.app, [*words, "--list"]).stdout
    assert not here.places.results.exists()
    done = CliRunner().invoke(program.app, words)
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["finished"] == ["tiny/wide"]
    assert "no run to resume" in told["failed"][0]
    assert "data import X" in told["failed"][0]
    assert "wide/config.yaml" in (here.places.results / "tiny" / "README.md").read_text()


def test_what_is_too_good_fails_the_command_until_the_list_says_why(tmp_path, whole, monkeypatch):
    """It is kept and shown either way."""
    here = Here(tmp_path)
    made = kept.read(whole.places.results, "tiny", "mlp")
    doubted = msgspec.structs.replace(made.forecasts[0], suspicions=["the direction accuracy of all is 0.9"])
    made = msgspec.structs.replace(made, forecasts=[doubted])

    def keep(_entry: object, call: object, explained: str) -> object:
        kept.write(here.places.results, made, b"")
        return made

    monkeypatch.setattr(work, "run_entry", keep)
    finished, failed, _ = here.run("tiny/mlp")
    assert finished == ["tiny/mlp"]
    assert "too good to be true: the direction accuracy of all is 0.9; say why under explain" in failed[0]
    assert "Not explained." in here.page()
    shutil.rmtree(here.places.results)
    write_list(tmp_path, explain="Made up.")
    assert here.run("tiny/mlp") == (["tiny/mlp"], [], False)
    assert "is 0.9. Made up." in here.page()


def test_an_outcome_that_is_damaged_is_told(whole, tmp_path):
    shutil.copytree(whole.places.results, tmp_path / "kept")
    (tmp_path / "kept" / "tiny" / "mlp" / "outcome.json").write_text("{")
    with pytest.raises(DataError, match=r"mlp.outcome\.json cannot be read"):
        work.standings(
            whole.listed[0], work.Places(tmp_path / "kept", tmp_path, tmp_path / "ledger.jsonl", whole.folder)
        )
