"""The example of brackets, asked by hand."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.commands import GroupIntent
from tests.support.fake_view import FakeView
from tests.support.limits import NAME
from tests.support.scripts import load_script

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "brackets.py"


def example() -> Any:
    module = load_script(EXAMPLE)
    return module.Brackets("mine", [NAME], module.Params())


@pytest.mark.parametrize(("held", "enters"), [("0", True), ("0.005", True), ("0.02", False)])
def test_it_enters_when_nothing_is_held_that_could_be_sold(held: str, enters: bool) -> None:
    """What an exit left over is worth half of the smallest order here, or twice as much: a rest must not end it."""
    view = FakeView()
    view.hold(NAME, Decimal(held), strategy="mine")
    wishes = example().on_quote(NAME, view)
    assert [type(wish) for wish in wishes] == ([GroupIntent] if enters else [])
