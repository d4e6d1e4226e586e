"""Where a row lies in the day, in the week and in the trading session, by the time of its end (UTC)."""

from __future__ import annotations

import math
from typing import Final

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State

DAY_S = 86_400.0
_TURN = 2.0 * math.pi


@kernel
def _day_angle(s: State) -> float:
    return _TURN * ((s[at.ROW_S] % DAY_S + s[at.ROW_NS] * 1e-9) / DAY_S)


@kernel
def _week_angle(s: State) -> float:
    """1970-01-01 was a Thursday; Monday is 0."""
    return _TURN * ((s[at.ROW_S] // DAY_S + 3.0) % 7.0) / 7.0


@kernel
def day_sine(s: State) -> float:
    return math.sin(_day_angle(s))


@kernel
def day_cosine(s: State) -> float:
    return math.cos(_day_angle(s))


@kernel
def week_sine(s: State) -> float:
    return math.sin(_week_angle(s))


@kernel
def week_cosine(s: State) -> float:
    return math.cos(_week_angle(s))


@kernel
def _until(s: State, seconds: float) -> float:
    """Seconds from the row to that time, exact to a nanosecond."""
    return (seconds - s[at.ROW_S]) - s[at.ROW_NS] * 1e-9


@kernel
def to_close(s: State) -> float:
    """NaN where no calendar reaches."""
    return _until(s, s[at.SESSION_CLOSE_S])


@kernel
def to_open(s: State) -> float:
    left = _until(s, s[at.SESSION_OPEN_S])
    return NAN if math.isnan(left) else max(left, 0.0)


@kernel
def is_open(_s: State, wait: float) -> float:
    if wait > 0.0:
        return 0.0
    return 1.0 if wait == 0.0 else NAN


@kernel
def progress(s: State, wait: float, left: float) -> float:
    if wait > 0.0:
        return 0.0
    return 1.0 - left / (s[at.SESSION_CLOSE_S] - s[at.SESSION_OPEN_S])


@kernel
def session_sine(_s: State, share: float) -> float:
    return math.sin(_TURN * share)


@kernel
def session_cosine(_s: State, share: float) -> float:
    return math.cos(_TURN * share)


for _name, _function, _what in (
    ("day_sin", day_sine, "sin of the time of day: 2 pi * seconds since 00:00 UTC / 86400"),
    ("day_cos", day_cosine, "cos of the time of day: 2 pi * seconds since 00:00 UTC / 86400"),
    ("week_sin", week_sine, "sin of the day of the week: 2 pi * day / 7, Monday (UTC) = 0"),
    ("week_cos", week_cosine, "cos of the day of the week: 2 pi * day / 7, Monday (UTC) = 0"),
):
    register(
        Column(
            name=_name,
            function=_function,
            formula=f"{_what}, of the row's end",
            unit="ratio",
            inputs=("price",),
            warm_rows=1,
            bounds=(-1.0, 1.0),
            candle=True,
        )
    )
register(
    Column(
        name="to_close_s",
        function=to_close,
        formula="seconds to the close of the trading session that the row lies in, or that comes next",
        unit="s",
        inputs=("price", "sessions"),
        warm_rows=1,
        bounds=(0.0, math.inf),
        candle=True,
        source="calendars of exchange_calendars",
    )
)
register(
    Column(
        name="to_open_s",
        function=to_open,
        formula="seconds to the next opening; 0 within a session",
        unit="s",
        inputs=("price", "sessions"),
        warm_rows=1,
        bounds=(0.0, math.inf),
        candle=True,
        source="calendars of exchange_calendars",
    )
)
register(
    Column(
        name="session_open",
        function=is_open,
        uses=("to_open_s",),
        formula="1 from the opening of a trading session to its close, both included, else 0",
        unit="label",
        inputs=("price", "sessions"),
        warm_rows=1,
        bounds=(0.0, 1.0),
        candle=True,
        source="calendars of exchange_calendars",
    )
)
register(
    Column(
        name="session_progress",
        function=progress,
        uses=("to_open_s", "to_close_s"),
        formula="share of the trading session that has passed; 0 outside of it",
        unit="ratio",
        inputs=("price", "sessions"),
        warm_rows=1,
        bounds=(0.0, 1.0),
        candle=True,
    )
)
for _name, _of_progress in (("session_sin", session_sine), ("session_cos", session_cosine)):
    register(
        Column(
            name=_name,
            function=_of_progress,
            uses=("session_progress",),
            formula=f"{_name[-3:]}(2 pi * session_progress): opening and close lie side by side",
            unit="ratio",
            inputs=("price", "sessions"),
            warm_rows=1,
            bounds=(-1.0, 1.0),
            candle=True,
        )
    )

CALENDAR: Final = (
    "day_sin",
    "day_cos",
    "week_sin",
    "week_cos",
    "session_open",
    "session_progress",
    "session_sin",
    "session_cos",
    "to_open_s",
    "to_close_s",
)
