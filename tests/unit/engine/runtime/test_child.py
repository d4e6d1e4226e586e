"""Server processes of our own: real children, small Python programs in place of the sandbox."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from engine.errors import VenueError
from engine.runtime.child import STDERR_KEPT, ChildServer

SERVE = "import json, sys; print(json.dumps({'port': 1}), flush=True); "
UNTIL_STDIN_CLOSES = "sys.stdin.read()"


def child(program: str) -> ChildServer:
    return ChildServer("sandbox", [sys.executable, "-c", program])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_first_line_says_where_it_serves_and_stop_ends_it() -> None:
    """Start, read its object, stop: the process is gone; a second stop is harmless."""
    server = child(SERVE + UNTIL_STDIN_CLOSES)
    assert server.pid is None
    assert await server.start() == {"port": 1}
    pid = server.pid
    assert pid is not None
    assert alive(pid)
    await server.stop()
    assert not alive(pid)
    await server.stop()


async def test_it_lives_in_a_session_of_its_own() -> None:
    """Ctrl-C in a terminal reaches this process's group only: the exchange must outlive the cancels."""
    server = child(SERVE + UNTIL_STDIN_CLOSES)
    await server.start()
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid != os.getsid(0)
    await server.stop()


async def test_it_never_takes_the_core_from_who_wakes_it() -> None:
    """A batch process, its later threads and children too: our order wakes it in the middle of our write."""
    server = child(SERVE + UNTIL_STDIN_CLOSES)
    await server.start()
    assert server.pid is not None
    assert os.sched_getscheduler(server.pid) == os.SCHED_BATCH != os.sched_getscheduler(0)
    await server.stop()


async def test_a_child_that_ends_is_noticed_with_its_last_words() -> None:
    """It prints a reason to stderr and exits by itself."""
    server = child(SERVE + "sys.stderr.write('first\\nthe last\\n\\n'); sys.exit(3)")
    await server.start()
    await asyncio.wait_for(server.ended(), 30)
    await server.stop()
    assert server.last_words == "the last"


async def test_what_it_says_is_kept_in_bounds() -> None:
    """A child that writes many long lines: only the last few, and not all of each."""
    server = child(SERVE + "[sys.stderr.write(f'{n} ' + 'x' * 2000 + '\\n') for n in range(200)]")
    await server.start()
    await asyncio.wait_for(server.ended(), 30)
    await server.stop()
    assert server.last_words.startswith("199 ")
    assert len(server.last_words) == 300
    assert len(server._stderr) == STDERR_KEPT


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.stderr.write('kestrel: port 5 is in use\\n'); sys.exit(2)", "port 5 is in use"),
        ("print('hello', flush=True); import sys; sys.stdin.read()", "said nothing"),
        ("print('[1]', flush=True); import sys; sys.stdin.read()", "said nothing"),
    ],
)
async def test_a_child_that_does_not_serve_is_one_error(program: str, said: str) -> None:
    """It ends with a reason, or its line is no object; the error carries its words and no process is left."""
    server = child(program)
    with pytest.raises(VenueError, match=rf"^the sandbox did not start: (it )?{said}"):
        await server.start()
    assert server.pid is None


async def test_its_options_are_called_by_the_settings_that_gave_them() -> None:
    """The child knows its own options only; whoever started it has others."""
    program = "import sys; sys.stderr.write('port 5 is in use; give --port 0\\n'); sys.exit(2)"
    server = ChildServer("sandbox", [sys.executable, "-c", program], {"--port": "sandbox.port"})
    with pytest.raises(VenueError, match=r"port 5 is in use; give sandbox\.port 0$"):
        await server.start()


async def test_a_silent_child_is_given_up_and_ended() -> None:
    """It says nothing at all within the time it is given."""
    server = child("import sys; sys.stdin.read()")
    with pytest.raises(VenueError, match=r"said nothing within 0\.2 s"):
        await server.start(timeout_s=0.2)
    assert server.pid is None


async def test_a_child_that_ignores_the_request_to_end_is_killed() -> None:
    """SIGTERM is ignored and stdin as well: it is killed after the time it is given."""
    server = child("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SERVE + "time.sleep(600)")
    await server.start()
    pid = server.pid
    assert pid is not None
    await server.stop(timeout_s=0.2)
    assert not alive(pid)
