"""The personal access token of an OANDA user: read from a file, never shown.

Owns that file's form: one line of text, as the venue's site shows it.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import ConfigError

MAX_BYTES = 4096
_TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
"""What may stand behind ``Bearer`` (RFC 6750, 2.1): the key file of another venue does not, and must not be sent."""


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
    if len(raw) > MAX_BYTES or _TOKEN.fullmatch(token) is None:
        raise ConfigError(f"key file {path} holds no token", expected="one line: a personal access token") from None
    return token.decode("ascii")
