"""Key files of local venues."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.local.keys import PLAY_KEY, SecretKey, key_of, key_place
from engine.errors import ConfigError


def test_a_new_key_is_its_owners_alone_and_the_same_again(tmp_path: Path) -> None:
    """Made once, read from then on; its secret is in no representation."""
    path = tmp_path / "keys" / "key.json"
    made = key_of(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key_of(path) == made
    assert made.apiKey.startswith(PLAY_KEY)
    assert made.secret not in repr(made)


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"apiKey":"a"}', '{"apiKey":"","secret":"s3cret"}', '{"apiKey":"a","secret":"s3 cret"}', "[1]"],
)
def test_a_file_that_holds_no_key_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    """Which never quotes it."""
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        key_of(path)
    assert "s3" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "keys").write_text("")
    with pytest.raises(ConfigError):
        key_of(tmp_path / "keys" / "key.json")


def test_a_key_says_nothing_of_its_secret() -> None:
    """In a log it is hidden."""
    assert repr(SecretKey("name", "s3cret")) == "SecretKey(apiKey='name', secret=<hidden>)"


def test_a_key_that_nobody_named_a_file_for_is_gone_with_its_process() -> None:
    code = (
        "import sys; from pathlib import Path; from connectors.local.keys import key_of, key_place;"
        "file = key_place(None, 'key.json'); key_of(file); print(file)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    file = Path(told.stdout.strip())
    assert file.name == "key.json"
    assert not file.parent.exists()


def test_a_file_that_was_named_stays_where_it_is(tmp_path: Path) -> None:
    assert key_place(tmp_path / "mine.json", "key.json") == tmp_path / "mine.json"
