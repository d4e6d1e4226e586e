"""The file with a customer's name and password: read, checked, never shown.

Owns its form, JSON ``{"username": "...", "password": "...", "mfa_secret": "...", "account": "...", "session_folder":
"..."}``, the last three optional.  No log, error or representation holds the secrets.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from engine.errors import ConfigError

_EXPECTED = 'JSON with "username" and "password", optional "mfa_secret", "account" and "session_folder"'


class LoginFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """``mfa_secret``: the base32 text of an authenticator app.  ``account``: which of the customer's accounts trades,
    the first one when empty.  ``session_folder``: where the client may keep its tokens, so that a restart asks for no
    approval; empty: nowhere, and nothing secret is on disk but this file."""

    username: str
    password: str
    mfa_secret: str = ""
    account: str = ""
    session_folder: str = ""

    def __repr__(self) -> str:
        return f"LoginFile(username=<hidden>, password=<hidden>, account={self.account!r})"


def read_login(path: Path) -> LoginFile:
    """Raises ``ConfigError`` for a file that is none, or that others can read."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"key file {path} can be read by others", expected="mode 600", do=f"chmod 600 {path}")
        login = msgspec.json.decode(path.read_bytes(), type=LoginFile)
    except OSError as error:
        raise ConfigError(f"key file {path} cannot be read: {error.strerror}", expected=_EXPECTED) from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # What the library says may quote what it could not read, and that may be the password.
        raise ConfigError(f"key file {path} is no login", expected=_EXPECTED) from None
    if not login.username or not login.password:
        raise ConfigError(f"key file {path} has an empty username or password", expected=_EXPECTED)
    return login


def check_folder(path: Path) -> None:
    """Whether the client may keep its session there: it unpickles the file that it finds, so nobody else may put one.

    The folder is made when it is not there.  Raises ``ConfigError``.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in (path, *path.glob("*.pickle")):
            found = each.lstat()
            if found.st_uid != os.getuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or each.is_symlink():
                raise ConfigError(
                    f"session folder {path}: {each.name} belongs to others or can be used by them",
                    expected="a folder of your own, mode 700, with files of mode 600",
                    do=f"chmod -R go= {path}",
                )
    except OSError as error:
        raise ConfigError(f"session folder {path} cannot be used: {error.strerror}") from None
