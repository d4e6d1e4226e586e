"""Files with names and passwords, and folders for tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.robin_stocks.login_file import check_folder, read_login
from engine.errors import ConfigError


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_login_is_read_and_never_shown(tmp_path: Path) -> None:
    """All members; the representation has none of them."""
    login = {"username": "somebody", "password": "words", "mfa_secret": "ABC", "account": "5QT1", "session_folder": "x"}
    made = read_login(written(tmp_path / "login.json", json.dumps(login)))
    assert (made.username, made.password, made.mfa_secret, made.account, made.session_folder) == tuple(login.values())
    assert not any(secret in repr(made) for secret in ("somebody", "words", "ABC"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"username":"a"}', '{"username":"a","password":""}', '{"username":"a","pass":"hidden"}']
)
def test_what_is_no_login_is_refused_without_being_quoted(tmp_path: Path, text: str) -> None:
    """Whatever is in it may be the password."""
    with pytest.raises(ConfigError) as refused:
        read_login(written(tmp_path / "login.json", text))
    assert "hidden" not in str(refused.value)


def test_a_file_that_others_can_read_or_that_is_not_there(tmp_path: Path) -> None:
    """Mode 644, and no file."""
    with pytest.raises(ConfigError, match="read by others"):
        read_login(written(tmp_path / "login.json", "{}", 0o644))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_login(tmp_path / "nowhere.json")


def test_a_folder_for_tokens_is_nobody_elses(tmp_path: Path) -> None:
    """Made with mode 700; open folders, open files and links are refused: the client unpickles what lies there."""
    folder = tmp_path / "tokens"
    check_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    other = written(folder / "robinhood.pickle", "", 0o644)
    with pytest.raises(ConfigError, match=r"robinhood\.pickle"):
        check_folder(folder)
    other.unlink()
    other.symlink_to(written(tmp_path / "elsewhere", "", 0o600))
    with pytest.raises(ConfigError, match=r"robinhood\.pickle"):
        check_folder(folder)
    other.unlink()
    folder.chmod(0o770)
    with pytest.raises(ConfigError, match="session folder"):
        check_folder(folder)
