"""Ports in use, folders that cannot be written and disks without room: nothing half-written, nothing lost."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.bad_input import NAME, nothing_written, play, refused
from tests.support.daemon import ROOT, command, environment, into, kestrel, last_json, paper_session, replay_session


def test_a_metrics_port_in_use_is_refused_and_the_name_stays_free(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Another socket holds the port: one line; then the same session name starts on a free one, but only once."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = play(tmp_path, market, "--session", "mine", "--set", f"metrics.port={port}")
        refused(done, f"127.0.0.1:{port}", "in use", "a free port")
        nothing_written(tmp_path)
    assert paper_session(tmp_path, market, "--session", "mine")["session"] == "mine"
    refused(play(tmp_path, market, "--session", "mine"), "session mine has already run", "choose a new one")
    assert replay_session(tmp_path, "mine")[1]["identical"] is True


def test_a_sandbox_port_in_use_is_refused(tmp_path: Path) -> None:
    """By the sandbox itself, and by ``paper``, which passes the sandbox's words on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        key_file = str(tmp_path / "key.json")
        done = kestrel("sandbox", "coinbase", "--port", str(port), "--history", "0", "--key-file", key_file)
        assert "--port 0" in refused(done, f"127.0.0.1:{port} is in use")
        done = kestrel(
            "paper", "--json", *into(tmp_path), "--set", f"sandbox.port={port}", "--set", "sandbox.history_s=0"
        )
        assert done.returncode == 2
        said = last_json(done)["error"]
        assert said.startswith(f"the sandbox did not start: sandbox port 127.0.0.1:{port} is in use")
        assert "sandbox.port" in said
        assert "--port" not in said, "paper has no such option"
    (session,) = (tmp_path / "sessions").iterdir()
    assert replay_session(tmp_path, session.name)[1]["identical"] is True


def test_an_existing_folder_is_never_cleared_by_a_refused_start(market: tuple[Path, Path], tmp_path: Path) -> None:
    """A folder that the user made keeps its files when the start inside it is refused."""
    mine = tmp_path / "sessions" / "mine"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("keep")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"metrics.port={other.getsockname()[1]}"
        refused(play(tmp_path, market, "--session", "mine", "--set", taken), "in use")
    assert (mine / "notes.txt").read_text() == "keep"


def test_a_session_folder_that_cannot_be_written_is_refused(market: tuple[Path, Path], tmp_path: Path) -> None:
    """A file where the folder should be: also root cannot write there."""
    (tmp_path / "file").write_text("")
    done = play(tmp_path, market, "--set", f"session.directory={tmp_path / 'file' / 'sessions'}")
    refused(done, "cannot write", "choose a folder that is yours")


def test_a_log_folder_that_cannot_be_written_is_refused(market: tuple[Path, Path], tmp_path: Path) -> None:
    """The same for ``logs.directory``."""
    (tmp_path / "file").write_text("")
    refused(play(tmp_path, market, "--set", f"logs.directory={tmp_path / 'file'}"), "log file", "cannot be opened")
    nothing_written(tmp_path)


def test_a_run_folder_that_cannot_hold_the_control_socket_is_refused(market: tuple[Path, Path], tmp_path: Path) -> None:
    """A daemon that nobody could halt does not start."""
    (tmp_path / "run").write_text("")
    done = play(tmp_path, market)
    assert done.returncode == 2
    assert "control socket" in last_json(done)["error"]
    assert done.stderr.strip().splitlines()[-1] == f"kestrel: {last_json(done)['error']}"


def _limited(arguments: tuple[str, ...], limit_bytes: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
    )


@pytest.mark.fault("A8")
def test_a_disk_without_room_for_the_journal_is_refused_at_the_start(market: tuple[Path, Path], tmp_path: Path) -> None:
    """No file may grow to a segment's size: nothing trades, and no session is left."""
    arguments = ("paper", "--replay", *map(str, market), "--json", *into(tmp_path))
    refused(_limited(arguments, 4 << 20), "cannot allocate the journal", "free disk space")
    nothing_written(tmp_path)


@pytest.mark.fault("A8")
def test_a_disk_that_fills_up_halts_trading_and_leaves_a_session_that_replays(
    market_data: Path, tmp_path: Path
) -> None:
    """A small disk of its own, mounted in a private namespace: journal segments of 1 MB run out of room half way."""
    files = []
    for kind, rows in (("quotes", 9_000), ("trades", 3_500)):
        files.append(tmp_path / f"{NAME}_{kind}.parquet")
        pq.write_table(pq.read_table(market_data / "ticks" / files[-1].name).slice(0, rows), files[-1])
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no private mounts")
    settings = ["--set", "journal.segment_mb=1", "--no-report"]
    trade = command("paper", "--replay", *map(str, files), "--json", *into(disk), *settings)
    again = command("replay", "latest", "--sessions", str(disk / "sessions"), "--json")
    script = (
        'mount -t tmpfs -o size=5m tmpfs "$DISK" && python() { "$@" 2>&1; echo "exit $?"; } && '
        + " ".join(f"'{part}'" for part in ["python", *trade])
        + " && "
        + " ".join(f"'{part}'" for part in ["python", *again])
    )
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script],
        cwd=ROOT,
        env=environment(DISK=str(disk)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout, done.stdout[-3000:]
    lines = done.stdout.splitlines()
    assert "No space left on device" in done.stdout
    assert any("HALTED" in line or '"state":"halted"' in line for line in lines)
    result = next(json.loads(line) for line in reversed(lines) if line.startswith("{"))
    assert result["identical"] is True
    assert result["events"] > 5000
