"""Files that a running session was started with: changed, touched, gone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from engine.runtime.files_read import FilesRead


@pytest.mark.fault("F11")
def test_a_file_that_is_not_what_was_read_is_named(tmp_path: Path) -> None:
    """Untouched, touched with the same content, changed in place, put back, replaced, gone."""
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text("risk: {}\n")
    files = FilesRead({str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths})
    assert files.changed() == []
    os.utime(paths[0], ns=(1, 1))
    assert files.changed() == []
    paths[0].write_text("risk: {a: 1}\n")
    assert files.changed() == files.changed() == [str(paths[0])]
    paths[0].write_text("risk: {}\n")
    assert files.changed() == []
    other = tmp_path / "other"
    other.write_text("risk: []\n")
    other.replace(paths[1])
    paths[0].unlink()
    assert files.changed() == [str(path) for path in paths]
