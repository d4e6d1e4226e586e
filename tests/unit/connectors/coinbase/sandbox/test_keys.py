"""Key files: mode, round trip, and errors that keep the secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.coinbase.sandbox.keys import load_key_file, make_key_file
from engine.errors import ConfigError


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_made_key_file_is_private_and_loads_again(tmp_path: Path, algorithm: str) -> None:
    """Mode bits of the file and equality of the public halves."""
    path = tmp_path / "deep" / "key.json"
    made = make_key_file(path, algorithm=algorithm)
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = load_key_file(path, can_trade=False)
    assert (loaded.name, loaded.can_trade) == (made.name, False)
    assert loaded.public_key == made.public_key
    assert [p.name for p in path.parent.iterdir()] == ["key.json"]


def test_escaped_line_breaks_and_the_field_id_are_accepted(tmp_path: Path) -> None:
    """The forms in which the venue's own downloads come."""
    path = tmp_path / "key.json"
    make_key_file(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"id": "k1", "privateKey": content["privateKey"].replace("\n", "\\n")}))
    assert load_key_file(path).name == "k1"


def test_an_unusable_key_file_is_one_line_without_its_content(tmp_path: Path) -> None:
    """The secret-looking text of a broken file is not in the error."""
    path = tmp_path / "key.json"
    for content in (b"", b"{}", b'{"name":"k","privateKey":"hunter2-secret"}', b'["hunter2-secret"]', b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            load_key_file(path)
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__suppress_context__
    with pytest.raises(ConfigError, match="cannot be read"):
        load_key_file(tmp_path / "absent.json")


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        make_key_file(tmp_path / "file" / "key.json")
