"""The personal access token of an OANDA user: read from a file, never shown.

Owns that file's form: one line of text, as the venue's site shows it.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import ConfigError

MAX_BYTES = 4096


def read_token(path: str) -> str:
    """The personal access token of a file.  Raises ``ConfigError``, which never shows it."""
    if not path:
        raise ConfigError(
            "oanda has no key_file",
            expected="a file with a personal access token",
            do="put the token into a file of mode 600 and set venue.key_file: without one the venue tells nothing",
        )
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"key file {path} cannot be read: {error.strerror}", do="name another one") from None
    token = raw.strip()
    if not token or len(raw) > MAX_BYTES or not token.isascii() or any(each <= 32 or each > 126 for each in token):
        raise ConfigError(f"key file {path} holds no token", expected="one line: a personal access token") from None
    return token.decode("ascii")
