"""Rules for every test: money is never made of floats, no test meets a daemon, a HALT file or a registry that is
not its own.

Property tests try the same examples in each run of the suite, so that a red run can be run again; ``make fuzz`` looks
for new ones.  Where the run must be complete (``tests.support.complete``) it does not start without the recorded data,
and fails when it skipped a test that could have run.
"""

from __future__ import annotations

import decimal
import gc
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import complete
from tests.support.daemon import NO_CHAMPIONS

_numbers = count()
_PRIORITY = os.getpriority(os.PRIO_PROCESS, 0)
# How long an example takes, or its making, is the machine's business: no test may fail for that.
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("suite", derandomize=True, **_UNTIMED)
settings.register_profile("fuzz", print_blob=True, **_UNTIMED)
settings.load_profile("suite")
# The suite starts some hundreds of processes: each would compile all of ours again where bytecode may not be kept.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


class _FailureAtOnce:
    """Prints a failure when it is known: a run that is ended before its summary still says what failed."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            text = report.longreprtext
            why = [line for line in text.splitlines() if line.startswith("E  ")]  # first: a log may keep no more
            reporter.write_line("\n".join((f"\nFAILED {report.nodeid} ({report.when})", *why, text)), red=True)


def pytest_configure(config: pytest.Config) -> None:
    if complete.required() and (lack := complete.lack_of_data(complete.data_folder())):
        raise pytest.UsageError(lack)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_FailureAtOnce(config))


def pytest_itemcollected(item: pytest.Item) -> None:
    """``pytest -k B14`` finds the tests that cover the fault B14."""
    for mark in item.iter_markers("fault"):
        item.extra_keyword_matches.update(mark.args)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """What lowers its own priority must not do so in this process: all later tests would wait for everybody else."""
    assert os.getpriority(os.PRIO_PROCESS, 0) == _PRIORITY, "this test has left another priority behind"


def pytest_collection_finish() -> None:
    """What was collected stays until the end: the garbage collector need not go through it in every test again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and _avoidably_skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for reason in _avoidably_skipped(config):
        terminalreporter.write_line(f"FAILED: {complete.REQUIRE} is set, and tests were skipped: {reason}", red=True)


def _avoidably_skipped(config: pytest.Config) -> list[str]:
    """Reasons; none in a worker, whose reports are counted by the process that started it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not complete.required() or hasattr(config, "workerinput") or reporter is None:
        return []
    return complete.avoidable(str(report.longrepr) for report in reporter.stats.get("skipped", []))


@pytest.fixture(autouse=True)
def _no_float_becomes_money():
    """``Decimal(float)`` and comparing the two raise, as they do in the daemon."""
    with decimal.localcontext() as context:
        context.traps[decimal.FloatOperation] = True
        yield


@pytest.fixture(scope="session", autouse=True)
def _run_folders(tmp_path_factory: pytest.TempPathFactory):
    """Before any wider fixture starts a daemon: never the run folder of the user who runs the tests."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KESTREL_RUN_DIR", str(folder / "shared"))
        for name, value in NO_CHAMPIONS.items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(autouse=True)
def run_folder_of_the_user(_run_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where daemons of this test alone, and of its child processes, register; not made yet."""
    folder = _run_folders / str(next(_numbers))
    monkeypatch.setenv("KESTREL_RUN_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of recorded market data; a test that needs it is skipped with a message where it is absent."""
    folder = complete.data_folder()
    if lack := complete.lack_of_data(folder):
        pytest.skip(lack)
    return folder
