"""The command ``sandbox oanda``: a process that serves until its parent is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.oanda.sandbox.commands import sandbox_oanda
from engine.errors import ConfigError

ROOT = Path(__file__).resolve().parents[5]
RUN = """
import typer
from connectors.oanda.sandbox.commands import sandbox_oanda
app = typer.Typer()
app.command()(sandbox_oanda)
app()
"""


@pytest.mark.parametrize("name", ["--key-file", "--token-file"])
def test_it_serves_with_the_options_that_it_was_given(name: str, tmp_path: Path) -> None:
    """TLS and a token file of its own, under the name that all sandboxes have for it or the one that the venue has; the
    line says where, and the end of stdin ends it."""
    token_file, tls = tmp_path / "token.txt", tmp_path / "tls"
    options = ["--history", "0", "--instrument", "EUR_USD", "--balance", "500", "--hedging", "--hours", "venue"]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *options, "--limits", name, str(token_file), "--tls", str(tls)],
        cwd=ROOT,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rest"].startswith("https://")
    assert told["key_file"] == str(token_file)
    assert Path(told["authority"]).exists()


@pytest.mark.parametrize("balance", ["much", "-5", "NaN"])
def test_a_balance_that_is_none_is_refused(balance: str, tmp_path: Path) -> None:
    """Before anything is served."""
    with pytest.raises(ConfigError):
        sandbox_oanda(balance=balance, history=0, token_file=tmp_path / "token.txt")
