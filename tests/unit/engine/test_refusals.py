"""The list of refusal words: what is no word of it is told as ``refused``, and nothing the venue said is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.refusals import REFUSED, WORDS, worded

PAGE = Path(__file__).resolve().parents[3] / "docs" / "orders.md"


@pytest.mark.parametrize(
    ("reason", "text", "told"),
    [
        ("trading_halted", "MARKET_HALTED", ("trading_halted", "MARKET_HALTED")),
        ("new_in_2031", "why", (REFUSED, "new_in_2031: why")),
        ("new_in_2031", "", (REFUSED, "new_in_2031")),
        ("new_in_2031", "NEW_IN_2031", (REFUSED, "NEW_IN_2031")),
    ],
)
def test_what_is_no_word_of_the_list_goes_to_the_front_of_the_text(
    reason: str, text: str, told: tuple[str, str]
) -> None:
    """Once: where the text has it already it is not said again."""
    assert worded(reason, text) == told


@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_a_venue_says_becomes_a_word_of_the_list(reason: str, text: str) -> None:
    """And its text is never less than it was."""
    word, said = worded(reason, text)
    assert word in WORDS
    assert said.endswith(text)


def test_the_page_has_the_list() -> None:
    """Row by row, in order: what a word means and what to do is written in one place and shown in the other."""
    table = PAGE.read_text(encoding="utf-8").split("## When a venue refuses")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", table, re.M)
    assert rows == [(word, *advice) for word, advice in sorted(WORDS.items())]
