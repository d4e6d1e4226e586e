"""Refusals in the venue's shape.

Owns ``{"type":"validation_error","errors":[{"detail":"...","attr":"limit_order_config.limit_price"}]}`` and which
statuses are of which type.  The venue's own wording is not published beyond examples: what stands here is ours.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
NON_FIELD = "non_field_errors"


class ApiError(Exception):
    """A request that is answered with ``status``; ``attr`` is the path of the field, or None."""

    def __init__(self, status: int, detail: str, attr: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.attr = attr

    def body(self) -> Json:
        kind = "server_error" if self.status >= 500 else "validation_error" if self.status == 400 else "client_error"
        return {"type": kind, "errors": [{"detail": self.detail, "attr": self.attr}]}


def invalid(attr: str | None, detail: str) -> ApiError:
    """400, of one field."""
    return ApiError(400, detail, attr)
