"""The list of faults: each mark names one of it, each fault has a test or a reason, and an id finds its tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.scripts import load_script

ROOT = Path(__file__).resolve().parent.parent.parent
EVERY = {"A": 15, "B": 20, "C": 18, "D": 10, "E": 14, "F": 17}


SCRIPT = load_script(ROOT / "docs" / "make_faults.py")


def test_every_id_of_each_group_is_listed_in_order() -> None:
    """A1 to A15 and so on, with words of its own for what goes wrong and what is done."""
    for title, faults in SCRIPT.load().items():
        letter = title[0]
        assert [one.id for one in faults] == [f"{letter}{number}" for number in range(1, EVERY[letter] + 1)]
        assert all(one.fault and one.does for one in faults)


def test_every_mark_names_a_fault_of_the_list_and_is_on_a_test() -> None:
    """Ids that nobody defined, computed ids, and marks that pytest would not see, by file."""
    tests, strays = SCRIPT.marks_of()
    known = {one.id for faults in SCRIPT.load().values() for one in faults}
    assert {name: tests[name] for name in sorted(set(tests) - known)} == {}
    assert strays == []


def test_a_fault_without_a_test_says_why() -> None:
    """``lacks`` in docs/faults.yaml."""
    tests, _ = SCRIPT.marks_of()
    silent = [one.id for faults in SCRIPT.load().values() for one in faults if one.id not in tests and not one.lacks]
    assert silent == []


SAMPLE = """
import pytest
from tests.support.contract import Contract as Shared

pytestmark = pytest.mark.fault("A1")


@pytest.mark.fault("B1")
@pytest.mark.fault("B2", "B1")
async def test_plain(): ...


def helper(): ...


@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.fault("C1")), 2])
def test_parameters(x): ...


TABLE = {"C2": (1,), "C3": (2,)}


@pytest.mark.parametrize("x", [pytest.param(x, marks=pytest.mark.fault(name), id=name) for name, x in TABLE.items()])
def test_table(x): ...


@pytest.mark.fault("D1")
class TestMine(Shared):
    def test_inside(self): ...


lost = pytest.mark.fault("D2")
"""
CONTRACT = """
import pytest


class Contract:
    @pytest.mark.fault("E1")
    def test_inherited(self): ...
"""


def test_marks_are_found_wherever_pytest_finds_them(tmp_path: Path) -> None:
    """On functions, classes, parameters (also of a table), modules and inherited tests; one on no test by its line."""
    (tmp_path / "tests" / "support").mkdir(parents=True)
    (tmp_path / "tests" / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "tests" / "support" / "contract.py").write_text(CONTRACT)
    tests, strays = SCRIPT.marks_of(tmp_path)
    at = "tests/test_sample.py::"
    assert tests == {
        "A1": [
            at + name
            for name in (
                "test_plain",
                "test_parameters",
                "test_table",
                "TestMine::test_inherited",
                "TestMine::test_inside",
            )
        ],
        "B1": [at + "test_plain"],
        "B2": [at + "test_plain"],
        "C1": [at + "test_parameters"],
        "C2": [at + "test_table"],
        "C3": [at + "test_table"],
        "D1": [at + "TestMine::test_inherited", at + "TestMine::test_inside"],
        "E1": [at + "TestMine::test_inherited"],
    }
    assert strays == [f"tests/test_sample.py:{SAMPLE[: SAMPLE.index('lost')].count(chr(10)) + 1}"]


@pytest.mark.parametrize("name", ["B14", "C1"])
def test_an_id_finds_its_tests(name: str) -> None:
    """``pytest -k`` in a process of its own, on files with tests of that fault and others."""
    expected = SCRIPT.marks_of()[0][name]
    files = sorted({test.partition("::")[0] for test in expected if "/unit/" in test})[:3]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "-k", name, *files],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert {test for test in expected if test.partition("::")[0] in files} <= found, done.stdout[-2000:]
    assert "deselected" in done.stdout
