"""API key files: made for a new sandbox, read for one that is given keys.

Owns the file ``{"api_key": "rh-api-...", "private_key": BASE64}`` with mode 0600.  The private key is written there and
nowhere else: no log, error or representation holds it.
"""

from __future__ import annotations

import base64
import uuid
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.local.keys import write_key_file
from connectors.robinhood.auth import PLAY_KEY, Key
from connectors.robinhood.sandbox.auth import ApiKey


def make_key_file(path: Path) -> ApiKey:
    """Make a key, write its file (replaced in one step) and return the public half.

    Raises ``ConfigError`` when the folder cannot be written.
    """
    private = Ed25519PrivateKey.generate()
    name = f"{PLAY_KEY}{uuid.uuid4().hex[:12]}"
    seed = base64.b64encode(private.private_bytes_raw()).decode()
    content = msgspec.json.encode({"api_key": name, "private_key": seed})
    write_key_file(path, content)
    return ApiKey(name, private.public_key())


def load_key_file(path: Path) -> ApiKey:
    """Register an existing key file.  Raises ``ConfigError`` in one line that never quotes the file's content."""
    key = Key.from_file(path)
    return ApiKey(key.api_key, key.public_key)
