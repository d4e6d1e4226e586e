"""The operator's ways in: a Unix socket of one request each, and the kill-switch file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError, KestrelError
from engine.runtime.control import (
    HALT_NAME,
    REQUEST_MAX_BYTES,
    ControlServer,
    ask,
    clear_halt,
    read_halt,
    run_folder,
    run_folders,
    running_sessions,
    socket_path,
    user_run_folder,
    write_halt,
)


class Operated:
    """Notes what it is asked; refuses ``bad``, fails on ``broken`` as a daemon's answer may."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((command, arguments))
        if command == "bad":
            return {"ok": False, "error": "unknown command 'bad'"}
        if command == "broken":
            raise KestrelError("the file cannot be removed", do="remove it by hand")
        return {"ok": True, "state": "active"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Path, Operated]]:
    operated = Operated()
    server = ControlServer([tmp_path], "one", operated)
    await server.start()
    yield tmp_path, operated
    await server.stop()


def path_of(run_dir: Path, session: str) -> Path:
    return socket_path(run_dir, session, os.getpid())


def in_thread(*arguments: Any) -> Any:
    """``ask`` blocks, as it does in the operator's own process."""
    return asyncio.to_thread(ask, *arguments)


async def test_a_command_reaches_the_daemon_with_its_arguments(served: tuple[Path, Operated]) -> None:
    """One request, its answer, and what the daemon saw; who asked is the system's word, whatever the request says."""
    run, operated = served
    answer = await in_thread(path_of(run, "one"), "halt", {"reason": "storm", "who": "the owner"})
    assert answer == {"ok": True, "state": "active"}
    ((command, arguments),) = operated.asked
    assert (command, arguments["reason"]) == ("halt", "storm")
    assert f"(uid {os.getuid()}, process {os.getpid()})" in arguments["who"]


async def test_the_socket_is_for_this_user_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    """Mode 600 while it serves; no file afterwards; a stale file from a killed daemon is no obstacle."""
    path_of(tmp_path, "one").write_text("left behind")
    server = ControlServer([tmp_path], "one", Operated())
    await server.start()
    assert stat.S_IMODE(path_of(tmp_path, "one").stat().st_mode) == 0o600
    await server.stop()
    assert not path_of(tmp_path, "one").exists()
    await server.stop()


@pytest.mark.parametrize(
    ("command", "said"),
    [("bad", "refused 'bad': unknown command 'bad'"), ("broken", "refused 'broken': the file cannot be removed")],
)
async def test_a_refusal_comes_back_as_an_error(command: str, said: str, served: tuple[Path, Operated]) -> None:
    """The daemon's own words, whether it answered no or could not."""
    with pytest.raises(KestrelError, match=re.escape(f"session one (process {os.getpid()}) {said}")):
        await in_thread(path_of(served[0], "one"), command)


@pytest.mark.parametrize(
    "line", [b"\n", b"halt\n", b"[1]\n", b'{"arguments": {}}\n', b'{"command": "x", "arguments": 5}\n']
)
async def test_a_request_that_is_no_command_is_answered_and_reaches_nobody(
    line: bytes, served: tuple[Path, Operated]
) -> None:
    """What another program might write into the socket."""
    run, operated = served
    reader, writer = await asyncio.open_unix_connection(str(path_of(run, "one")))
    writer.write(line)
    assert json.loads(await reader.readline())["ok"] is False
    writer.close()
    assert operated.asked == []


async def test_a_request_beyond_the_bound_is_cut_off_and_the_next_one_is_served(
    served: tuple[Path, Operated],
) -> None:
    """More than the limit without a line end: the connection ends; a new one works."""
    run, operated = served
    reader, writer = await asyncio.open_unix_connection(str(path_of(run, "one")))
    writer.write(b"x" * (REQUEST_MAX_BYTES * 4))
    try:
        assert b'"ok": true' not in await reader.read()
    except ConnectionError:
        pass
    writer.close()
    assert (await in_thread(path_of(run, "one"), "status"))["ok"] is True
    assert [command for command, _ in operated.asked] == ["status"]


async def test_a_daemon_that_does_not_answer_is_an_error_that_names_the_way_out(tmp_path: Path) -> None:
    """A socket that listens and never answers, as a stuck loop would."""
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path_of(tmp_path, "stuck")))
        stuck.listen()
        with pytest.raises(KestrelError, match=rf"session stuck \(process {os.getpid()}\) does not answer"):
            await asyncio.to_thread(ask, path_of(tmp_path, "stuck"), "status", None, 0.05)


@pytest.mark.fault("F8")
async def test_what_nobody_waits_for_any_more_is_not_carried_out_unless_it_stops_trading(
    served: tuple[Path, Operated],
) -> None:
    """Asked while the loop is stuck, and given up before it wakes: who asked was told that it failed, has asked again
    or thinks that it halts.  Only what lessens risk is obeyed late; who half-closed and still reads is answered."""
    run_dir, operated = served
    for command in ("resume", "halt", "order", "flatten", "reduce", "resume"):
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(str(path_of(run_dir, "one")))
            gone.sendall(json.dumps({"command": command, "arguments": {}}).encode() + b"\n")
    with socket.socket(socket.AF_UNIX) as waits:
        waits.connect(str(path_of(run_dir, "one")))
        waits.sendall(b'{"command": "order"}\n')
        waits.shutdown(socket.SHUT_WR)
        assert json.loads(await asyncio.to_thread(waits.recv, 1000)) == {"ok": True, "state": "active"}
    await asyncio.to_thread(ask, path_of(run_dir, "one"), "status")
    assert [command for command, _ in operated.asked] == ["halt", "reduce", "order", "status"]


async def test_running_sessions_are_the_ones_that_listen(served: tuple[Path, Operated]) -> None:
    """A socket file that nobody serves is removed; one that is served is listed, newest name first."""
    run, _ = served
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path_of(run, "dead")))
    second = ControlServer([run], "two", Operated())
    await second.start()
    found = await asyncio.to_thread(running_sessions, run)
    assert [path.name.partition(".")[0] for path in found] == ["two", "one"]
    assert not path_of(run, "dead").exists()
    await second.stop()


async def test_a_folder_too_deep_for_a_socket_address_works_as_well(tmp_path: Path) -> None:
    """108 bytes are the limit of an address; the folder here alone is longer."""
    run = tmp_path / ("deep" * 20) / ("er" * 20)
    server = ControlServer([run], "one", Operated())
    await server.start()
    assert len(str(path_of(run, "one"))) > 130
    assert (await in_thread(path_of(run, "one"), "status"))["ok"] is True
    assert await asyncio.to_thread(running_sessions, run) == [path_of(run, "one")]
    await server.stop()


async def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "run").write_text("")
    with pytest.raises(KestrelError, match=r"control socket .* cannot be made"):
        await ControlServer([tmp_path / "run"], "one", Operated()).start()


async def test_a_daemon_is_found_in_either_folder_and_once_in_both(tmp_path: Path) -> None:
    """One server with two folders: the same name in each, private, one entry for who looks in both, none afterwards."""
    mine, beside = tmp_path / "state" / "mine", tmp_path / "run"
    server = ControlServer([mine, beside], "one", Operated())
    await server.start()
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    for folder in (mine, beside):
        assert await asyncio.to_thread(running_sessions, folder) == [path_of(folder, "one")]
        assert (await in_thread(path_of(folder, "one"), "status"))["ok"] is True
    assert await asyncio.to_thread(running_sessions, mine, beside) == [path_of(mine, "one")]
    await server.stop()
    assert list(mine.iterdir()) == list(beside.iterdir()) == []


async def test_a_daemon_that_cannot_listen_in_one_folder_listens_in_none(tmp_path: Path) -> None:
    """The second folder is a file: the error names it and how to choose another, and the first socket is gone."""
    (tmp_path / "run").write_text("")
    server = ControlServer([tmp_path / "mine", tmp_path / "run"], "one", Operated())
    with pytest.raises(KestrelError, match=r"run/one.*cannot be made.*session\.directory.*KESTREL_RUN_DIR"):
        await server.start()
    assert list((tmp_path / "mine").iterdir()) == []


def test_two_processes_with_sessions_of_one_name_do_not_take_each_others_socket(tmp_path: Path) -> None:
    """Two checkouts, ``--session mine`` in both."""
    assert socket_path(tmp_path, "mine", 7) != socket_path(tmp_path, "mine", 8)


# --- the folders --------------------------------------------------------------------------------------------------


def test_the_users_folder_depends_on_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other working directory, other HOME, a login's XDG folder or none: what cron, sudo and a service differ in."""
    monkeypatch.delenv("KESTREL_RUN_DIR")
    found = user_run_folder()
    assert found.is_absolute()
    assert found.parts[-3:] == (".local", "state", "kestrel")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_run_folder() == found
    monkeypatch.delenv("HOME")
    assert user_run_folder() == found


def test_a_user_without_a_home_has_to_name_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id that the password database does not know, as containers have; the variable settles it."""
    monkeypatch.delenv("KESTREL_RUN_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 2_000_000_011)
    with pytest.raises(KestrelError, match=r"user 2000000011 has no home folder .* set KESTREL_RUN_DIR"):
        user_run_folder()
    monkeypatch.setenv("KESTREL_RUN_DIR", str(tmp_path))
    assert user_run_folder() == tmp_path


def test_a_relative_name_of_the_users_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would mean another folder wherever one stands."""
    monkeypatch.setenv("KESTREL_RUN_DIR", "var/run")
    with pytest.raises(ConfigError, match="KESTREL_RUN_DIR is 'var/run'; expected an absolute path"):
        user_run_folder()


def test_a_daemons_folders_are_absolute_and_distinct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative sessions, as is the default; then the user's folder set to the very one beside the sessions."""
    monkeypatch.chdir(tmp_path)
    assert run_folder(Path("var/sessions")) == tmp_path / "var" / "run"
    assert run_folders(Path("var/sessions")) == (user_run_folder(), tmp_path / "var" / "run")
    monkeypatch.setenv("KESTREL_RUN_DIR", str(tmp_path / "var" / "run"))
    assert run_folders(Path("var/sessions")) == (tmp_path / "var" / "run",)


# --- the file -----------------------------------------------------------------------------------------------------


def test_the_kill_switch_says_who_and_why_until_it_is_cleared(tmp_path: Path) -> None:
    """Written, read, cleared once; nothing half-written is left in the folder."""
    run = tmp_path / "run"
    assert read_halt(run) is None
    assert write_halt(run, "operator", "storm", 7) == run / HALT_NAME
    assert read_halt(run) == {"source": "operator", "reason": "storm"}
    assert [path.name for path in run.iterdir()] == [HALT_NAME]
    assert clear_halt(run) is True
    assert clear_halt(run) is False
    assert read_halt(run) is None


@pytest.mark.fault("F7")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "HALT file"),
        (b"by hand\n", "by hand"),
        (b"[1, 2]", "[1, 2]"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"{", "{"),
        (b'{"source": "file", "reason": "\\udcff"}', "\\udcff"),
        (b"x" * 300, "x" * 200),
    ],
)
def test_a_file_with_any_content_halts(content: bytes, reason: str, tmp_path: Path) -> None:
    """``touch HALT`` must be enough; what it says can be put on record whatever was typed."""
    (tmp_path / HALT_NAME).write_bytes(content)
    assert read_halt(tmp_path) == {"source": "file", "reason": reason}


async def test_whatever_is_typed_has_a_form_that_can_be_recorded_and_fits_into_a_request(
    served: tuple[Path, Operated],
) -> None:
    """Bytes that are no text come from a terminal as lone surrogates; a reason of any length is cut, what else is too
    long is refused before it is sent."""
    run_dir, operated = served
    path = path_of(run_dir, "one")
    await asyncio.to_thread(ask, path, "halt", {"reason": "\udcff" * 9_000, "order": "k-\udcff"})
    ((_, arguments),) = operated.asked
    assert arguments["reason"].encode().startswith(rb"\udcff")
    assert arguments["order"] == r"k-\udcff"
    with pytest.raises(KestrelError, match=r"'cancel' with .* bytes; expected at most 4096") as caught:
        await asyncio.to_thread(ask, path, "cancel", {"order": "x" * 5_000})
    assert "\n" not in str(caught.value)
    assert len(operated.asked) == 1


def test_something_unreadable_in_its_place_halts_and_cannot_be_cleared_silently(tmp_path: Path) -> None:
    """A folder called HALT: it cannot be read, so it halts; ``resume`` says that it cannot remove it."""
    (tmp_path / HALT_NAME).mkdir()
    found = read_halt(tmp_path)
    assert found is not None
    assert "cannot be read" in found["reason"]
    with pytest.raises(KestrelError, match="cannot be removed"):
        clear_halt(tmp_path)


def test_a_run_folder_that_is_a_file_holds_no_kill_switch_and_takes_none(tmp_path: Path) -> None:
    """Reading says no halt; writing is an error that tells how else to stop."""
    run = tmp_path / "run"
    run.write_text("")
    assert read_halt(run) is None
    assert clear_halt(run) is False
    with pytest.raises(KestrelError, match="cannot be written"):
        write_halt(run, "operator", "", 0)


@pytest.mark.fault("F7")
def test_a_disk_that_takes_no_content_still_gets_an_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing fails as on a full disk; creating a name does not, and that is enough to halt."""

    def full(self: Path, text: str) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_text", full)
    write_halt(tmp_path, "operator", "storm", 0)
    assert read_halt(tmp_path) == {"source": "file", "reason": "HALT file"}
    assert [path.name for path in tmp_path.iterdir()] == [HALT_NAME]
