"""The build and configuration that somebody has approved, and the refusal of any other.

Owns the file (``session.approved``, written by ``config approve``) and the comparison.  What a session was started with
is in its header (``engine.runtime.session``), by the same hashes.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.durable import write_atomically
from engine.errors import ConfigError
from engine.runtime import provenance
from engine.runtime.session import config_digest, recorded_config, section_digests

FORMAT_VERSION = 1
_AGAIN = "start the approved one; or look at what changed, then: python run.py config approve, with the same options"


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """What would run: hashes of our sources, of the user's own strategies by path, of the configuration."""

    code_hash: str
    config_hash: str
    config_sections: dict[str, str]
    own_code: dict[str, str]
    libraries: dict[str, str]
    python: str


class Approval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file.  ``by`` is the user as the system knows it, ``at`` UTC."""

    format_version: int
    at: str
    by: str
    reason: str
    build: Build

    @property
    def said(self) -> str:
        """For a session's header."""
        return f"{self.at} by {self.by}" + (f": {self.reason}" if self.reason else "")

    def check(self, found: Build, path: Path) -> None:
        """Raises ``ConfigError`` that says in what ``found`` is not the approved one."""
        different = list(_differences(self.build, found))
        if different:
            raise ConfigError(
                f"this is not the build and configuration that {path} approves: {'; '.join(different)}",
                expected=f"what was approved {self.said}",
                do=_AGAIN,
            )


def build_of(config: Mapping[str, Any], code_root: Path, own_code: Sequence[Path]) -> Build:
    """``config`` is the redacted configuration as a session records it.  Raises ``ConfigError`` for a file of the
    user's own that cannot be read."""
    plain = recorded_config(config)
    own = provenance.own_code(own_code)
    for path, digest in own.items():
        if not digest:
            raise ConfigError(f"{path} cannot be read", expected="the Python file of a strategy")
    return Build(
        code_hash=provenance.code_hash(code_root),
        config_hash=config_digest(plain),
        config_sections=section_digests(plain),
        own_code=own,
        libraries=provenance.library_versions(),
        python=provenance.python_version(),
    )


def write_approval(path: Path, build: Build, reason: str, wall_ns: int) -> Approval:
    """Raises ``ConfigError`` when ``path`` cannot be written."""
    made = Approval(
        format_version=FORMAT_VERSION,
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ns // 1_000_000_000)),
        by=_user(),
        reason=reason,
        build=build,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    except OSError as error:
        raise ConfigError(
            f"the approval {path} cannot be written: {error.strerror}", do="correct session.approved"
        ) from error
    return made


def read_approval(path: Path) -> Approval:
    """Raises ``ConfigError`` for a file that is missing or is no approval: then nothing is approved."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the approval {path} cannot be read: {error.strerror}",
            expected="the file that session.approved names",
            do="write it: python run.py config approve, with the same options",
        ) from error
    try:
        made = msgspec.json.decode(data, type=Approval)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no approval: {error}", expected="a file of config approve", do=_AGAIN) from error
    if made.format_version != FORMAT_VERSION:
        raise ConfigError(f"{path} has format version {made.format_version}", expected=f"{FORMAT_VERSION}", do=_AGAIN)
    return made


def _differences(approved: Build, found: Build) -> list[str]:
    said = []
    if approved.code_hash != found.code_hash:
        said.append(f"code {found.code_hash[:12]}..., approved {approved.code_hash[:12]}...")
    if approved.config_hash != found.config_hash:
        said.append(f"configuration (in: {', '.join(_unlike(approved.config_sections, found.config_sections))})")
    for what, ours, theirs in (
        ("strategy files", approved.own_code, found.own_code),
        ("libraries", approved.libraries, found.libraries),
    ):
        if ours != theirs:
            said.append(f"{what} ({', '.join(_unlike(ours, theirs))})")
    if approved.python != found.python:
        said.append(f"Python {found.python}, approved {approved.python}")
    return said


def _unlike(approved: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [name for name in sorted({*approved, *found}) if approved.get(name) != found.get(name)]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {os.geteuid()}"
