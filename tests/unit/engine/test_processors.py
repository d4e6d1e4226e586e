"""The loop's processor is the loop's; threads and processes that stand beside it run on the others."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import processors
from engine.errors import ConfigError
from engine.runtime.process import run_loop
from tests.support.daemon import TICKS, Running

ALL = frozenset(os.sched_getaffinity(0))
HOME = max(ALL)
BESIDE = ALL - {HOME}
_SHOW = "import json, os; print(json.dumps(sorted(os.sched_getaffinity(0))))"

two_needed = pytest.mark.skipif(len(ALL) < 2, reason="this machine has one processor")


def of_a_process() -> frozenset[int]:
    said = subprocess.run([sys.executable, "-S", "-c", _SHOW], capture_output=True, check=True).stdout
    return frozenset(json.loads(said))


def of_a_thread(start: Callable[[threading.Thread], None] = threading.Thread.start) -> frozenset[int]:
    found: list[frozenset[int]] = []
    thread = threading.Thread(target=lambda: found.append(frozenset(os.sched_getaffinity(0))))
    start(thread)
    thread.join()
    return found[0]


@two_needed
def test_the_loop_is_alone_on_its_processor() -> None:
    """What was there before goes to the others, what starts beside it begins there, and in the end all is as before."""
    go, done = threading.Event(), threading.Event()
    earlier: list[frozenset[int]] = []

    def wait() -> None:
        go.wait(30.0)
        earlier.extend((frozenset(os.sched_getaffinity(0)), of_a_process()))
        done.set()

    thread = threading.Thread(target=wait)
    thread.start()
    with processors.loop_on(HOME):
        assert frozenset(os.sched_getaffinity(0)) == {HOME}
        assert processors.usable_count() == len(ALL)
        go.set()
        assert done.wait(30.0)
        with processors.beside():
            assert (of_a_process(), of_a_thread()) == (BESIDE, BESIDE)
        assert frozenset(os.sched_getaffinity(0)) == {HOME}
    thread.join()
    assert earlier == [BESIDE, BESIDE]
    assert (frozenset(os.sched_getaffinity(0)), of_a_thread(), of_a_process()) == (ALL, ALL, ALL)
    assert processors.CORES_VARIABLE not in os.environ


@two_needed
def test_a_thread_that_a_library_has_started_goes_aside_later() -> None:
    """It begins where the loop is, as whoever starts it knows nothing of that."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait, args=(30.0,))
    with processors.loop_on(HOME):
        thread.start()
        assert thread.native_id is not None
        assert frozenset(os.sched_getaffinity(thread.native_id)) == {HOME}
        processors.send_aside()
        assert frozenset(os.sched_getaffinity(thread.native_id)) == BESIDE
        assert frozenset(os.sched_getaffinity(0)) == {HOME}
    go.set()
    thread.join()


@two_needed
def test_threads_that_the_loop_lends_work_to_are_beside_it() -> None:
    """``asyncio.to_thread`` starts them when it needs them."""

    async def course() -> tuple[frozenset[int], frozenset[int]]:
        return frozenset(os.sched_getaffinity(0)), frozenset(await asyncio.to_thread(os.sched_getaffinity, 0))

    assert run_loop(course, uvloop=False, cpu=HOME) == ({HOME}, BESIDE)
    assert run_loop(course, uvloop=False) == (ALL, ALL)


@two_needed
def test_processors_that_were_taken_away_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's set of processors may shrink under a session: names are still resolved, and children start."""

    async def course() -> tuple[str, int]:
        with monkeypatch.context() as patch:
            patch.setattr(processors._claim, "beside", frozenset({4095}))
            lent = await asyncio.to_thread(lambda: "done")
            with processors.beside():
                child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "")
        return lent, await child.wait()

    assert run_loop(course, uvloop=False, cpu=HOME) == ("done", 0)
    assert frozenset(os.sched_getaffinity(0)) == ALL


def test_without_a_processor_of_its_own_nothing_changes() -> None:
    """Neither the loop nor what starts beside it."""
    with processors.loop_on(None), processors.beside():
        assert (frozenset(os.sched_getaffinity(0)), of_a_process()) == (ALL, ALL)
    assert processors.usable_count() == len(ALL)


def test_a_processor_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number too high; the only one; and no others on record afterwards."""
    with pytest.raises(ConfigError, match=r"engine\.cpu is 4096, which is no processor"), processors.loop_on(4096):
        pass
    monkeypatch.setattr(processors, "_usable", lambda: frozenset({3}))
    with pytest.raises(ConfigError, match="needs a second processor"), processors.loop_on(3):
        pass
    assert frozenset(os.sched_getaffinity(0)) == ALL


def where(pid: int) -> tuple[frozenset[int], dict[int, frozenset[int]]]:
    """The loop's processors; those of its process's other threads and of its children."""
    tasks = [int(one.name) for one in Path(f"/proc/{pid}/task").iterdir()]
    children = [child for one in tasks for child in Path(f"/proc/{pid}/task/{one}/children").read_text().split()]
    assert children
    beside = [*(one for one in tasks if one != pid), *map(int, children)]
    return frozenset(os.sched_getaffinity(pid)), {one: frozenset(os.sched_getaffinity(one)) for one in beside}


@two_needed
def test_a_daemon_and_what_it_starts(tmp_path: Path) -> None:
    """Its sandbox, its watchdog, its threads: none of them where the loop is."""
    daemon = Running(tmp_path, "--set", f"engine.cpu={HOME}", "--no-report")
    try:
        daemon.wait_for(TICKS)
        pid = daemon.process.pid
        until = time.monotonic() + 60.0
        while (found := where(pid))[0] != {HOME} or set(found[1].values()) != {BESIDE}:
            assert time.monotonic() < until, found
            time.sleep(0.1)
    finally:
        daemon.stop()
        daemon.close()
