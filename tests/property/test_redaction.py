"""No way of writing a secret down gets it past the redactor."""

from __future__ import annotations

import json
import logging
import pprint
import traceback
import urllib.parse
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from engine.errors import VenueError
from engine.runtime.redaction import REDACTED, Redactor

SECRETS = st.text(
    alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x2FF, categories=("L", "N", "P", "S")),
    min_size=8,
    max_size=40,
)
TEXT = st.text(max_size=20)


def _raised(text: str) -> str:
    try:
        raise ValueError(text)
    except ValueError as error:
        return "".join(traceback.format_exception(error))


WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "repr": repr,
    "json": lambda text: json.dumps({"body": text}),
    "json as it is": lambda text: msgspec.json.encode([text]).decode(),
    "json in json": lambda text: json.dumps(json.dumps({"body": text})),
    "a dump": lambda text: pprint.pformat({"nested": [text]}),
    "an address": lambda text: "https://host/path?x=" + urllib.parse.quote(text, safe=""),
    "a form": lambda text: urllib.parse.urlencode({"x": text}),
    "an error": lambda text: str(VenueError(f"refused: {text}")),
    "a trace": _raised,
    "a log line": lambda text: logging.LogRecord("n", 20, "p", 1, "said %r", (text,), None).getMessage(),
    "bytes": lambda text: repr(text.encode()),
}
"""Ways in which a text takes another form before it is written."""


@pytest.mark.fault("F15")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(secret=SECRETS, before=TEXT, after=TEXT, how=st.sampled_from(sorted(WRITTEN)))
def test_a_registered_secret_is_nowhere_in_what_is_written(secret: str, before: str, after: str, how: str) -> None:
    """Within any text, in each of the forms above: neither it nor that form of it is left."""
    assume(secret.strip() == secret and secret not in REDACTED)
    redactor = Redactor()
    redactor.add(secret)
    written = WRITTEN[how](f"{before} {secret} {after}")
    found = redactor.text(written)
    assert secret not in found
    assert REDACTED in found, written


@pytest.mark.fault("F15")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    secret=SECRETS,
    where=st.recursive(
        st.sampled_from(["text", "bytes", "key", "object"]),
        lambda inner: st.tuples(st.sampled_from(["list", "tuple", "dict", "set"]), inner),
        max_leaves=6,
    ),
)
def test_a_registered_secret_is_nowhere_in_nested_data(secret: str, where: Any) -> None:
    """As a value, as bytes, as a key, in what an object says of itself, at any depth."""
    assume(secret.strip() == secret and secret not in REDACTED)
    redactor = Redactor()
    redactor.add(secret)
    assert secret not in json.dumps(redactor.value(_hidden(secret, where)), ensure_ascii=False)


def _hidden(secret: str, where: Any) -> Any:
    if isinstance(where, tuple):
        inner = _hidden(secret, where[1])
        if where[0] == "set":
            return frozenset([str(inner)])
        return {"list": lambda: [1, inner], "tuple": lambda: (inner, 2), "dict": lambda: {"plain": inner}}[where[0]]()
    if where == "key":
        return {f"a {secret} z": 1}
    if where == "object":
        return VenueError(f"said {secret}")
    return f"x{secret}y".encode() if where == "bytes" else f"x{secret}y"
