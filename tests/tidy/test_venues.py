"""The page of the venues is what the scripts and the files of the venues say, and leaves no case out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.support.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def making() -> ModuleType:
    return load_script(ROOT / "docs" / "make_venues.py")


def test_the_page_is_the_one_that_would_be_made(making: ModuleType) -> None:
    """Made again and compared."""
    assert (ROOT / "docs" / "venues.md").read_text(encoding="utf-8") == making.page(), "python docs/make_venues.py"


def test_every_case_is_green_measured_open_or_not_applicable_and_only_one_of_these(making: ModuleType) -> None:
    """Numbers of the scripts and of the files together are the whole list, and none is in two places."""
    found = making.cases()
    for name, venue in making.venues().items():
        for client, told in venue["clients"].items():
            green = {case.number for case in found if (case.venue, case.client) == (name, client)}
            others = [*told["open"], *told["not_applicable"], *told.get("measured", ())]
            assert not green & set(others), (name, client)
            assert green | set(others) == {str(n) for n in range(1, told["cases"] + 1)}, (name, client)
            assert len(others) == len(set(others))


def test_every_script_is_run_by_a_test(making: ModuleType) -> None:
    """A script that nothing runs would be green without having passed."""
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests" / "clients").glob("test_*.py")))
    known = making.venues()
    for case in making.cases():
        assert f'"{case.script}"' in tests, case
        if case.venue in known:
            assert case.client in known[case.venue]["clients"], case
