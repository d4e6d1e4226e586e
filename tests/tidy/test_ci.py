"""What continuous integration runs proves something: no data, no success; nothing left out that could have run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import complete

ROOT = complete.ROOT
ON_DATA = "tests/unit/engine/data/test_parquet.py::test_real_futures_quotes_and_trades_merge_in_arrival_order"
WITH_NUMBA = "tests/unit/engine/features/test_jit.py::test_the_direct_entry_is_the_compiled_function"


def run_tests(*arguments: str, required: bool, **env: str) -> subprocess.CompletedProcess[str]:
    """A test run of its own, as ``make test`` starts it."""
    kept = {name: value for name, value in os.environ.items() if name != complete.REQUIRE}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**kept, **({complete.REQUIRE: "1"} if required else {}), **env},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_ci_runs_check_and_test_and_demands_every_test(tmp_path: Path) -> None:
    """Runs the script from elsewhere with a make in front of the real one that notes what it is asked."""
    make = tmp_path / "make"
    make.write_text(f'#!/bin/sh\necho "$@ {complete.REQUIRE}=${complete.REQUIRE} $(pwd)" >> "{tmp_path}/asked"\n')
    make.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name != complete.REQUIRE}
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run([ROOT / ".ci" / "run"], cwd=tmp_path, env={**kept, "PATH": path}, timeout=60, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [f"{target} {complete.REQUIRE}=1 {ROOT}" for target in ("check", "test")]


def test_a_run_that_needs_the_data_does_not_start_without_it(tmp_path: Path) -> None:
    """An empty data folder: an error of one line with workers and without, no test run; else the test is skipped."""
    for workers in (("-p", "no:xdist"), ("-n", "2")):
        refused = run_tests(ON_DATA, *workers, required=True, KESTREL_DATA=str(tmp_path))
        assert refused.returncode == pytest.ExitCode.USAGE_ERROR
        said = (refused.stdout + refused.stderr).strip()
        assert said.startswith(f"ERROR: no recorded market data in {tmp_path / 'ticks'}, ")
        assert "\n" not in said
    skipped = run_tests(ON_DATA, "-p", "no:xdist", required=False, KESTREL_DATA=str(tmp_path))
    assert skipped.returncode == pytest.ExitCode.OK
    assert "1 skipped" in skipped.stdout or "SKIPPED [1]" in skipped.stdout


def test_a_run_that_left_out_a_test_fails_and_says_why(market_data: Path) -> None:
    """A test that is skipped where numba is off, in a run with numba off: with workers, as CI has them."""
    for required, code in ((True, pytest.ExitCode.TESTS_FAILED), (False, pytest.ExitCode.OK)):
        done = run_tests(WITH_NUMBA, "-n", "2", required=required, KESTREL_NUMBA="0", KESTREL_DATA=str(market_data))
        assert done.returncode == code, done.stdout
        assert ("REQUIRE_EVERY_TEST is set, and tests were skipped" in done.stdout) is required
        assert "numba is off" in done.stdout


def test_each_kind_of_data_must_be_there(tmp_path: Path) -> None:
    """Folders filled one after the other, the last one left empty."""
    for name in complete.FOLDERS:
        assert name in complete.lack_of_data(tmp_path)
        (tmp_path / name).mkdir()
        assert name in complete.lack_of_data(tmp_path)
        (tmp_path / name / "file.parquet").touch()
    assert complete.lack_of_data(tmp_path) == ""


def test_reasons_of_the_machine_are_no_omissions() -> None:
    """One of each kind, one of them twice, as pytest words them."""
    mine, of_the_machine = (
        "('a.py', 3, 'Skipped: numba is off')",
        f"('b.py', 4, 'Skipped: {complete.OF_THE_MACHINE[0]}')",
    )
    assert complete.avoidable([mine, of_the_machine, mine]) == [mine]
