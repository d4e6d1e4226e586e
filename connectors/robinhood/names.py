"""Our client order ids as the UUIDs that the venue takes: pure.

Owns the mapping.  An id of a session (``k20261120T140307-1a2b-17``) is written into the UUID and can be read from it
again, so that an order that shows itself at the venue names the session that sent it (``engine.order_ids``), also after
its record was lost.  Any other id becomes a UUID by its hash, which only whoever knows the id can tell.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_ID: Final = re.compile(r"k(\d{8})T(\d{6})-([0-9a-f]{4})-(0|[1-9]\d*)", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TAG_BITS, _NUMBER_BITS, _MARK_BITS = 24, 35, 16
_VERSION: Final = 0x4
_VARIANT: Final = 0b10


def venue_name(client_order_id: str) -> str:
    """The UUID for an id; always the same.  One that is a UUID already stays as it is."""
    if _UUID.fullmatch(client_order_id):
        return client_order_id
    parts = _ID.fullmatch(client_order_id)
    if parts is not None and int(parts[4]).bit_length() <= _NUMBER_BITS:
        stamp = int(parts[1] + parts[2])  # 14 digits, 47 bits
        payload = (((stamp << _MARK_BITS) | int(parts[3], 16)) << _NUMBER_BITS) | int(parts[4])
        return _as_uuid((payload << _TAG_BITS) | _tag(payload))
    digest = hashlib.sha256(b"kestrel order " + client_order_id.encode("utf-8", "backslashreplace")).digest()
    return _as_uuid(int.from_bytes(digest[:16], "big") >> 6)


def client_name(uuid: str) -> str:
    """The id of a session that a UUID was made of; empty for any other UUID."""
    if _UUID.fullmatch(uuid) is None:
        return ""
    bits = int(uuid.replace("-", ""), 16)
    high, version, middle = bits >> 80, (bits >> 76) & 0xF, (bits >> 64) & 0xFFF
    variant, low = (bits >> 62) & 0b11, bits & ((1 << 62) - 1)
    if version != _VERSION or variant != _VARIANT:
        return ""
    value = (((high << 12) | middle) << 62) | low
    payload, tag = value >> _TAG_BITS, value & ((1 << _TAG_BITS) - 1)
    if tag != _tag(payload):
        return ""
    number = payload & ((1 << _NUMBER_BITS) - 1)
    mark = (payload >> _NUMBER_BITS) & ((1 << _MARK_BITS) - 1)
    stamp = f"{payload >> (_NUMBER_BITS + _MARK_BITS):014d}"
    made = f"k{stamp[:8]}T{stamp[8:]}-{mark:04x}-{number}"
    return made if _ID.fullmatch(made) else ""


def _tag(payload: int) -> int:
    digest = hashlib.sha256(b"kestrel" + payload.to_bytes(13, "big")).digest()
    return int.from_bytes(digest[: _TAG_BITS // 8], "big")


def _as_uuid(value: int) -> str:
    """122 bits with the marks of version 4, the one whose bits mean nothing to the venue."""
    high, middle, low = value >> 74, (value >> 62) & 0xFFF, value & ((1 << 62) - 1)
    bits = (high << 80) | (_VERSION << 76) | (middle << 64) | (_VARIANT << 62) | low
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
