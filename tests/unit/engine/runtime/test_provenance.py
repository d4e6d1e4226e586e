"""Hashes of what decides."""

from __future__ import annotations

import subprocess
from pathlib import Path

from engine.runtime import provenance


def checkout(root: Path) -> Path:
    for package in provenance.SOURCE_PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text("")
    (root / "engine" / "core.py").write_text("x = 1\n")
    (root / "run.py").write_text("main = 1\n")
    return root


def test_the_code_hash_follows_content_and_names_but_not_other_files(tmp_path: Path) -> None:
    """Changes one thing at a time in a made-up checkout."""
    root = checkout(tmp_path / "a")
    same = checkout(tmp_path / "b")
    first = provenance.code_hash(root)
    assert first == provenance.code_hash(same)
    (root / "engine" / "notes.txt").write_text("no code")
    (root / "tests").mkdir()
    (root / "tests" / "test_x.py").write_text("")
    assert provenance.code_hash(root) == first
    (root / "engine" / "core.py").write_text("x = 2\n")
    assert provenance.code_hash(root) != first
    (root / "engine" / "core.py").rename(root / "engine" / "other.py")
    (root / "engine" / "other.py").write_text("x = 1\n")
    assert provenance.code_hash(root) != first


def test_the_commit_is_marked_when_tracked_files_differ(tmp_path: Path) -> None:
    """A repository with one commit, then a change; and a folder without git."""
    root = checkout(tmp_path / "a")
    assert provenance.git_commit(tmp_path / "none") == ""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)
    commit = provenance.git_commit(root)
    assert len(commit) == 40
    (root / "run.py").write_text("main = 2\n")
    assert provenance.git_commit(root) == commit + "+"
    assert provenance.git_commit(root, apart_from=root / "run.py") == commit
    (root / "engine" / "core.py").write_text("x = 2\n")
    assert provenance.git_commit(root, apart_from=root / "run.py") == commit + "+"


def test_the_processor_is_described_from_cpuinfo(tmp_path: Path) -> None:
    """A short cpuinfo; the hash covers all flags, the list those that matter for floats."""
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 fma aes\n\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    found = provenance.processor(file)
    assert found["model"] == "Some CPU"
    assert found["features"] == ["avx2", "fma"]
    file.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 fma\n")
    assert provenance.processor(file)["features_sha256"] != found["features_sha256"]
    assert provenance.processor(tmp_path / "none")["features"] == []


def test_libraries_that_decide_are_listed_with_versions() -> None:
    """msgspec and numpy are always there; what is not installed is left out."""
    versions = provenance.library_versions()
    assert {"msgspec", "numpy"} <= set(versions)
    assert set(versions) <= set(provenance.RUNTIME_LIBRARIES)
