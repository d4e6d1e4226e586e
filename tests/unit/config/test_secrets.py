"""Where secrets are found, and which places are refused."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from config.load import load
from config.schema import Settings
from config.secrets import check_private, find_secret, read_secrets
from engine.errors import ConfigError


def secrets_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "secrets.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def settings_with(**secrets: str) -> Settings:
    return load(env={}, overrides={f"secrets.{key}": value for key, value in secrets.items()})


def test_environment_goes_over_the_secrets_file(tmp_path: Path) -> None:
    """The same name in both places, then in the file alone."""
    settings = settings_with(file=str(secrets_file(tmp_path, "venue_key: from-file")))
    env = {"KESTREL_SECRET_VENUE_KEY": "from-env"}
    assert find_secret("venue_key", settings, env).get_secret_value() == "from-env"
    assert find_secret("venue_key", settings, {}).get_secret_value() == "from-file"


@pytest.mark.fault("F15")
def test_a_secret_does_not_show_in_repr_or_errors(tmp_path: Path) -> None:
    """Looks for the value in every text form, and in the error about a broken file that holds it."""
    found = find_secret("a", settings_with(), {"KESTREL_SECRET_A": "hush"})
    assert "hush" not in f"{found} {found!r}"
    for text in ("a: [hush", "a: b: hush", '{"a": "hush"', "a: {b: hush}"):
        with pytest.raises(ConfigError) as caught:
            read_secrets(secrets_file(tmp_path, text))
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """Any mode but the owner's read and write is an error that says how to mend it."""
    path = secrets_file(tmp_path, "a: b", mode)
    with pytest.raises(ConfigError, match=f"mode {mode:03o}; expected mode 600; run chmod 600"):
        read_secrets(path)


def test_what_is_no_private_file_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder."""
    with pytest.raises(ConfigError, match="cannot be read"):
        check_private(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no regular file"):
        check_private(tmp_path)


def test_a_missing_secret_names_the_places_that_were_searched(tmp_path: Path) -> None:
    """Nothing has it: the error lists the variable and the file."""
    path = secrets_file(tmp_path, "other: x")
    with pytest.raises(ConfigError, match=rf"'venue_key'.*KESTREL_SECRET_VENUE_KEY or {path}"):
        find_secret("venue_key", settings_with(file=str(path)), {})


def test_the_keyring_is_asked_last_and_its_absence_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the keyring's place answers; one that raises, and none at all, give one line without the value."""

    def get_password(service: str, name: str) -> str | None:
        if name == "locked":
            raise RuntimeError("hush")
        return "from-keyring" if (service, name) == ("kestrel", "venue_key") else None

    settings = settings_with(keyring="kestrel")
    monkeypatch.setitem(sys.modules, "keyring", SimpleNamespace(get_password=get_password))
    assert find_secret("venue_key", settings, {}).get_secret_value() == "from-keyring"
    with pytest.raises(ConfigError, match="RuntimeError") as caught:
        find_secret("locked", settings, {})
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError, match="not found"):
        find_secret("other", settings, {})
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ImportError):
        importlib.import_module("keyring")
    with pytest.raises(ConfigError, match="not installed"):
        find_secret("venue_key", settings, {})
