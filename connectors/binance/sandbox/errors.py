"""Answers that are not a success: the venue's codes and texts.

Owns their shapes.  Which request gets which is decided by the callers.  Source: Binance spot API, "Error codes" and
"Filters".
"""

from __future__ import annotations

from typing import Any

from connectors.local.records import Refused

Json = dict[str, Any]


class ApiError(Exception):
    """HTTP ``status`` with ``{"code":-1121,"msg":"Invalid symbol."}``; ``data`` and ``headers`` where there are."""

    def __init__(
        self,
        code: int,
        message: str,
        status: int = 400,
        *,
        headers: dict[str, str] | None = None,
        data: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.headers = headers or {}
        self.data = data

    def body(self) -> Json:
        made: Json = {"code": self.code, "msg": str(self)}
        return made if self.data is None else {**made, "data": self.data}


def missing(name: str) -> ApiError:
    return ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str = "^[a-zA-Z0-9-_.]{1,36}$") -> ApiError:
    return ApiError(-1100, f"Illegal characters found in parameter '{name[:40]}'; legal range is '{legal}'.")


def not_needed(name: str) -> ApiError:
    return ApiError(-1106, f"Parameter '{name}' sent when not required.")


_REFUSALS: dict[str, tuple[int, str]] = {
    "tick_px": (-1013, "Filter failure: PRICE_FILTER"),
    "bad_px": (-1013, "Filter failure: PRICE_FILTER"),
    "lot_qty": (-1013, "Filter failure: LOT_SIZE"),
    "bad_qty": (-1013, "Filter failure: LOT_SIZE"),
    "min_qty": (-1013, "Filter failure: LOT_SIZE"),
    "max_qty": (-1013, "Filter failure: LOT_SIZE"),
    "min_notional": (-1013, "Filter failure: NOTIONAL"),
    "too_many": (-1013, "Filter failure: MAX_NUM_ORDERS"),
    "halted": (-1013, "Market is closed."),
    "funds": (-2010, "Account has insufficient balance for requested action."),
    "post_only": (-2010, "Order would immediately match and take."),
    "stop_side": (-2010, "Stop price would trigger immediately."),
}


def refusal(why: Refused) -> ApiError:
    """The venue's word for what the exchange refused."""
    code, text = _REFUSALS.get(why.reason, (-2010, "Order was rejected."))
    return ApiError(code, text)


def unknown_order() -> ApiError:
    return ApiError(-2011, "Unknown order sent.")


def no_such_order() -> ApiError:
    return ApiError(-2013, "Order does not exist.")


def duplicate_order() -> ApiError:
    return ApiError(-2010, "Duplicate order sent.")


def invalid_symbol() -> ApiError:
    return ApiError(-1121, "Invalid symbol.")
