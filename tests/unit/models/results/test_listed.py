from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from engine.errors import ConfigError
from models import networks
from models.evaluation.description import BINARY_METRICS, KNOWN_METRICS, Kind
from models.results.listed import FORWARD, load_list, selected
from models.trainer.checks import check_settings
from models.trainer.dataset import feature_spec
from models.trainer.settings import load_settings

SHIPPED = Path(__file__).resolve().parents[4] / "config" / "results"
BUDGET_CORE_HOURS = 24


@pytest.fixture(scope="module")
def listed():
    return load_list(SHIPPED)


def test_each_entry_of_the_list_is_valid_for_its_network_and_its_rows(listed):
    """Columns exist, the network takes a window of that shape, and what is judged fits the task."""
    seen = set()
    for one in listed:
        for entry in one.entries:
            settings = entry.settings
            assert settings is not None
            spec = feature_spec(settings.features)
            check_settings(settings, spec)
            networks.check(settings.network, window=spec.window, columns=len(spec.columns))
            seen.add(settings.network.name)
    assert {"mlp", "lstm", "gru", "cnn", "cnn_lstm", "attention", "bin_tabl", "hybrid", "deep_lob", "mixer"} <= seen


def test_an_option_that_came_later_does_not_change_settings_that_do_not_use_it():
    """What is kept is known by the hash of its settings: a key more in all of them, and every result is to be made
    again."""
    kept = sorted((SHIPPED.parents[1] / "docs" / "results").glob("*/*/config.yaml"))
    assert kept
    for path in kept:
        assert load_settings(path)[0].to_yaml() == path.read_bytes(), path


def test_figures_to_beat_are_of_metrics_that_their_task_has(listed):
    """A run would be refused over others, hours into the list."""
    kinds: dict[str, Kind] = {"classes": "classes", "signal": "classes", "regime": "classes", "return": "return"}
    for one in listed:
        for entry in one.entries:
            settings = entry.settings
            if settings.task == "multi_task":
                known = set().union(*KNOWN_METRICS.values())
            else:
                known = KNOWN_METRICS[kinds.get(settings.task, "variance")]
                known = known | (BINARY_METRICS if settings.task == "signal" else set())
            assert {figure.metric for figure in settings.judged.figures} <= known, entry.key


def test_records_have_five_seeds_and_their_walk_forward_has_five_origins(listed):
    """What was listed after a test was opened is development: three seeds or more will do."""
    for one in listed:
        for entry in one.entries:
            least = 1 if entry.name == "regime-easy" else 3 if one.file.entries[entry.name].later else 5
            assert len(entry.settings.fit.seeds) >= least, entry.key  # type: ignore[union-attr]
        assert one.file.walk_forward is not None
        assert one.file.walk_forward.origins == 5
        chosen = one.forward_entry(one.file.walk_forward.among[0])
        assert chosen is not None
        assert chosen.settings is not None
        assert chosen.settings.fit.seeds == (1,)
        assert one.forward_entry(None).settings is None  # type: ignore[union-attr]


def test_the_list_fits_its_budget(listed):
    hours = [entry.core_hours for one in listed for entry in (*one.entries, one.forward_entry(None)) if entry]
    assert sum(hours) <= BUDGET_CORE_HOURS


def test_run_folders_and_hashes_are_all_different(listed):
    entries = [entry for one in listed for entry in one.entries]
    assert len({entry.settings.name for entry in entries}) == len(entries)
    assert len({entry.config_sha256 for entry in entries}) == len(entries)


def test_some_are_chosen_by_task_by_its_beginning_and_one_by_one(listed):
    assert set(selected(listed, [])) == {one.task for one in listed}
    assert set(selected(listed, ["c"])) == {"c-signal-2024", "c-signal-2020"}
    assert selected(listed, ["a-next-day/gru", "a/mixer"]) == {"a-next-day": ["gru", "mixer"]}
    assert FORWARD in selected(listed, ["d-book"])["d-book"]
    for word in ("e", "a/lstm", "next-day"):
        with pytest.raises(ConfigError, match=f"nothing in the list is called '{word}'"):
            selected(listed, [word])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"entries": {"gru": {"core_hours": 1, "settings": {"network": {"name": "grru"}}}}}, "did you mean `gru`"),
        ({"entries": {"gru": {"core_hours": 1, "settings": {}, "against": ["lstm"]}}}, "no entry 'lstm'.*one of gru"),
        ({"entries": {FORWARD: {"core_hours": 1, "settings": {}}}}, "an entry called walk-forward"),
        ({"walk_forward": {"among": ["mlp"], "by": "mse", "core_hours": 1}}, "no entry 'mlp'"),
        ({"ordre": 1}, "unknown field `ordre`"),
        ({"entries": {"gru": {"core_hours": 0, "settings": {}}}}, "core_hours"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_line(tmp_path, change, message):
    plain = yaml.safe_load((SHIPPED / "a-next-day.yaml").read_text())
    plain = {**plain, "walk_forward": None, "entries": {"gru": plain["entries"]["gru"]}, **change}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ConfigError, match=message) as told:
        load_list(tmp_path)
    assert "a.yaml" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_without_files_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no list in"):
        load_list(tmp_path)
