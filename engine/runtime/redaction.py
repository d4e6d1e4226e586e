"""Keeps secrets out of everything that is written: logs, session headers, dumps.

Owns what counts as a secret: by the name of a field, by the look of a value, and by being one of the literal secrets
that the configuration registered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
_SECRET_WORDS = frozenset(
    {
        "apikey", "auth", "authorization", "bearer", "cookie", "credential", "credentials", "jwt", "key", "keys",
        "passphrase", "passwd", "password", "pem", "pin", "private", "secret", "secrets", "signature", "token",
        "tokens",
    }
)  # fmt: skip
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAMES = r"api[_-]?key|access[_-]?key|private[_-]?key|secret|token|signature|passphrase|password|jwt|credentials?"
_VALUES = (
    re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"),  # a JSON Web Token
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(rf"(?i)(?<=[?&])[\w-]{{0,32}}(?:{_NAMES})=[^&\s\"']+"),
    re.compile(rf"(?i)\b[\w-]{{0,32}}(?:{_NAMES})[\"']?\s*[=:]\s*[\"']?[^\s\"',;&}}\]]{{6,}}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password@host
    re.compile(r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{43}=|[A-Za-z0-9+/]{86}==)(?!=)"),  # 32 or 64 bytes: an Ed25519 key
)
_MAY_HOLD_SECRET = re.compile(rf"(?i)-----BEGIN|eyJ|bearer|basic|@|[A-Za-z0-9+/]{{43}}|{_NAMES}")
_DEPTH_MAX = 8


def is_secret_name(name: str) -> bool:
    """True for ``api_key``, ``X-Auth-Token``, ``clientSecret``; not for ``keyboard`` or ``tokenizer``."""
    return any(word.lower() in _SECRET_WORDS for word in _WORDS.findall(name))


def _forms(text: str) -> set[str]:
    """``text`` as it stands in other texts: itself, escaped by ``repr`` (within either quotes) and by JSON, once and
    twice, as bytes, and in an address."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    forms = {text, text.replace("\n", "\\n"), escaped, escaped.replace("'", "\\'")}
    in_bytes = ascii(text.encode("utf-8", "surrogatepass"))[2:-1].replace("\\'", "'")
    forms |= {in_bytes, in_bytes.replace("'", "\\'")}
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        forms |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    forms |= {quote(text, safe, errors="surrogatepass") for safe in ("", "/")}
    forms.add(quote_plus(text, errors="surrogatepass"))
    return forms


class Redactor:
    """Replaces secrets by ``[redacted]``.  ``add`` registers literal ones (configuration does, once it has them)."""

    def __init__(self) -> None:
        self._literals: tuple[str, ...] = ()

    def add(self, secret: str) -> None:
        """In every form in which it may be written.  Strings under 6 characters are not registered: they would blank
        out ordinary words."""
        parts = {form for text in (secret, secret.strip()) if len(text) >= 6 for form in _forms(text)}
        known = parts | set(self._literals)
        self._literals = tuple(sorted(known, key=len, reverse=True))

    def text(self, text: str) -> str:
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, REDACTED)
        if _MAY_HOLD_SECRET.search(text):
            for pattern in _VALUES:
                text = pattern.sub(REDACTED, text)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """A copy of plain data with secrets replaced; anything that is not plain becomes its redacted ``str``."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if depth >= _DEPTH_MAX:
            return "[too deep]"
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.field(str(key), item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray | memoryview):
            return self.text(bytes(value).decode("utf-8", "replace"))
        try:
            return self.text(str(value))
        except Exception:  # whatever a foreign __str__ raises must not reach who wanted to log it
            return f"[unprintable {type(value).__name__}]"

    def leaves(self, value: Any) -> Any:
        """``value`` with every text in it redacted by its look, whatever the names around it.

        For data whose owner has hidden secrets by name already (the configuration): its shape must survive.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(key): self.leaves(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.leaves(item) for item in value]
        return value

    def field(self, name: str, value: Any, depth: int = 0) -> Any:
        """The value of a named field; a secret name hides it whole, unless there is nothing to hide."""
        if is_secret_name(name) and value not in (None, "", False, True):
            return REDACTED
        return self.value(value, depth)


redactor = Redactor()
"""The process's own: one secret must be unknown to every sink, so there is one list."""
