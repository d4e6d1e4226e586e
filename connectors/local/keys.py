"""Where the keys of local venues lie; and those that are a shared secret: made for a new sandbox, read from a file.

Owns the file ``{"apiKey": "...", "secret": "..."}`` with mode 0600.  The secret is written there and nowhere else: no
log, error or representation holds it.
"""

from __future__ import annotations

import atexit
import base64
import os
import secrets
import shutil
import tempfile
from pathlib import Path

import msgspec

from connectors.private_files import write_private
from engine.errors import ConfigError

PLAY_KEY = "kestrel-sandbox-"
"""How keys begin that this file makes: they are known at a glance for what no real venue has given."""
_EXPECTED = 'JSON with "apiKey" and "secret"'


class SecretKey(msgspec.Struct, frozen=True):
    """A key and its secret, as text."""

    apiKey: str  # noqa: N815 - as ccxt's settings spell it
    secret: str

    def __repr__(self) -> str:
        return f"SecretKey(apiKey={self.apiKey!r}, secret=<hidden>)"


def key_place(named: Path | None, file_name: str) -> Path:
    """The file that was named for a key, or else ``file_name`` in a folder that is gone when this process ends."""
    if named is not None:
        return named
    folder = Path(tempfile.mkdtemp(prefix="kestrel-sandbox-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / file_name


def make_key() -> SecretKey:
    """A new one; the secret is base64 of 64 random bytes, as venues that decode it want it."""
    return SecretKey(PLAY_KEY + secrets.token_hex(24), base64.b64encode(secrets.token_bytes(64)).decode())


def key_of(path: Path) -> SecretKey:
    """The key of a file, or a new one in a file that only its owner reads.  Raises ``ConfigError``."""
    try:
        if path.exists():
            return _read(path)
        key = make_key()
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(key))
    except OSError as error:
        raise ConfigError(f"key file {path} cannot be used: {error.strerror}", do="name another one") from None
    return key


def write_key_file(path: Path, content: bytes) -> None:
    """A new key's file, or another one in its place.  Raises ``ConfigError`` when the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, content)
    except OSError as error:
        raise ConfigError(
            f"key file {path} cannot be written: {error.strerror}", do="choose a path in a writable folder"
        ) from None


def _read(path: Path) -> SecretKey:
    try:
        key = msgspec.json.decode(path.read_bytes(), type=SecretKey)
    except msgspec.MsgspecError:
        # What the library says may quote what it could not read, and that is the secret.
        raise ConfigError(f"key file {path} is not a key", expected=_EXPECTED) from None
    if not all(text and text.isascii() and text.isprintable() and " " not in text for text in (key.apiKey, key.secret)):
        raise ConfigError(f"key file {path} holds an empty or unprintable key", expected=_EXPECTED)
    return key
