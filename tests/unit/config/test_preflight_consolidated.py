"""Consolidated instruments that could never be are refused before a session exists."""

from __future__ import annotations

from typing import Any

import pytest

from config.preflight import check_consolidated
from config.schema import Settings
from engine.errors import ConfigError
from tests.support.fake_view import make_instrument

MEMBERS = ["BTC/USD@a", "BTC/USD@b"]


def wanting(**changes: Any) -> Settings:
    return Settings.model_validate({"consolidated": [{"instrument": "BTC/USD", "members": MEMBERS, **changes}]})


def test_what_is_the_same_thing_passes_and_is_told() -> None:
    """The instrument that the core will make; nothing without a section."""
    known = [make_instrument(name) for name in MEMBERS]
    assert [made.id for made in check_consolidated(wanting(), known)] == ["BTC/USD@consolidated"]
    assert check_consolidated(Settings(), known) == []


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (["BTC/USD@a"], "BTC/USD@b, which this session does not have; expected BTC/USD@a"),
        ([*MEMBERS, "BTC/USD@consolidated"], "which is an instrument of a venue here"),
    ],
)
def test_what_cannot_be_is_refused_by_name(known: list[str], words: str) -> None:
    """A member that is not there; a venue that has the name already."""
    with pytest.raises(ConfigError, match=words):
        check_consolidated(wanting(), [make_instrument(name) for name in known])


@pytest.mark.fault("D10")
def test_a_member_of_another_pair_is_refused_by_name() -> None:
    """Ether among bitcoin."""
    known = [make_instrument(name) for name in ("BTC/USD@a", "ETH/USD@b")]
    with pytest.raises(ConfigError, match="ETH/USD@b, which is ETH/USD"):
        check_consolidated(wanting(members=["BTC/USD@a", "ETH/USD@b"]), known)
