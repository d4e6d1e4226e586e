"""The process that watches: it reads to the end, tells what the daemon takes, and dies without consequence."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.errors import KestrelError
from engine.runtime.control import REQUEST_MAX_BYTES, RefusedError
from engine.runtime.model_requests import ALARM, BY_RULES, REPORT
from engine.runtime.observer_keeper import LOG_FILE, LOOKS, ObserverKeeper
from engine.runtime.observer_pace import Pace
from engine.runtime.observer_process import DAMAGED, Telling, Watch, follow
from engine.session_options import ObserverPlan
from tests.support.journals import flip, quote, timer, wait_until, write


class Alarm(NamedTuple):
    instrument: str
    model: str
    source: str
    action: str
    factor: float
    text: str


class Counting:
    """Counts records, raises one alarm and tells one figure."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.closed = False
        self.verdict = ""
        self.paused: list[bool] = []
        self.lives: list[bool] = []
        self.alarms = [Alarm("X", "m@1", "psi", "alert", 0.5, "drift")]

    def take(self, record: Any) -> None:
        self.seen.append(record)

    def look(self, *, caught_up: bool, is_live: bool) -> list[Alarm]:
        self.lives.append(is_live)
        if not caught_up:
            return []
        told, self.alarms = self.alarms, []
        return told

    def pause_shadows(self, paused: bool) -> None:
        self.paused.append(paused)

    def figures(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        hits = [{"from": 0.6, "rows": 3, "hit_rate": 1.0}]
        yield "X", "m@1", {"role": "champion", "ece": 0.01, "psi": {"a": 0.2}, "hits": hits, "verdict": self.verdict}

    def summary(self) -> dict[str, Any]:
        return {"records": len(self.seen)}

    def close(self) -> None:
        self.closed = True


class Daemon:
    """Answers as told, then well; keeps what it took."""

    def __init__(self, *answers: str | KestrelError) -> None:
        self.answers = list(answers)
        self.took: list[tuple[str, dict[str, Any]]] = []

    def ask(self, _: Path, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if self.answers and (said := self.answers.pop(0)):
            raise said if isinstance(said, KestrelError) else KestrelError(said)
        self.took.append((command, arguments))
        return {"ok": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "observer").mkdir()
    (tmp_path / "log").mkdir()
    return tmp_path


def test_it_reads_to_the_end_and_leaves_what_it_knows(folder: Path) -> None:
    write(folder / "journal", [timer(n) if n % 2 else quote(n) for n in range(1, 301)]).close()
    counting, daemon, told = Counting(), Daemon(), []
    telling = Telling(folder / "sock", daemon.ask)
    assert follow(Watch(folder, counting, telling, told.append), telling, lambda _: False) == 0
    assert len(counting.seen) == 300
    assert counting.closed
    assert [alarm.source for alarm in told] == ["psi"]
    assert daemon.took[0] == (ALARM, {**told[0]._asdict(), BY_RULES: True})
    assert daemon.took[1][0] == REPORT
    told_figures = daemon.took[1][1]["figures"]
    assert told_figures.keys() == {"ece", "behind_s"}, "what is no metric stays in the file"
    assert daemon.took[1][1]["hits"] == [{"from": 0.6, "rows": 3, "hit_rate": 1.0}]
    report = json.loads((folder / "observer" / "report.json").read_text())
    assert report["records"] == 300
    assert report["models"][0]["psi"] == {"a": 0.2}


def test_nothing_is_told_until_the_record_was_read_to_its_end(folder: Path) -> None:
    write(folder / "journal", [timer(n) for n in range(1, 31)]).close()
    told: list[Any] = []
    watch = Watch(folder, Counting(), Telling(None), told.append)
    assert watch.step(20) == 20
    watch.look()
    assert told == []
    assert watch.step(20) == 10
    watch.look()
    assert [alarm.source for alarm in told] == ["psi"]


def test_who_falls_behind_says_so_runs_no_shadows_and_tells_nothing_until_it_is_at_the_end(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "journal", [timer(n) for n in range(1, 31)]).close()
    clock = [0.0]
    told: list[Any] = []
    counting = Counting()
    watch = Watch(folder, counting, Telling(folder / "sock", Daemon().ask), told.append, lambda: clock[0])
    for clock[0] in (1.0, 20.0, 31.0):
        assert watch.step(5) == 5
    watch.look()
    assert (counting.paused, told, counting.lives) == ([True], [], [False])
    assert "its end was not reached for 30 s; no shadow is run for 60 s at least" in capsys.readouterr().err
    watch.report()
    report = json.loads((folder / "observer" / "report.json").read_text())
    assert report["behind_s"] == 31.0
    clock[0] = 50.0
    assert watch.step(20) == 15
    watch.look()
    assert ([alarm.source for alarm in told], counting.paused) == (["psi"], [True])
    assert counting.lives[-1]
    clock[0] = 92.0
    watch.step()
    assert counting.paused == [True, False]
    assert "shadows run again" in capsys.readouterr().err
    assert len(counting.seen) == 30, "nothing of the record is passed over"


def test_a_pause_is_longer_each_time_and_ends_with_the_session() -> None:
    pace = Pace(0.0)
    assert "for 60 s at least" in pace.read(31.0, to_end=False)
    assert pace.read(40.0, to_end=True) == ""
    assert "run again" in pace.read(92.0, to_end=True)
    assert "for 120 s at least" in pace.read(123.0, to_end=False)
    assert pace.read(124.0, to_end=False) == ""
    assert "run again" in pace.read(125.0, to_end=False, is_over=True)
    assert pace.read(300.0, to_end=False, is_over=True) == ""


def test_a_log_that_takes_no_line_costs_no_alarm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: what is said is lost, what is told to the daemon is not."""
    write(folder / "journal", [timer(1)]).close()
    daemon = Daemon(KestrelError("the daemon does not answer"))
    full = open("/dev/full", "w")  # noqa: SIM115 -- its end raises as its lines do
    monkeypatch.setattr(sys, "stderr", full)
    watch = Watch(folder, Counting(), Telling(folder / "sock", daemon.ask), lambda _: None)
    watch.step()
    watch.look()
    watch.look()
    with contextlib.suppress(OSError):
        full.close()
    assert [command for command, _ in daemon.took] == [ALARM]


def test_the_daemon_hears_of_an_alarm_before_anything_else_is_done_about_it(folder: Path) -> None:
    """A model is stopped at once; to bring the one before it back takes seconds."""
    write(folder / "journal", [timer(1)]).close()
    daemon = Daemon()
    heard: list[list[str]] = []
    watch = Watch(
        folder,
        Counting(),
        Telling(folder / "sock", daemon.ask),
        lambda _: heard.append([command for command, _ in daemon.took]),
    )
    watch.step()
    watch.look()
    assert heard == [[ALARM]]


def test_an_alarm_that_a_busy_daemon_does_not_take_is_told_again(folder: Path) -> None:
    """No answer, also of a daemon that nobody can be connected to: it waits.  A refusal: it is not told again."""
    daemon = Daemon(
        "the daemon does not answer: timed out", "the daemon does not answer: [Errno 111] Connection refused"
    )
    telling = Telling(folder / "sock", daemon.ask)
    telling.add(ALARM, {"number": 1})
    telling.add(ALARM, {"number": 2})
    for _ in range(2):
        telling.tell()
        assert (daemon.took, telling.waiting) == ([], 2)
    daemon.answers = [RefusedError("the daemon refused 'model_alarm': not in this session")]
    telling.tell()
    assert daemon.took == [(ALARM, {"number": 2})]
    assert telling.waiting == 0


def test_a_request_that_is_too_long_holds_up_no_alarm_behind_it(folder: Path) -> None:
    """No daemon would ever read it: it is said and dropped, and what comes after it is told."""
    telling = Telling(folder / "sock")
    telling.add(REPORT, {"verdict": "x" * REQUEST_MAX_BYTES})
    telling.tell()
    assert telling.waiting == 0


def test_words_are_cut_to_what_a_request_holds(folder: Path) -> None:
    write(folder / "journal", [timer(1)]).close()
    daemon, counting = Daemon(), Counting()
    counting.alarms = [counting.alarms[0]._replace(text="\u2603" * 9_000)]
    counting.verdict = "\u2603" * 9_000
    watch = Watch(folder, counting, Telling(folder / "sock", daemon.ask), lambda _: None)
    watch.step()
    watch.look()
    watch.report()
    assert [command for command, _ in daemon.took] == [ALARM, REPORT]
    assert all(len(json.dumps(arguments)) < REQUEST_MAX_BYTES for _, arguments in daemon.took)


def test_a_damaged_journal_ends_it_with_its_own_status(folder: Path) -> None:
    write(folder / "journal", [timer(1), quote(2), timer(3), quote(4)]).close()
    flip(folder / "journal" / "market-000001.seg", 128 + 20)
    telling = Telling(None)
    assert follow(Watch(folder, Counting(), telling, print), telling, lambda _: False) == DAMAGED


class Log:
    def __init__(self) -> None:
        self.errors: list[str] = []
        self.infos: list[str] = []

    def info(self, text: str, **_: Any) -> None:
        self.infos.append(text)

    def error(self, text: str, **_: Any) -> None:
        self.errors.append(text)


def keeper(
    folder: Path, code: str, restarts: int = 2, at_work: Callable[[Path], str] = lambda _: ""
) -> tuple[ObserverKeeper, Log]:
    log = Log()
    plan = ObserverPlan((sys.executable, "-c", code), restarts, at_work)
    made = ObserverKeeper(plan, folder, log)
    made.start()
    return made, log


def ended(made: ObserverKeeper) -> bool:
    return made._process is None or made._process.poll() is not None


@pytest.mark.fault("E12")
def test_a_process_that_dies_is_started_again_a_few_times_and_that_is_told(folder: Path) -> None:
    made, log = keeper(folder, "import sys; print('gone', file=sys.stderr); sys.exit(1)")
    for _ in range(4):
        wait_until(lambda: ended(made))
        made.look()
    assert made.restarts == 2
    assert log.errors == [
        "the process that watches models died and is started again",
        "the process that watches models died and is started again",
        "models are not watched any more",
    ]
    assert (folder / "log" / LOG_FILE).read_text().split() == ["gone"] * 3


@pytest.mark.fault("E12")
def test_versions_that_take_it_with_them_use_up_no_restart_each_but_once(folder: Path) -> None:
    """Three of them, one after another; the last is named again, and that is a death like any other."""
    blamed = iter(["a@1", "b@2", "c@3", "c@3"])
    made, log = keeper(folder, "raise SystemExit(1)", 0, lambda _: next(blamed))
    for _ in range(4):
        wait_until(lambda: ended(made))
        made.look()
    assert made.restarts == 0
    assert log.errors == ["a version took the process that watches models with it and is not run again"] * 3 + [
        "models are not watched any more"
    ]


async def test_a_process_that_is_let_go_ends_and_is_waited_for(folder: Path) -> None:
    made, log = keeper(folder, "import sys; sys.stdin.read()")
    made.look()
    assert await made.finish()
    assert log.errors == []


def test_a_journal_that_cannot_be_read_is_not_tried_again(folder: Path) -> None:
    made, log = keeper(folder, f"import sys; sys.exit({DAMAGED})")
    wait_until(lambda: ended(made))
    made.look()
    assert (made.restarts, log.errors) == (0, ["models are not watched any more"])


async def test_a_session_that_began_with_nobody_to_watch_is_watched_from_when_there_is(folder: Path) -> None:
    """The registry gets its first shadow or canary while the session runs: asked about seldom, and once it is so."""
    log, asked, wanted = Log(), [], [False]

    def is_wanted() -> bool:
        asked.append(1)
        return wanted[0]

    made = ObserverKeeper(ObserverPlan((sys.executable, "-c", "input()"), 2, is_wanted=is_wanted), folder, log)
    made.start()
    for _ in range(3 * LOOKS):
        made.look()
    assert (made.pid, len(asked)) == (None, 4)
    wanted[0] = True
    for _ in range(LOOKS):
        made.look()
    assert made.pid is not None
    assert log.infos == ["models are watched from now on"]
    assert await made.finish()
    assert log.errors == []
