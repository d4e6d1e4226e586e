"""Answers that are not a success, on their way out of wherever they are noticed.

Owns their shapes.  Which request gets which is decided by the callers.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """HTTP ``status`` with ``errorMessage``, where there is one ``errorCode``, and further members of the body."""

    def __init__(self, status: int, message: str, code: str = "", **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.members = members

    def body(self) -> Json:
        made: Json = dict(self.members)
        if self.code:
            made["errorCode"] = self.code
        made["errorMessage"] = str(self)
        return made


class Rejection(Exception):  # noqa: N818 - the venue's word
    """A request that is understood and refused: ``reason`` of the list of reject reasons, HTTP ``status``."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


def invalid(field: str) -> ApiError:
    """A parameter that cannot be read: no transaction is made of it."""
    return ApiError(400, f"Invalid value specified for '{field[:60]}'", "oanda::rest::core::InvalidParameterException")


def sentence(reason: str) -> str:
    """A text for people, made of a reason: ``UNITS_PRECISION_EXCEEDED`` is ``Units precision exceeded``."""
    return reason.replace("_", " ").capitalize()
