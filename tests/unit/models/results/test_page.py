"""The pages in the repository, against the list and the outcomes beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.results.kept import OUTCOME
from models.results.listed import FORWARD, load_list

page = pytest.importorskip("models.results.page", reason="the trainer is not installed: pip install -e '.[train]'")
work = pytest.importorskip("models.results.work")

ROOT = Path(__file__).resolve().parents[4]
RESULTS = ROOT / "docs" / "results"
LISTED = load_list(ROOT / "config" / "results")


@pytest.mark.parametrize("listed", LISTED, ids=[one.task for one in LISTED])
def test_each_page_is_what_the_list_and_the_outcomes_make(listed, tmp_path):
    """Where this fails: ``python run.py results --pages``.  Half-done runs of this machine are not on a page."""
    places = work.Places(RESULTS, tmp_path, RESULTS / "test-ledger.jsonl")
    standings = work.standings(listed, places, look_at_data=False)
    assert (RESULTS / listed.task / page.PAGE).read_text() == page.render(listed, standings)


@pytest.mark.parametrize("listed", LISTED, ids=[one.task for one in LISTED])
def test_what_is_kept_is_of_the_list_small_and_opened_on_record(listed):
    """No outcome without an entry, none of other settings, and a line of the ledger for each."""
    lines = (RESULTS / "test-ledger.jsonl").read_text()
    known = {entry.name: entry for entry in listed.entries}
    for path in (RESULTS / listed.task).glob(f"*/{OUTCOME}"):
        kept = work.results.read(RESULTS, listed.task, path.parent.name)
        assert kept is not None
        if kept.entry != FORWARD:
            assert kept.config_sha256 == known[kept.entry].config_sha256
        for forecast in kept.forecasts:
            assert f'"at":"{forecast.opening.at}","run":"{forecast.opening.run}"' in lines
        assert path.stat().st_size < 100_000 * len(kept.forecasts)  # each is of a test, with its losses by period
        assert all(file.stat().st_size < 200_000 for file in path.parent.iterdir() if file != path)


@pytest.mark.parametrize("listed", LISTED, ids=[one.task for one in LISTED])
def test_every_figure_to_beat_has_a_row_with_a_word_for_each_entry_that_is_judged_by_it(listed, tmp_path):
    """A verdict where it was run, else that it was not: a page without a result does not hide what it is to beat."""
    places = work.Places(RESULTS, tmp_path, RESULTS / "test-ledger.jsonl")
    standings = [one for one in work.standings(listed, places, look_at_data=False) if one.entry.name != FORWARD]
    lines = page.render(listed, standings).splitlines()
    for figure in {figure for entry in listed.entries for figure in entry.settings.judged.figures}:
        begins = f"| {figure.name} | {figure.metric} | {figure.value:g} | {figure.source} |"
        (place,) = (number for number, line in enumerate(lines) if line.startswith(begins))
        head = next(line for line in reversed(lines[:place]) if line.startswith("| figure to beat |"))
        cells = dict(zip(*([cell.strip() for cell in line.split("|")] for line in (head, lines[place])), strict=True))
        for one in standings:
            if figure in one.entry.settings.judged.figures:
                expected = {"ahead", "behind", "level within noise"} if one.kept else {"not run yet"}
                assert cells[one.entry.name] in expected
