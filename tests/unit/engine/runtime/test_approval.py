"""Only the approved build and configuration: what is compared, and what is said of anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import ConfigError
from engine.runtime.approval import Approval, Build, build_of, read_approval, write_approval
from engine.runtime.session import Session
from tests.unit.engine.runtime.test_provenance import checkout

CONFIG: dict[str, Any] = {"risk": {"max_order_notional": "100"}, "venue": {"feed": "sandbox"}}
WALL_NS = 1_800_000_000_000_000_000


def build(root: Path, config: dict[str, Any] = CONFIG) -> Build:
    return build_of(config, root, [root / "mine.py"])


def made(folder: Path) -> tuple[Path, Path]:
    """A checkout with a strategy of the user's, and the file that approves it."""
    root = checkout(folder / "checkout")
    (root / "mine.py").write_text("buy = 1\n")
    path = folder / "approved" / "pair.json"
    write_approval(path, build(root), "reviewed", WALL_NS)
    return root, path


@pytest.mark.fault("F16")
def test_what_was_approved_is_the_pair_that_a_session_records(tmp_path: Path) -> None:
    """Written and read back; the hashes are those of a session's header, and nothing is refused."""
    root, path = made(tmp_path)
    approval = read_approval(path)
    approval.check(build(root), path)
    assert approval.said.startswith("2027-01-15T08:00:00Z by ")
    assert approval.said.endswith(": reviewed")
    session = Session.create(
        tmp_path / "sessions", mode="paper", config=CONFIG, wall_ns=1, code_root=root, approved=approval.said
    )
    header = Session.open(session.path).header
    session.close()
    assert (approval.build.code_hash, approval.build.config_hash) == (header.code_hash, header.config_hash)
    assert header.approved == approval.said


@pytest.mark.fault("F16")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "engine" / "core.py").write_text("x = 2\n"), r"approves: code [0-9a-f]{12}\.\.\., appr"),
        (lambda root: (root / "risk" / "new.py").write_text(""), "approves: code "),
        (lambda root: (root / "run.py").unlink(), "approves: code "),
        (lambda root: (root / "mine.py").write_text("buy = 2\n"), r"approves: strategy files \(.*mine\.py\); exp"),
    ],
    ids=["changed", "added", "missing", "strategy"],
)
def test_another_build_is_refused_and_named(change: Any, said: str, tmp_path: Path) -> None:
    """One thing at a time, as a deployment that was cut short leaves it."""
    root, path = made(tmp_path)
    change(root)
    with pytest.raises(ConfigError, match=said) as caught:
        read_approval(path).check(build(root), path)
    assert "\n" not in str(caught.value)
    assert "config approve" in str(caught.value)


@pytest.mark.fault("F16")
def test_another_configuration_or_library_is_refused_and_named(tmp_path: Path) -> None:
    """A limit that differs, a section that is new; then a library and Python of another version."""
    root, path = made(tmp_path)
    approval = read_approval(path)
    wider = {**CONFIG, "risk": {"max_order_notional": "1000"}, "logs": {"level": "debug"}}
    with pytest.raises(ConfigError, match=r"approves: configuration \(in: logs, risk\); expected"):
        approval.check(build(root, wider), path)
    found = build(root)
    other = msgspec.structs.replace(found, libraries={**found.libraries, "numpy": "0.1"}, python="2.7")
    with pytest.raises(ConfigError, match=r"approves: libraries \(numpy\); Python 2\.7, approved 3"):
        approval.check(other, path)


@pytest.mark.fault("F16")
@pytest.mark.parametrize("text", [None, "", "{}", '{"format_version": 1}', "not json"])
def test_without_an_approval_that_can_be_read_nothing_is_approved(text: str | None, tmp_path: Path) -> None:
    """No file, an empty one, others that are none: one line each."""
    path = tmp_path / "pair.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="config approve") as caught:
        read_approval(path)
    assert "\n" not in str(caught.value)


@pytest.mark.fault("F16")
def test_an_approval_of_another_format_or_with_more_in_it_is_not_believed(tmp_path: Path) -> None:
    """A later version, and a field that this release does not know."""
    _, path = made(tmp_path)
    approval = msgspec.structs.replace(read_approval(path), format_version=2)
    path.write_bytes(msgspec.json.encode(approval))
    with pytest.raises(ConfigError, match="format version 2"):
        read_approval(path)
    content = {**msgspec.to_builtins(msgspec.structs.replace(approval, format_version=1)), "but_not": "risk"}
    path.write_bytes(msgspec.json.encode(content))
    with pytest.raises(ConfigError, match="but_not"):
        read_approval(path)
    assert isinstance(msgspec.convert({k: v for k, v in content.items() if k != "but_not"}, Approval), Approval)


def test_an_approval_that_cannot_be_written_or_made_is_one_line(tmp_path: Path) -> None:
    """A file lies where the folder should be; a strategy's file is gone."""
    root, _ = made(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_approval(tmp_path / "file" / "pair.json", build(root), "", WALL_NS)
    (root / "mine.py").unlink()
    with pytest.raises(ConfigError, match=r"mine\.py cannot be read"):
        build(root)
