"""API key files: made for a new sandbox, read for one that is given keys.

Owns the file ``{"api_key": "rh-api-...", "private_key": BASE64}`` with mode 0600.  The private key is written there and
nowhere else: no log, error or representation holds it.
"""

from __future__ import annotations

import base64
import os
import uuid
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.robinhood.auth import PLAY_KEY, Key
from connectors.robinhood.sandbox.auth import ApiKey
from engine.errors import ConfigError


def make_key_file(path: Path) -> ApiKey:
    """Make a key, write its file (replaced in one step) and return the public half.

    Raises ``ConfigError`` when the folder cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    name = f"{PLAY_KEY}{uuid.uuid4().hex[:12]}"
    seed = base64.b64encode(private.private_bytes_raw()).decode()
    content = msgspec.json.encode({"api_key": name, "private_key": seed})
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(
            f"key file {path} cannot be written: {error.strerror}", do="choose a path in a writable folder"
        ) from None
    return ApiKey(name, private.public_key())


def load_key_file(path: Path) -> ApiKey:
    """Register an existing key file.  Raises ``ConfigError`` in one line that never quotes the file's content."""
    key = Key.from_file(path)
    return ApiKey(key.api_key, key.public_key)
