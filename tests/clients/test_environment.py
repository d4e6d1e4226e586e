"""The environment of the real clients: kept by its content, made whole or not at all, apart from ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.clients import environment


def test_it_holds_the_pinned_clients_and_nothing_of_ours(clients_python: Path) -> None:
    """Asked in its own process: websockets is older than ours, and no package of Kestrel can be imported."""
    code = "import ccxt, coinbase, oandapyV20, robin_stocks, websockets; print(websockets.__version__)\nimport engine"
    asked = subprocess.run([clients_python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert asked.stdout.startswith("13.")
    assert "No module named 'engine'" in asked.stderr


def test_another_list_is_another_folder(tmp_path: Path) -> None:
    """Two lists, two names; the same list, the same name."""
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("six==1.17.0\n")
    second.write_text("six==1.16.0\n")
    assert environment.folder(tmp_path, first) == environment.folder(tmp_path, first)
    assert environment.folder(tmp_path, first) != environment.folder(tmp_path, second)


def test_what_cannot_be_installed_leaves_nothing_and_says_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is nowhere, with an index that is nobody."""
    for name, value in (
        ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("PIP_RETRIES", "0"),
        ("PIP_NO_CACHE_DIR", "1"),
    ):
        monkeypatch.setenv(name, value)
    requirements = tmp_path / "clients.txt"
    requirements.write_text("kestrel-has-no-such-package==1\n")
    with pytest.raises(environment.NoClientsError) as caught:
        environment.python(tmp_path, requirements)
    assert "\n" not in str(caught.value)
    assert "make clients needs a package registry" in str(caught.value)
    assert not environment.folder(tmp_path, requirements).exists()
