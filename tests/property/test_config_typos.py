"""Mistakes of a key or of a value's type, in every key that there is, are refused with the key's name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.layers import Layers, all_keys
from config.load import load
from engine.errors import ConfigError

KEYS = sorted(all_keys())


def typos(word: str) -> list[str]:
    """A letter less, two letters turned round, one doubled, at each place."""
    less = [word[:at] + word[at + 1 :] for at in range(len(word))]
    turned = [word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)]
    doubled = [word[:at] + word[at] + word[at:] for at in range(len(word))]
    return [each for each in (*less, *turned, *doubled) if each and each != word and "__" not in each]


@pytest.mark.fault("F9")
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from(KEYS), data=st.data())
def test_a_typing_error_in_any_key_is_refused_and_told_how_it_is_written(key: str, data: st.DataObject) -> None:
    """In a file's mapping, a variable and on the command line; the nearest key is named wherever it can be known."""
    above, _, name = key.rpartition(".")
    wrong = data.draw(st.sampled_from(typos(name)))
    path = f"{above}.{wrong}" if above else wrong
    if path in KEYS or any(one.startswith(f"{path}.") for one in KEYS):
        return
    for give in (_as_override, _as_file, _as_variable):
        with pytest.raises(ConfigError) as caught:
            give(path)
        text = str(caught.value)
        assert "\n" not in text
        assert path in text.lower() or path.replace(".", "__") in text.lower()
        if len(name) > 4 and "no secret in a configuration" not in text:
            nearest = re.search("expected '([^']+)'", text)
            assert nearest is not None, text
            assert any(one == nearest[1] or one.startswith(f"{nearest[1]}.") for one in KEYS), text


def _as_override(path: str) -> None:
    Layers().add_overrides({path: "1"})


def _as_file(path: str) -> None:
    inner: Any = "1"
    for part in reversed(path.split(".")):
        inner = {part: inner}
    Layers().add_mapping(inner, "file")


def _as_variable(path: str) -> None:
    Layers().add_env({"KESTREL_" + "__".join(path.split(".")).upper(): "1"})


@pytest.mark.fault("F9")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from(KEYS), value=st.sampled_from([{"a": {"b": 1}}, [[1]], float("nan"), -(10**30)]))
def test_a_value_that_no_key_can_mean_is_refused_in_one_line_or_is_what_was_said(key: str, value: object) -> None:
    """Nested maps, lists of lists, NaN, an endless number: never a traceback, never a half-read setting."""
    said = ""
    try:
        found = load(env={}, overrides={key: value})
    except ConfigError as error:
        said = str(error)
    if said:
        assert said.count("\n") == 0
        return
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value or str(found) == str(value) or isinstance(value, dict | list), (key, found)
