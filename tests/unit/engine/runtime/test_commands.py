"""The operator's commands in this process, against real control sockets of scripted daemons."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from engine.errors import KestrelError
from engine.runtime import commands, order_commands
from engine.runtime.control import ControlServer, read_halt, run_folder, run_folders, socket_path, user_run_folder

AFTER = {"halt": "halted", "reduce": "reducing", "resume": "active"}


class Answering:
    """A daemon's answers: it obeys, or says a state of its own whatever it is told."""

    def __init__(self, stays: str = "") -> None:
        self.told: list[str] = []
        self.stays = stays
        self.refuses = ""

    def __call__(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.told.append(command)
        if command == self.refuses:
            return {"ok": False, "error": "not now"}
        return {"ok": True, "session": "x", "state": self.stays or AFTER.get(command, "active")}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands look below the working folder too."""
    monkeypatch.chdir(tmp_path)


Begin = Callable[..., Awaitable[Answering]]


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    servers = []

    async def start(sessions: Path, name: str, stays: str = "") -> Answering:
        answering = Answering(stays)
        server = ControlServer(run_folders(sessions), name, answering)
        await server.start()
        servers.append(server)
        return answering

    yield start
    for server in servers:
        await server.stop()


async def test_halt_and_reduce_reach_every_daemon_of_the_user(begin: Begin, tmp_path: Path, capsys: Any) -> None:
    """Two checkouts with sessions of different names: both are told once, and named with what they became."""
    one, two = await begin(tmp_path / "a" / "sessions", "one"), await begin(tmp_path / "b" / "sessions", "two")
    for name, command in (("halt", commands.halt), ("reduce", commands.reduce), ("resume", commands.resume)):
        await asyncio.to_thread(command)
        asked = ["may_resume"] if name == "resume" else []
        assert (one.told, two.told) == ([*asked, name], [*asked, name])
        said = capsys.readouterr().out
        assert all(session in said for session in ("session one (process ", "session two (process "))
        assert said.count(f": {AFTER[name]}\n") == 2
        one.told.clear()
        two.told.clear()


@pytest.mark.fault("F8")
async def test_resume_reaches_nobody_while_one_of_several_refuses(begin: Begin, tmp_path: Path, capsys: Any) -> None:
    """The first to resume would remove the file that the other, which may be stuck, has not seen yet."""
    one = await begin(tmp_path / "a" / "sessions", "one")
    two = await begin(tmp_path / "b" / "sessions", "two")
    await asyncio.to_thread(commands.halt, "storm")
    two.refuses = "may_resume"
    with pytest.raises(typer.Exit):
        await asyncio.to_thread(commands.resume, "over")
    assert (one.told, two.told) == (["halt", "may_resume"], ["halt", "may_resume"])
    assert read_halt(user_run_folder()) is not None
    assert "session two" in capsys.readouterr().err


async def test_sessions_narrow_what_loosens_but_never_halt(begin: Begin, tmp_path: Path) -> None:
    """``--sessions`` of the first daemon: reduce, resume and status leave the second alone; halt takes it as well."""
    mine = tmp_path / "a" / "sessions"
    one, two = await begin(mine, "one"), await begin(tmp_path / "b" / "sessions", "two")
    for command in (commands.reduce, commands.resume, commands.status):
        await asyncio.to_thread(command, sessions=mine)
    assert (one.told, two.told) == (["reduce", "resume", "status"], [])
    await asyncio.to_thread(commands.halt, "storm", mine)
    assert (one.told[-1], two.told) == ("halt", ["halt"])
    for folder in run_folders(mine):
        assert read_halt(folder) == {"source": "operator", "reason": "storm"}
    assert read_halt(run_folder(tmp_path / "b" / "sessions")) is None
    # The second may be stuck, and the file all that will ever tell it.
    with pytest.raises(KestrelError, match="halts session two"):
        await asyncio.to_thread(commands.resume, "over", mine)
    assert read_halt(user_run_folder()) is not None
    await asyncio.to_thread(commands.resume, "over")
    assert (one.told[-1], two.told[-1], read_halt(user_run_folder())) == ("resume", "resume", None)


async def test_halt_in_a_daemons_own_folder_reaches_it_whatever_the_users_folder_is(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started with another user folder, by a service or as another user; then with none that is usable."""
    one = await begin(tmp_path / "var" / "sessions", "one")
    for folder in (str(tmp_path / "another"), "relative"):
        monkeypatch.setenv("KESTREL_RUN_DIR", folder)
        with contextlib.suppress(KestrelError):
            await asyncio.to_thread(commands.halt, "storm")
        assert one.told.pop() == "halt"
        (tmp_path / "var" / "run" / "HALT").unlink()


@pytest.mark.parametrize(("name", "stays"), [("halt", "active"), ("reduce", "active"), ("resume", "halted")])
async def test_an_answer_without_the_effect_is_no_success(
    name: str, stays: str, begin: Begin, tmp_path: Path, capsys: Any
) -> None:
    """The daemon answers, but is not in the state that was asked for: exit 1 with the state it is in."""
    await begin(tmp_path / "sessions", "one", stays)
    with pytest.raises(typer.Exit) as ended:
        await asyncio.to_thread(getattr(commands, name))
    assert ended.value.exit_code == 1
    assert f": {stays}\n" in capsys.readouterr().out


async def test_one_that_does_not_answer_fails_the_command_and_hides_nobody(
    begin: Begin, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that listens and never answers beside a daemon that does: both are in the output, exit 1."""
    one = await begin(tmp_path / "sessions", "one")

    def asked(path: Path, *words: Any) -> Any:
        return commands_ask(path, *words, timeout_s=0.1 if "stuck" in path.name else 60.0)

    monkeypatch.setattr(commands, "ask", asked)
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(socket_path(user_run_folder(), "stuck", 4711)))
        stuck.listen()
        for command in (commands.halt, commands.status):
            with pytest.raises(typer.Exit):
                await asyncio.to_thread(command)
            said = capsys.readouterr()
            assert "session one (process" in said.out or "session       x" in said.out
            assert "session stuck (process 4711) does not answer" in said.out + said.err
    assert one.told == ["halt", "status"]


async def test_what_is_told_of_each_model_has_a_line_of_its_own(
    begin: Begin, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures are rounded to what a person reads; with --json they are whole."""
    figures = {"role": "shadow", "matured": 4607.0, "log_loss": 1.0628652329136155, "profit_bps": -120.475}
    answer = {"ok": True, "state": "active", "watched": {"m@1 on X": figures, "m@2 on X": {"role": "champion"}}}
    answer |= {"refused": {}, "asks": {"late": 2}}
    await begin(tmp_path / "sessions", "one")
    monkeypatch.setattr(commands, "ask", lambda *_: answer)
    await asyncio.to_thread(commands.status)
    assert capsys.readouterr().out.splitlines() == [
        "state         active",
        "watched       m@1 on X: role shadow, matured 4607, log_loss 1.063, profit_bps -120.5",
        "watched       m@2 on X: role champion",
        "refused       {}",
        'asks          {"late": 2}',
    ]
    await asyncio.to_thread(commands.status, as_json=True)
    assert "1.0628652329136155" in capsys.readouterr().out.splitlines()[-1]


commands_ask = commands.ask


async def test_a_user_without_a_folder_can_still_halt_where_it_says(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is unusable: the daemon beside ``--sessions`` is halted by socket and file, and the error said."""
    sessions = tmp_path / "sessions"
    one = await begin(sessions, "one")
    monkeypatch.setenv("KESTREL_RUN_DIR", "relative")
    with pytest.raises(KestrelError, match="KESTREL_RUN_DIR is 'relative'"):
        await asyncio.to_thread(commands.halt, "storm", sessions)
    assert one.told == ["halt"]
    assert json.loads((run_folder(sessions) / "HALT").read_text())["reason"] == "storm"


async def test_a_daemon_that_is_named_and_does_not_run_is_told_with_those_that_do(begin: Begin, tmp_path: Path) -> None:
    """One runs and another is named; then none runs, and with several one has to be named."""
    await begin(tmp_path / "a", "one")
    with pytest.raises(KestrelError, match=r"^session 'two' has no daemon that runs; expected session one \(process"):
        await asyncio.to_thread(order_commands.cancel, "k-1", session="two")
    with pytest.raises(KestrelError, match=r"^no daemon is running: none listens in .*; start one"):
        await asyncio.to_thread(order_commands.cancel, "k-1", session="two", sessions=tmp_path / "else" / "b")
    await begin(tmp_path / "c", "three")
    with pytest.raises(KestrelError, match=r"^several daemons are running: session .*; say which: --session ID"):
        await asyncio.to_thread(order_commands.cancel, "k-1")
