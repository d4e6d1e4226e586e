"""Candles as requests ask for them: granularity, components, count and range, alignment.

Owns the parameters of the candle endpoints and the shape of their answers.  The store is ``candles``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from connectors.oanda.sandbox.candles import Candle, merged
from connectors.oanda.sandbox.errors import ApiError, Json, invalid
from connectors.oanda.sandbox.market import Market
from connectors.oanda.sandbox.times import DAY_NS, HOUR_NS, MINUTE_NS, NS, at, new_york_offset_ns, parse_time_ns

MOST = 5_000
_UNITS = {"S": NS, "M": MINUTE_NS, "H": HOUR_NS}
GRANULARITIES = {
    name: int(name[1:]) * _UNITS[name[0]]
    for name in (
        "S5", "S10", "S15", "S30", "M1", "M2", "M4", "M5", "M10", "M15", "M30",
        "H1", "H2", "H3", "H4", "H6", "H8", "H12",
    )
} | {"D": DAY_NS, "W": 7 * DAY_NS, "M": 31 * DAY_NS}  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NEVER_NS = 1 << 62


class CandleQuery(msgspec.Struct, frozen=True):
    """What of which candles.  ``alignment_hour`` and ``week_start`` (0 Monday) are of the zone of ``offset_ns``."""

    granularity: str
    components: str
    count: int | None
    from_ns: int | None
    to_ns: int | None
    smooth: bool
    include_first: bool
    alignment_hour: int
    week_start: int
    offset_ns: Callable[[int], int]


def parse_query(params: Mapping[str, str]) -> CandleQuery:
    """Raises ``ApiError`` 400."""
    granularity = params.get("granularity", "S5")
    if granularity not in GRANULARITIES:
        raise invalid("granularity")
    components = params.get("price", "M")
    if not components or not set(components) <= set("MBA"):
        raise invalid("price")
    from_ns = parse_time_ns(params["from"], "from") if "from" in params else None
    to_ns = parse_time_ns(params["to"], "to") if "to" in params else None
    count = _integer(params, "count", 1, MOST)
    if count is not None and from_ns is not None and to_ns is not None:
        raise ApiError(400, "'count' cannot be specified when both 'to' and 'from' are set")
    if from_ns is not None and to_ns is not None:
        if to_ns < from_ns:
            raise invalid("to")
        if (to_ns - from_ns) // GRANULARITIES[granularity] > MOST:
            raise ApiError(400, f"Maximum value for 'count' exceeded: a request is answered with {MOST} candles")
    week = params.get("weeklyAlignment", "Friday")
    if week not in _WEEKDAYS:
        raise invalid("weeklyAlignment")
    hour = _integer(params, "dailyAlignment", 0, 23)
    return CandleQuery(
        granularity,
        components,
        count,
        from_ns,
        to_ns,
        _flag(params, "smooth", default=False),
        _flag(params, "includeFirst", default=True),
        17 if hour is None else hour,
        _WEEKDAYS.index(week),
        _zone(params.get("alignmentTimezone", "America/New_York")),
    )


def candles(market: Market, query: CandleQuery, now_ns: int) -> Json:
    """Answer of the candle endpoints: oldest first, the last one incomplete when it still runs."""
    step_ns = GRANULARITIES[query.granularity]
    start_of = partial(_start_ns, query, step_ns)
    count = query.count if query.count is not None else 500
    ranged = query.from_ns is not None and query.to_ns is not None
    to_ns = _NEVER_NS if query.to_ns is None else query.to_ns
    # Counted back from the end, weekends have to be jumped: more is looked at than is asked for.
    back_ns = 2 * count * step_ns + 7 * DAY_NS
    from_ns = min(now_ns, to_ns) - back_ns if query.from_ns is None else start_of(query.from_ns)
    base = list(market.candles.between(step_ns if query.granularity != "M" else DAY_NS, from_ns, to_ns))
    found = list(merged(base, [start_of(candle.start_ns) for candle in base]))
    if query.from_ns is not None and not query.include_first:
        found = [candle for candle in found if candle.start_ns > query.from_ns]
    if not ranged:
        found = found[:count] if query.from_ns is not None else found[-count:]
    if query.smooth:
        for before, candle in pairwise(found):
            candle.bid[0], candle.ask[0] = before.bid[3], before.ask[3]
    digits = market.rules.display_precision
    made = [_json(candle, query.components, digits, complete=_ends_ns(query, candle) <= now_ns) for candle in found]
    return {"instrument": market.rules.name, "granularity": query.granularity, "candles": made}


def _json(candle: Candle, components: str, digits: int, *, complete: bool) -> Json:
    made: Json = {"complete": complete, "volume": candle.volume, "time": at(candle.start_ns)}
    if "M" in components:
        made["mid"] = _ohlc([(bid + ask) // 2 for bid, ask in zip(candle.bid, candle.ask, strict=True)], digits)
    if "B" in components:
        made["bid"] = _ohlc(candle.bid, digits)
    if "A" in components:
        made["ask"] = _ohlc(candle.ask, digits)
    return made


def _ohlc(ticks: list[int], digits: int) -> dict[str, str]:
    """Prices of whole ticks as text; integers all the way, thousands of them are asked for at once."""
    unit = 10**digits
    texts = [f"{px // unit}.{px % unit:0{digits}d}" if digits else str(px) for px in ticks]
    return dict(zip("ohlc", texts, strict=True))


# --- alignment ------------------------------------------------------------------------------------------------------


def _start_ns(query: CandleQuery, step_ns: int, ts_ns: int) -> int:
    """Start of the candle that holds ``ts_ns``."""
    if step_ns < 2 * HOUR_NS:
        return ts_ns - ts_ns % step_ns
    offset_ns = query.offset_ns(ts_ns)
    shift_ns = query.alignment_hour * HOUR_NS
    local_ns = ts_ns + offset_ns - shift_ns
    if step_ns <= DAY_NS:
        return local_ns - local_ns % step_ns + shift_ns - offset_ns
    day = datetime.fromtimestamp(local_ns // NS, UTC).replace(hour=0, minute=0, second=0)
    if query.granularity == "W":
        day -= timedelta(days=(day.weekday() - query.week_start) % 7)
    else:  # the first of a month is the day that begins on the evening before
        day = (day + timedelta(days=1)).replace(day=1) - timedelta(days=1)
    start_ns = int(day.timestamp()) * NS + shift_ns
    return start_ns - query.offset_ns(start_ns - offset_ns)


def _ends_ns(query: CandleQuery, candle: Candle) -> int:
    if query.granularity == "M":
        return _start_ns(query, GRANULARITIES["M"], candle.start_ns + 32 * DAY_NS)
    return candle.start_ns + GRANULARITIES[query.granularity]


def _zone(name: str) -> Callable[[int], int]:
    if name == "America/New_York":
        return new_york_offset_ns
    if name in {"UTC", "Etc/UTC", "GMT"}:
        return lambda ts_ns: 0 * ts_ns
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid("alignmentTimezone") from None

    def offset_ns(ts_ns: int) -> int:
        offset = datetime.fromtimestamp(ts_ns // NS, zone).utcoffset() or timedelta(0)
        return int(offset.total_seconds()) * NS

    return offset_ns


def _integer(params: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 9 or int(text) < low:
        raise invalid(name)
    if int(text) > high:
        raise ApiError(400, f"Maximum value for '{name}' exceeded")
    return int(text)


def _flag(params: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = params.get(name)
    if text is None:
        return default
    if text.lower() not in {"true", "false"}:
        raise invalid(name)
    return text.lower() == "true"
