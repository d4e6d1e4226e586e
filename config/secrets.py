"""Secrets: where they may lie, and the refusal of places where others can read them.

Owns the look-up by name, in this order: the environment (``KESTREL_SECRET_<NAME>``), the secrets file (mode 600), the
system keyring.  A value only ever leaves as a ``SecretStr``, whose ``repr`` and ``str`` are stars; no
error here contains one.
"""

from __future__ import annotations

import importlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from config.layers import read_mapping
from config.schema import Settings
from engine.errors import ConfigError

ENV_PREFIX: Final = "KESTREL_SECRET_"


def find_secret(name: str, settings: Settings, env: Mapping[str, str] | None = None) -> SecretStr:
    """The secret called ``name`` (lower case, such as ``coinbase_api_secret``).

    Raises ``ConfigError`` when no configured place has it, or when a place may not be trusted.
    """
    variable = ENV_PREFIX + name.upper()
    value = (os.environ if env is None else env).get(variable)
    if value:
        return SecretStr(value)
    places = [f"the variable {variable}"]
    if settings.secrets.file is not None:
        places.append(f"{settings.secrets.file}")
        found = read_secrets(settings.secrets.file).get(name)
        if found is not None:
            return found
    if settings.secrets.keyring is not None:
        places.append(f"the keyring service {settings.secrets.keyring!r}")
        stored = _from_keyring(settings.secrets.keyring, name)
        if stored is not None:
            return stored
    raise ConfigError(
        f"secret {name!r} was not found",
        expected=f"it in {' or '.join(places)}",
        do="set it there; never in a configuration file",
    )


def read_secrets(path: Path) -> dict[str, SecretStr]:
    """All secrets of a file with mode 600.  Raises ``ConfigError``."""
    check_private(path)
    secrets = {}
    for name, value in read_mapping(path, quiet=True).items():
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{path}: the value of {name!r} is no text", expected="text", do="put it in quotes")
        secrets[str(name)] = SecretStr(value)
    return secrets


def check_private(path: Path) -> None:
    """Raise ``ConfigError`` unless ``path`` is a file that only its owner, who is this user, can read."""
    try:
        seen = path.stat()
    except OSError as error:
        raise ConfigError(
            f"secret file {path} cannot be read: {error.strerror}", expected="a file with mode 600", do="check the path"
        ) from error
    if not stat.S_ISREG(seen.st_mode):
        raise ConfigError(f"secret file {path} is no regular file", expected="a file with mode 600", do="name a file")
    mode = stat.S_IMODE(seen.st_mode)
    if mode & 0o177:
        raise ConfigError(f"secret file {path} has mode {mode:03o}", expected="mode 600", do=f"run chmod 600 {path}")
    if seen.st_uid != os.geteuid():
        raise ConfigError(
            f"secret file {path} belongs to another user", expected="your own", do="copy it for this user"
        )


def _from_keyring(service: str, name: str) -> SecretStr | None:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise ConfigError(
            "secrets.keyring is set but the package keyring is not installed",
            expected="the package, or no secrets.keyring",
            do="run pip install keyring",
        ) from error
    try:
        value = keyring.get_password(service, name)
    except Exception as error:  # back ends raise what they like; their text could hold what they were asked for
        raise ConfigError(
            f"the system keyring refused {name!r} ({type(error).__name__})", do="unlock it, or use another place"
        ) from None
    return SecretStr(value) if value else None
