"""``engine.cli``: what the commands of all packages print."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from engine.cli import print_json


def test_the_object_is_the_last_line_and_alone_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Text, then an object with values that JSON does not know."""
    print("said before", end="\n")
    print_json({"px": Decimal("0.10"), "path": Path("a"), "text": "two\nlines"})
    *before, last = capsys.readouterr().out.splitlines()
    assert before == ["said before"]
    assert json.loads(last) == {"px": "0.10", "path": "a", "text": "two\nlines"}
