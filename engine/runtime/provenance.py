"""What decides in a session, by hash: our sources, the libraries, the processor.

Read once at start and written into the session's header, so that a replay can tell why it differs.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

SOURCE_PACKAGES = ("config", "connectors", "engine", "models", "risk", "strategies")
RUNTIME_LIBRARIES = (
    "msgspec",
    "numpy",
    "numba",
    "llvmlite",
    "onnxruntime",
    "onnxruntime-gpu",
    "uvloop",
    "websockets",
    "picows",
)
_FLOAT_FLAGS = (
    "sse4_1",
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
)
"""Processor features that change which kernels numba and ONNX Runtime pick, and with them the last bits of a result."""


def code_hash(root: Path) -> str:
    """sha256 over names and contents of every ``.py`` of our packages and ``run.py``, in order of their names."""
    files = [path for package in SOURCE_PACKAGES for path in (root / package).rglob("*.py")]
    files += [path for path in (root / "run.py",) if path.exists()]
    return hash_files(root, files)


def hash_files(root: Path, files: Iterable[Path]) -> str:
    """sha256 (hex) over names below ``root`` and contents, in order of the names."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.relative_to(root).as_posix()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def own_code(paths: Iterable[Path]) -> dict[str, str]:
    """sha256 of each file of the user's own, by path; empty for one that cannot be read, of which its loader tells."""
    found = {}
    for path in paths:
        try:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            found[str(path)] = ""
    return found


def git_commit(root: Path, *, apart_from: Path | None = None) -> str:
    """The commit of a checkout, with ``+`` when tracked files (but ``apart_from``) differ; empty without git."""
    paths = [".", f":(exclude){apart_from.relative_to(root)}"] if apart_from else []
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *paths)
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()


def library_versions() -> dict[str, str]:
    """Installed versions of what takes part in a decision; a library that is absent is left out."""
    versions: dict[str, str] = {}
    for name in RUNTIME_LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def python_version() -> str:
    return sys.version.split()[0]


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Model name, the float-relevant features, and a hash over all features (elsewhere than on Linux: name only)."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    flags = sorted(set(fields.get("flags", fields.get("features", "")).split()))
    return {
        "model": fields.get("model name", platform.processor() or platform.machine()),
        "machine": platform.machine(),
        "features": [flag for flag in _FLOAT_FLAGS if flag in flags],
        "features_sha256": hashlib.sha256(" ".join(flags).encode()).hexdigest(),
    }


def describe(root: Path) -> dict[str, Any]:
    """All of it, as the header stores it."""
    return {
        "code_hash": code_hash(root),
        "git_commit": git_commit(root),
        "libraries": library_versions(),
        "python": python_version(),
        "platform": platform.platform(),
        "processor": processor(),
    }
