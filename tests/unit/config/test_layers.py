"""Merging of raw values, layer over layer, and the memory of where each came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.commands import parse_overrides
from config.layers import Layers, all_keys, read_mapping
from engine.errors import ConfigError


def test_a_later_layer_replaces_what_it_names_and_nothing_else() -> None:
    """A section merged key by key; lists and maps of the user's own replaced whole; each key knows its source."""
    layers = Layers()
    layers.add_mapping(
        {"venue": {"name": "coinbase", "symbols": ["BTC/USD"]}, "risk": {"max_order_qty": {"*": 1}}}, "a"
    )
    layers.add_mapping({"venue": {"symbols": ["ETH/USD"]}, "risk": {"max_order_qty": {"X": 2}}}, "b")
    assert layers.values == {
        "venue": {"name": "coinbase", "symbols": ["ETH/USD"]}, "risk": {"max_order_qty": {"X": 2}},
    }  # fmt: skip
    assert [layers.source_of(key) for key in ("venue.name", "venue.symbols", "venue", "journal.fsync")] == [
        "a", "b", "a and b", "default",
    ]  # fmt: skip


def test_a_variable_sets_one_entry_of_a_list_or_map_and_keeps_the_others() -> None:
    """An item's parameter, a currency's rate over the schema's default, a list as one writes it in a variable."""
    layers = Layers()
    layers.add_mapping({"strategies": [{"name": "x", "kind": "threshold", "params": {"buy": 0.6}}]}, "file")
    layers.add_env(
        {
            "KESTREL_STRATEGIES__0__PARAMS__SELL": "0.4",
            "KESTREL_PORTFOLIO__RATES__EUR": "1.1",
            "KESTREL_VENUE__SYMBOLS": "BTC/USD, ETH/USD",
            "HOME": "/nowhere",
        }
    )
    assert layers.values["strategies"] == [{"name": "x", "kind": "threshold", "params": {"buy": 0.6, "sell": 0.4}}]
    assert set(layers.values["portfolio"]["rates"]) == {"USDT", "USDC", "EUR"}
    assert layers.values["venue"]["symbols"] == ["BTC/USD", "ETH/USD"]
    assert layers.source_of("venue.symbols") == "env KESTREL_VENUE__SYMBOLS"


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"venu.feed": "live"}, "unknown key 'venu'; expected 'venue'"),
        ({"venue.fed": "live"}, "unknown key 'venue.fed'; expected 'venue.feed'"),
        ({"fsync": "always"}, "unknown key 'fsync'; expected 'journal.fsync'"),
        ({"strategies.3.name": "x"}, "strategies.3 does not exist; expected one of its 0 items"),
        ({"venue.feed.more": 1}, "venue.feed has no keys of its own"),
        ({"venue": 3}, "venue is a number; expected the keys name, "),
        ({"strategies": [{"nam": "x"}]}, "unknown key 'strategies.0.nam'; expected 'strategies.0.name'"),
        ({"venue.api_secret": "x"}, "expected no secret in a configuration"),
    ],
)
def test_a_key_that_does_not_exist_names_the_nearest(overrides: dict[str, object], text: str) -> None:
    """Typing errors at every depth; the error names its source."""
    with pytest.raises(ConfigError) as caught:
        Layers().add_overrides(overrides)
    assert text in str(caught.value)
    assert str(caught.value).startswith("command line: ")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "venue: {name: a, name: b}", "the key 'name' is given twice"),
        ("a.json", '{"venue": 1, "venue": 2}', "the key 'venue' is given twice"),
        ("a.yaml", "venue: [", "is not valid YAML in line 1"),
        ("a.json", "{", "cannot be parsed"),
        ("a.yaml", "- a\n- b", "holds a list; expected keys with values"),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Keys given twice, broken syntax, a list where keys belong."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_mapping(tmp_path / name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_files_and_empty_sections_change_nothing(tmp_path: Path) -> None:
    """A file of comments, and a section whose lines are all commented out."""
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert read_mapping(tmp_path / "a.yaml") == {}
    layers = Layers()
    layers.add_mapping({"venue": None}, "file")
    assert layers.values == {}


@pytest.mark.fault("F15")
def test_quiet_reading_repeats_nothing_of_the_file(tmp_path: Path) -> None:
    """A secrets file with broken syntax."""
    (tmp_path / "s.yaml").write_text("key: 'hunter2\n")
    with pytest.raises(ConfigError) as caught:
        read_mapping(tmp_path / "s.yaml", quiet=True)
    assert "hunter2" not in str(caught.value)


def test_all_keys_are_leaves_and_distinct() -> None:
    """Dotted names, none of which is a section above another."""
    keys = list(all_keys())
    assert len(keys) == len(set(keys)) > 60
    assert {"profile", "venue.feed", "risk.max_daily_loss", "features.sampling.kind"} <= set(keys)
    assert not [key for key in keys if any(other.startswith(key + ".") for other in keys)]


@pytest.mark.fault("F9")
@pytest.mark.parametrize("number", ["0777", "-012", "1:30", "+1:30.5"])
def test_a_number_that_yaml_takes_for_another_one_is_refused(number: str, tmp_path: Path) -> None:
    """Octal and base sixty of YAML 1.1, in a file and on the command line."""
    path = tmp_path / "own.yaml"
    path.write_text(f"sandbox: {{port: {number}}}\n")
    with pytest.raises(ConfigError, match="would be taken for another number"):
        read_mapping(path)
    with pytest.raises(ConfigError, match=r"--set sandbox\.port"):
        parse_overrides([f"sandbox.port={number}"])
    plain = ["a=0", "b=0.5", "c=-0.25", "d=10", "e=0x10", "f='007'"]
    assert list(parse_overrides(plain).values()) == [0, 0.5, -0.25, 10, 16, "007"]
