"""A private key is in no error, trace or dump, however its file is damaged and wherever its text is pasted."""

from __future__ import annotations

import base64
import hashlib
import json
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.layers import all_keys
from config.load import explain, load
from connectors.coinbase.auth import Key
from connectors.coinbase.cancel_only import open_account
from connectors.coinbase.sandbox.keys import load_key_file, make_key_file
from engine.errors import KestrelError

KEYS = sorted(all_keys())
RAW = hashlib.sha512(b"a key").digest()
SHOWN_MAX = 8
"""A run of so many characters of a key is no accident."""


def made(folder: Path, algorithm: str) -> str:
    path = folder / "made.json"
    make_key_file(path, algorithm=algorithm)
    return path.read_text()


@pytest.fixture(scope="module", params=["ES256", "EdDSA"])
def key_text(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("key"), request.param)


def secret_of(key_text: str) -> str:
    pem: str = json.loads(key_text)["privateKey"]
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def shows(text: str, secret: str) -> bool:
    plain = text.replace("\\n", "").replace("\n", "")
    return any(secret[at : at + SHOWN_MAX] in plain for at in range(len(secret) - SHOWN_MAX + 1))


def told_by(call: Callable[[], object]) -> str:
    """What it gives, in words; or the trace of its error, which is one line and a known one."""
    try:
        found = call()
    except KestrelError as error:
        said = str(error)
        trace = "".join(traceback.format_exception(error)) + repr(error)
    else:
        return f"{found!r} {found}"
    assert "\n" not in said
    return trace


READERS: Mapping[str, Callable[[Path], object]] = {
    "connector": Key.from_file,
    "exchange": load_key_file,
    "watchdog": lambda path: open_account({"rest_url": "http://127.0.0.1:9", "key_file": str(path), "timeout_s": 1.0}),
}


@pytest.mark.fault("F15")
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    at=st.floats(0, 1),
    length=st.integers(0, 60),
    instead=st.sampled_from(["", "x", '"', "}", "\\", "\n", "-----BEGIN", "\x00", "é", ": 3,"]),
    reader=st.sampled_from(sorted(READERS)),
)
def test_a_damaged_key_file_is_one_line_without_the_key(
    at: float, length: int, instead: str, reader: str, key_text: str, tmp_path: Path
) -> None:
    """A piece cut out and something put in its place, anywhere; read by all that read keys."""
    start = int(at * len(key_text))
    path = tmp_path / "key.json"
    path.write_text(key_text[:start] + instead + key_text[start + length :])
    path.chmod(0o600)
    secret = secret_of(key_text)
    said = told_by(lambda: READERS[reader](path))
    assert not shows(said, secret)


@pytest.mark.fault("F15")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    key=st.sampled_from(KEYS),
    how=st.sampled_from(["text", "file", "list", "map", "lines", "seed", "pair"]),
    given_by=st.booleans(),
)
def test_a_key_pasted_into_any_setting_is_not_repeated(key: str, how: str, given_by: bool, key_text: str) -> None:
    """Its file's content, its text or its parts, as an override or a variable: refused without it, or blotted out in
    what is recorded and shown."""
    pem = json.loads(key_text)["privateKey"]
    value: Any = {
        "text": pem,
        "file": key_text,
        "list": [pem],
        "map": {"privateKey": pem},
        "lines": pem.replace("\n", "\\n"),
        # As the venue gives Ed25519 keys: base64 of 32 or 64 bytes.
        "seed": base64.b64encode(RAW[:32]).decode(),
        "pair": base64.b64encode(RAW).decode(),
    }[how]
    secret = value if how in ("seed", "pair") else secret_of(key_text)
    variable = {"KESTREL_" + key.upper().replace(".", "__"): value if isinstance(value, str) else json.dumps(value)}

    def start() -> str:
        found = load(env=variable) if given_by else load(env={}, overrides={key: value})
        return json.dumps(found.redacted()) + json.dumps([row._asdict() for row in explain(found)])

    assert not shows(told_by(start), secret)
