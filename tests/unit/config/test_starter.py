"""The starter file and the documentation follow the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from config.layers import LISTS, all_keys
from config.load import load
from config.schema import Settings
from config.starter import init, starter_text
from engine.errors import ConfigError


def test_the_starter_file_changes_nothing_until_it_is_edited(tmp_path: Path) -> None:
    """Loads it and compares with loading no file."""
    path = init(tmp_path / "new" / "kestrel.yaml")
    assert load([path], env={}).digest() == load(env={}).digest()


def test_the_starter_file_names_every_key_at_its_default() -> None:
    """Takes the comment signs off and compares with the schema's defaults."""
    text = re.sub(r"(?m)^(\s*)#(?! )", r"\1", starter_text())
    text = re.sub(r"(?m)^#(?=  (- |  )\w+:)", "", text)
    raw = yaml.safe_load(text)
    lists = {name: raw.pop(name) for name in LISTS}
    for name, section in LISTS.items():
        assert list(lists[name][0]) == list(section.model_fields)
    assert Settings.model_validate(raw).redacted() == Settings().redacted()
    for key in all_keys():
        part = {**raw, **lists}
        for name in key.split("."):
            assert name in part, key
            part = part[name]


def test_init_does_not_overwrite(tmp_path: Path) -> None:
    """A second init on the same name is one error, and the first file is as it was."""
    path = tmp_path / "kestrel.yaml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        init(path)
    assert path.read_text() == "mine"


def test_the_documentation_lists_every_key() -> None:
    """Every dotted key of the schema occurs in docs/configuration.md."""
    text = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
    missing = [key for key in all_keys() if f"`{key}`" not in text]
    assert not missing
