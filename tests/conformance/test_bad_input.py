"""What a user can get wrong, typed as a user would type it: one clear line, a non-zero exit, nothing half-written.

Every case runs the real ``run.py`` in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.daemon import ROOT, command, environment, into, kestrel, last_json, paper_session, replay_session

NAME = "binance_usdm_btcusdt_20240808"
ARTIFACTS = ROOT / "models" / "artifacts"
NO_MODEL = "strategies=[{name: mine, kind: ema_cross, model: none}]"


@pytest.fixture(scope="module")
def market(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first rows of a recorded day: ``(quotes, trades)``."""
    folder = tmp_path_factory.mktemp("market")
    made = []
    for kind, rows in (("quotes", 3000), ("trades", 1000)):
        target = folder / f"{NAME}_{kind}.parquet"
        pq.write_table(pq.read_table(market_data / "ticks" / target.name).slice(0, rows), target)
        made.append(target)
    return made[0], made[1]


def refused(done: subprocess.CompletedProcess[str], *said: str) -> str:
    """The run ended with exit 2, one line on stderr that says all of this, and the same in the JSON object."""
    assert done.returncode == 2, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr[-2000:]
    assert lines[0].startswith("kestrel: ")
    for part in said:
        assert part in lines[0]
    if done.stdout.strip():
        assert last_json(done)["error"] == lines[0].removeprefix("kestrel: ")
    return lines[0]


def nothing_written(folder: Path) -> None:
    """No folder that looks like a session was left behind."""
    assert not list(folder.glob("sessions/*")), sorted(folder.rglob("*"))


def play(folder: Path, files: tuple[Path, ...], *extra: str, **env: str) -> subprocess.CompletedProcess[str]:
    return kestrel("paper", "--replay", *map(str, files), "--json", "--no-report", *into(folder), *extra, **env)


# --- configuration and command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "risk.max_order_notionl=3"), ("unknown key 'risk.max_order_notionl'", "'risk.max_order_notional'")),
        (("--set", "foo"), ("--set foo", "KEY=VALUE")),
        (("--set", "venue.symbols=[a"), ("venue.symbols", "no YAML")),
        (("--set", "journal.segment_mb=lots"), ("journal.segment_mb is 'lots'", "a whole number")),
        (("--venue", "coinbas"), ("venue.name is 'coinbas'", "'coinbase'")),
        (("--feed", "sandbx"), ("venue.feed is 'sandbx'", "'sandbox', 'live' or 'replay'")),
        (("--feed", "replay"), ("feed replay without files", "--replay FILE")),
        (("--replay",), ("--replay without files", "--replay FILE")),
        (("some.parquet",), ("unexpected argument some.parquet", "--replay before recorded files")),
        (("--replay", "some.parquet", "--feed", "live"), ("--feed live with --replay", "one of the two")),
        (("--for", "0"), ("--for 0", "a positive number of seconds")),
        (("--for", "nan"), ("--for nan", "a positive number of seconds")),
        (("--for", "soon"), ("'--for'", "a valid number", "--help")),
        (("--speed", "quick"), ("--speed quick", "a positive number or max")),
        (("--speed", "0"), ("--speed 0", "a positive number or max")),
        (("--speed", "nan"), ("--speed nan", "a positive number or max")),
        (("--sped", "3"), ("No such option: --sped", "--speed")),
        (("--config", "none.yaml"), ("none.yaml cannot be read", "a YAML or JSON file")),
        (("--session", "../else"), ("session id '../else'", "letters, digits")),
        (("--set", "strategies=[{name: a, kind: treshold}]"), ("'treshold' is unknown", "'threshold'")),
        (("--set", "strategies.0.params.byu=0.6"), ("parameter 'byu' is unknown", "'buy'")),
        (("--set", "strategies.0.params.buy=high"), ("strategy demo", "float", "correct it")),
        (("--set", "strategies=[{name: a, path: 'none.py:A'}]"), ("none.py is missing", "a Python file")),
        (("--set", "models.directory=none"), ("no folder of bundles at none", "models.directory")),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_was_expected(
    arguments: tuple[str, ...], said: tuple[str, ...], tmp_path: Path
) -> None:
    """Each mistake on the command line of ``paper``; the session's folder stays empty."""
    refused(kestrel("paper", "--json", *into(tmp_path), *arguments), *said)
    nothing_written(tmp_path)


def test_a_misspelt_variable_is_named_with_the_nearest_key(tmp_path: Path) -> None:
    """KESTREL_VENU__FEED: a setting that would silently not hold."""
    refused(kestrel("paper", *into(tmp_path), KESTREL_VENU__FEED="live"), "env KESTREL_VENU__FEED", "expected 'venue'")


def test_an_unknown_command_is_one_line() -> None:
    """``papr`` instead of ``paper``."""
    refused(kestrel("papr"), "No such command 'papr'", "paper")


def test_without_a_command_the_help_is_printed() -> None:
    """Exit 2, as for any call that does nothing, and the commands on stdout."""
    done = kestrel()
    assert (done.returncode, done.stderr) == (2, "")
    assert "paper" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuchmodule\n", ("fails at line 1", "No module named 'nosuchmodule'")),
        ("class Mine(\n", ("fails at line 1", "SyntaxError")),
        ("class Other:\n    pass\n", ("has no class 'Mine'", "strategies.base.BaseStrategy")),
    ],
)
def test_a_users_strategy_that_cannot_be_loaded_is_one_line(text: str, said: tuple[str, ...], tmp_path: Path) -> None:
    """A file with an import that fails, with a syntax error, without the class."""
    file = tmp_path / "mine.py"
    file.write_text(text)
    setting = f"strategies=[{{name: mine, path: '{file}:Mine'}}]"
    refused(kestrel("paper", *into(tmp_path), "--set", setting), *said)
    nothing_written(tmp_path)


# --- recorded files -----------------------------------------------------------------------------------------------


def _plain(text: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(text)  # type: ignore[return-value]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _misname(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(["bidd" if name == "bid" else name for name in table.column_names]), path)


def _as_text(path: Path) -> None:
    table = pq.read_table(path)
    at = table.column_names.index("bid")
    pq.write_table(table.set_column(at, "bid", table["bid"].cast(pa.string())), path)


def _unlabelled(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, ("does not exist", "a Parquet file")),
        (_plain(b""), ("is empty", "a Parquet file")),
        (_plain(b"ts_ns,bid,ask\n1,2,3\n" * 10), ("no readable Parquet file", "truncated or of another format")),
        (_cut, ("no readable Parquet file", "truncated or of another format")),
        (_misname, ("no column 'bid'", "rename 'bidd' to 'bid'")),
        (_as_text, ("bid", "double")),
        (_unlabelled, ("venue and symbol", "metadata")),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_before_a_session_exists(
    damage: Callable[[Path], None], said: tuple[str, ...], market: tuple[Path, Path], tmp_path: Path
) -> None:
    """A copy of a real file is damaged; the line names it and what it should have been."""
    quotes = tmp_path / market[0].name
    shutil.copy(market[0], quotes)
    damage(quotes)
    refused(play(tmp_path, (quotes, market[1])), quotes.name, *said)
    nothing_written(tmp_path)


def test_the_same_stream_twice_is_refused(market: tuple[Path, Path], tmp_path: Path) -> None:
    """The quotes file named twice would play every quote twice."""
    refused(play(tmp_path, (market[0], *market)), "are the same stream", "leave one of them out")


def changed(source: Path, target: Path, change: Callable[[dict[str, list[Any]]], None]) -> Path:
    table = pq.read_table(source)
    rows = table.to_pydict()
    change(rows)
    pq.write_table(pa.table(rows, schema=table.schema), target)
    return target


def test_bad_rows_are_dropped_and_counted_by_reason(market: tuple[Path, Path], tmp_path: Path) -> None:
    """NaN, infinite, zero and negative prices, a crossed quote, a negative size: six drops, and the rest trades."""

    def spoil(rows: dict[str, list[Any]]) -> None:
        rows["bid"][100] = float("nan")
        rows["ask"][200] = float("inf")
        rows["bid"][300] = 0.0
        rows["ask"][400] = -5.0
        rows["bid"][500] = rows["ask"][500] + 10
        rows["bid_size"][600] = -1.0

    quotes = changed(market[0], tmp_path / market[0].name, spoil)
    summary = paper_session(tmp_path, [quotes, market[1]], "--no-report")
    assert summary["drops"] == {"not_finite": 2, "not_positive": 2, "crossed": 1, "bad_size": 1}
    assert summary["dropped"] == 6
    assert summary["ticks"] == 4000 - 6
    assert summary["orders"] > 0
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True


def test_unsorted_rows_play_in_file_order_and_are_reported(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Two rows swapped: nothing is re-sorted behind the user's back, one line says so, and the session replays."""

    def swap(rows: dict[str, list[Any]]) -> None:
        for values in rows.values():
            values[1000], values[2000] = values[2000], values[1000]

    quotes = changed(market[0], tmp_path / market[0].name, swap)
    done = play(tmp_path, (quotes, market[1]))
    assert done.returncode == 0
    assert "expected rows in order of time" in done.stderr
    summary = last_json(done)
    assert any("rows in order of time" in text for text in summary["warnings"])
    assert summary["ticks"] == 4000
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True


def test_a_page_that_turns_out_damaged_ends_the_session_in_one_line(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Bytes of the bid column's second page overwritten: what was played before is kept and replays."""
    quotes = tmp_path / market[0].name
    pq.write_table(pq.read_table(market[0]), quotes, row_group_size=1500, compression="snappy", use_dictionary=False)
    column = pq.ParquetFile(quotes).metadata.row_group(1).column(3)
    assert column.path_in_schema == "bid"
    start, size = column.data_page_offset, column.total_compressed_size
    content = bytearray(quotes.read_bytes())
    content[start + size // 4 : start + size // 2] = b"\xff" * (size // 2 - size // 4)
    quotes.write_bytes(content)
    done = play(tmp_path, (quotes, market[1]))
    assert done.returncode == 2
    assert "is damaged" in last_json(done)["error"]
    assert done.stderr.strip().splitlines()[-1] == f"kestrel: {last_json(done)['error']}"
    (session,) = (tmp_path / "sessions").iterdir()
    status, result = replay_session(tmp_path, session.name)
    assert (status, result["identical"]) == (0, True)


# --- bundles ------------------------------------------------------------------------------------------------------


def _flip(bundle: Path) -> None:
    graph = bytearray((bundle / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(graph)


def _manifest(**changes: Any) -> Callable[[Path], None]:
    def apply(bundle: Path) -> None:
        file = bundle / "manifest.json"
        content = json.loads(file.read_text())
        for key, value in changes.items():
            section, _, name = key.partition("__")
            if name:
                content[section][name] = value
            else:
                content[section] = value
        file.write_text(json.dumps(content))

    return apply


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_flip, ("model.onnx has sha256", "changed or damaged")),
        (_manifest(features__fingerprint="0" * 64), ("was trained on features 000000000000", "train it again")),
        (_manifest(expires_ns=1), ("expired", "train it again")),
        (_manifest(schema=99), ("has schema 99", "schema 1")),
        (_manifest(scope__venues=["elsewhere"]), ("venue binance_usdm is not one of elsewhere",)),
    ],
)
def test_a_bundle_that_may_not_be_used_is_refused_with_the_reason(
    change: Callable[[Path], None], said: tuple[str, ...], market: tuple[Path, Path], tmp_path: Path
) -> None:
    """A copy of the shipped bundles, one of them damaged, foreign or too old; no session is begun."""
    shutil.copytree(ARTIFACTS, tmp_path / "bundles")
    change(tmp_path / "bundles" / "demo-crypto")
    done = play(tmp_path, market, "--set", f"models.directory={tmp_path / 'bundles'}")
    refused(done, "no bundle in", "BTC/USDT@binance_usdm", *said)
    nothing_written(tmp_path)


def test_quotes_alone_of_a_crypto_instrument_have_no_bundle_that_fits(
    market: tuple[Path, Path], tmp_path: Path
) -> None:
    """The refusal says of each bundle why; the same file trades with a strategy that needs no model."""
    refused(
        play(tmp_path, market[:1]),
        "demo-crypto: its feed has no trades",
        "demo-fx: asset class perpetual is not one of fx, cfd",
        "choose a strategy that needs no model",
    )
    nothing_written(tmp_path)
    summary = paper_session(tmp_path, market[:1], "--no-report", "--set", NO_MODEL)
    assert summary["ticks"] == 3000
    assert summary["predictions"] == 0


def test_the_sandbox_market_is_not_traded_with_a_damaged_bundle(tmp_path: Path) -> None:
    """There the instruments are known once the venue says so: the session ends with the reason, and replays."""
    shutil.copytree(ARTIFACTS, tmp_path / "bundles")
    _flip(tmp_path / "bundles" / "demo-crypto")
    bundles = f"models.directory={tmp_path / 'bundles'}"
    done = kestrel("paper", "--json", *into(tmp_path), "--set", bundles, "--set", "sandbox.history_s=0")
    assert done.returncode == 2
    assert last_json(done)["error"].startswith("no bundle in ")
    assert "model.onnx has sha256" in last_json(done)["error"]
    assert done.stderr.strip().splitlines()[-1] == f"kestrel: {last_json(done)['error']}"
    (session,) = (tmp_path / "sessions").iterdir()
    assert replay_session(tmp_path, session.name)[1]["identical"] is True


# --- places and ports ---------------------------------------------------------------------------------------------


def test_a_metrics_port_in_use_is_refused_and_the_name_stays_free(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Another socket holds the port: one line; then the same session name starts on a free one, but only once."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = play(tmp_path, market, "--session", "mine", "--set", f"metrics.port={port}")
        refused(done, f"127.0.0.1:{port}", "in use", "a free port")
        nothing_written(tmp_path)
    assert paper_session(tmp_path, market, "--session", "mine", "--no-report")["session"] == "mine"
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
        assert done.returncode == 2
        assert f"127.0.0.1:{port} is in use" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        done = kestrel(
            "paper", "--json", *into(tmp_path), "--set", f"sandbox.port={port}", "--set", "sandbox.history_s=0"
        )
        assert done.returncode == 2
        assert f"127.0.0.1:{port} is in use" in last_json(done)["error"]
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


@pytest.mark.parametrize("content", ['{"source": "operator", "reason": "because"}', "because", ""])
def test_no_daemon_starts_while_the_kill_switch_is_on(content: str, market: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever the HALT file holds; the line says how to end the halt, and ``resume`` does."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "HALT").write_text(content)
    refused(play(tmp_path, market), "the kill switch is on", "because" if content else "HALT file", "resume")
    nothing_written(tmp_path)
    resumed = kestrel("resume", "--sessions", str(tmp_path / "sessions"))
    assert (resumed.returncode, resumed.stdout) == (0, "removed the HALT file\n")
    assert not (tmp_path / "run" / "HALT").exists()


# --- disk ---------------------------------------------------------------------------------------------------------


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


def test_a_disk_without_room_for_the_journal_is_refused_at_the_start(market: tuple[Path, Path], tmp_path: Path) -> None:
    """No file may grow to a segment's size: nothing trades, and no session is left."""
    arguments = ("paper", "--replay", *map(str, market), "--json", *into(tmp_path))
    refused(_limited(arguments, 4 << 20), "cannot allocate the journal", "free disk space")
    nothing_written(tmp_path)


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


# --- replay and operators -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(market: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one whole session called ``whole``."""
    folder = tmp_path_factory.mktemp("recorded")
    paper_session(folder, market, "--session", "whole", "--no-report")
    return folder


@pytest.mark.parametrize("stream", ["market", "orders"])
def test_a_journal_damaged_in_the_middle_is_refused_with_the_place(stream: str, recorded: Path, tmp_path: Path) -> None:
    """One bit flipped in a record that others follow: what comes after it cannot be trusted, and is not replayed."""
    copy = tmp_path / "sessions" / "copy"
    shutil.copytree(recorded / "sessions" / "whole", copy)
    segment = copy / "journal" / f"{stream}-000001.seg"
    content = bytearray(segment.read_bytes())
    content[600] ^= 1
    segment.write_bytes(content)
    done = kestrel("replay", "copy", "--sessions", str(tmp_path / "sessions"), "--json")
    refused(done, segment.name, "is damaged at offset", "restore the files from a copy")


def test_a_damaged_header_or_a_missing_journal_is_refused(recorded: Path, tmp_path: Path) -> None:
    """``session.json`` cut short; then whole again, but without a journal."""
    copy = tmp_path / "sessions" / "copy"
    shutil.copytree(recorded / "sessions" / "whole", copy)
    header = (copy / "session.json").read_text()
    (copy / "session.json").write_text(header[:40])
    done = kestrel("replay", "copy", "--sessions", str(tmp_path / "sessions"), "--json")
    refused(done, "session.json is damaged", "restore it from a copy")
    (copy / "session.json").write_text(header)
    shutil.rmtree(copy / "journal")
    done = kestrel("replay", "copy", "--sessions", str(tmp_path / "sessions"), "--json")
    refused(done, "no journal at", "check the session's path")


def test_an_unknown_session_is_refused_with_the_ones_there_are(recorded: Path, tmp_path: Path) -> None:
    """A name that nothing begins with; a folder without sessions; a setting that does not exist."""
    sessions = str(recorded / "sessions")
    refused(kestrel("replay", "wohle", "--sessions", sessions, "--json"), "no session 'wohle'", "one of whole")
    refused(kestrel("replay", "latest", "--sessions", str(tmp_path), "--json"), "no session under", "run one first")
    done = kestrel("replay", "whole", "--sessions", sessions, "--set", "modls.deadline_us=1")
    refused(done, "unknown key 'modls'", "'models'")


def test_operators_are_told_when_no_daemon_runs(tmp_path: Path) -> None:
    """``status`` and ``reduce`` need one; ``halt`` works without and holds the next start; ``resume`` ends that."""
    sessions = ("--sessions", str(tmp_path / "sessions"))
    for name in ("status", "reduce"):
        refused(kestrel(name, *sessions), "no daemon is running", "make paper")
    assert kestrel("halt", "--reason", "storm", *sessions).returncode == 0
    assert json.loads((tmp_path / "run" / "HALT").read_text())["reason"] == "storm"
    assert kestrel("resume", *sessions).returncode == 0
    assert not (tmp_path / "run" / "HALT").exists()


def test_a_kill_switch_file_that_cannot_be_handled_is_one_line(tmp_path: Path) -> None:
    """``halt`` where the folder is a file; ``resume`` where HALT is a folder, which also holds every start."""
    (tmp_path / "run").write_text("")
    sessions = ("--sessions", str(tmp_path / "sessions"))
    refused(kestrel("halt", *sessions), "cannot be written", "stop the daemons")
    os.unlink(tmp_path / "run")
    (tmp_path / "run" / "HALT").mkdir(parents=True)
    refused(kestrel("resume", *sessions), "cannot be removed", "by hand")


# --- strategies that fail while they trade ------------------------------------------------------------------------


FAILING = """
from strategies.base import BaseStrategy


class Failing(BaseStrategy):
    rows = 0

    def on_row(self, instrument, view):
        self.rows += 1
        if self.rows > 50:
            raise ValueError("row fifty-one")
        return ()
"""


def test_a_strategy_that_raises_is_stopped_and_named_while_others_go_on(
    market: tuple[Path, Path], tmp_path: Path
) -> None:
    """Beside ``ema_cross``: the failing one is quarantined, said in log, table and summary; the session replays."""
    (tmp_path / "failing.py").write_text(FAILING)
    bad = f"{{name: bad, path: '{tmp_path}/failing.py:Failing', model: none}}"
    both = f"[{bad}, {{name: good, kind: ema_cross, model: none}}]"
    done = play(tmp_path, market, "--set", f"strategies={both}")
    assert done.returncode == 0
    summary = last_json(done)
    assert summary["quarantined"] == {"bad": "ValueError: row fifty-one"}
    assert summary["orders"] > 0
    assert "strategy failed and was stopped" in done.stderr
    assert "Traceback" not in done.stderr
    assert replay_session(tmp_path, summary["session"])[1]["identical"] is True
