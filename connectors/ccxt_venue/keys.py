"""Keys of an exchange out of a file, in the library's words.

Owns the forms that are read: the library's own names, and what exchanges hand out.  Values never reach a text of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine.errors import ConfigError

FIELDS: Final = ("apiKey", "secret", "password", "uid", "login", "privateKey", "walletAddress", "token")
_NAMES: Final = {
    "apiKey": ("apiKey", "api_key", "key", "name"),
    "secret": ("secret", "api_secret", "private_key", "privateKey"),
}
"""First one wins.  An exchange's own file says ``name`` and ``privateKey`` (Coinbase), or ``key``."""


class Credentials:
    """What opens an account.  ``repr`` and errors show its name only."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __repr__(self) -> str:
        return f"Credentials({self.name})"

    @property
    def name(self) -> str:
        """Names the key without giving anything of it away."""
        said = self._values.get("apiKey") or self._values.get("walletAddress") or ""
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def config(self) -> dict[str, str]:
        """For the library's constructor, and for nothing else."""
        return dict(self._values)

    def require(self, exchange: str, required: Mapping[str, object]) -> None:
        """Raises ``ConfigError`` that names what the exchange wants and the file lacks."""
        missing = [name for name, wanted in required.items() if wanted is True and not self._values.get(name)]
        if missing:
            raise ConfigError(f"the key file of {exchange} lacks {', '.join(sorted(missing))}", do="add it to the file")


def read_credentials(path: str | Path) -> Credentials:
    """Raises ``ConfigError`` for a file that is no JSON object of texts."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"key file {path}: {type(error).__name__}", expected="a JSON object") from None
    if not isinstance(content, dict):
        raise ConfigError(f"key file {path} is no JSON object", expected='{"apiKey": ..., "secret": ...}')
    plain = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, str) and value
    }
    found: dict[str, str] = {name: plain[name] for name in FIELDS if name in plain}
    for field, names in _NAMES.items():
        for name in names:
            if name in plain:
                found.setdefault(field, plain[name])
                break
    if "secret" in found and found.get("privateKey") == found["secret"]:
        del found["privateKey"]  # to the library that is the key of a wallet
    if not found.get("apiKey") and not found.get("walletAddress"):
        raise ConfigError(f"key file {path} names no key", expected='{"apiKey": ..., "secret": ...}')
    return Credentials(found)
