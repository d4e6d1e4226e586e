"""Answers that are no success, on their way out of wherever they are noticed.  Owns their shapes."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """HTTP ``status`` with a JSON object, as the venue words its refusals."""

    def __init__(self, status: int, body: Json, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def detail(status: int, text: str) -> ApiError:
    return ApiError(status, {"detail": text})


def not_found() -> ApiError:
    return detail(404, "Not found.")


def field(name: str, text: str) -> ApiError:
    """One field of a form is wrong."""
    return ApiError(400, {name: [text]})


def general(text: str) -> ApiError:
    """The form as a whole is wrong."""
    return ApiError(400, {"non_field_errors": [text]})
