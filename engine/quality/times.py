"""Whether the time of a market event can be believed, by the receive time and by the events before it.

Owns the venue's clock as the quality gate learns it, and the newest time of each stream.  Compiled with
``engine.quality.kernel``, which asks it.
"""

from __future__ import annotations

from engine.features.jit import kernel
from engine.features.layout import State
from engine.quality import layout as at
from engine.quality import verdicts as v

TIME_LIMIT = 4_000_000_000_000_000_000
"""Beyond any time, ns: keeps differences within 64 bits."""
CLOCK_WARM = 20.0
"""Events before the clock offset counts as known; until then only its bound holds."""
CLOCK_WINDOW_NS = 60e9
FUTURE_RUN = 8.0
"""Early events in a row after which the venue's clock has been set, rather than they being wrong."""
LATE_RUN = 32.0
"""The same for late ones, where venue time is all there is: one row of the year 2050 must not silence the rest."""


@kernel
def since_base(s: State, ts_ns: int) -> float:
    """Nanoseconds since the record's base time."""
    return float(ts_ns - int(s[at.BASE_S]) * 1_000_000_000)


@kernel
def offset_ns(s: State, stream: int) -> float:
    """Receive clock less venue clock, with the least delay seen: the minimum over this window and the one before."""
    least = min(s[stream + at.DELAY_MIN_NS], s[stream + at.DELAY_BEFORE_NS])
    return min(max(least, -s[at.OFFSET_MAX_NS]), s[at.OFFSET_MAX_NS])


@kernel
def learn_delay(s: State, stream: int, delay_ns: float, recv: float) -> None:
    """Take a delay into the running minimum."""
    if s[stream + at.CLOCK_SEEN] == 0.0:
        s[stream + at.DELAY_MIN_NS] = delay_ns
        s[stream + at.DELAY_BEFORE_NS] = delay_ns
        s[stream + at.CLOCK_END_NS] = recv + CLOCK_WINDOW_NS
    elif recv >= s[stream + at.CLOCK_END_NS]:
        s[stream + at.DELAY_BEFORE_NS] = s[stream + at.DELAY_MIN_NS]
        s[stream + at.DELAY_MIN_NS] = delay_ns
        s[stream + at.CLOCK_END_NS] = recv + CLOCK_WINDOW_NS
    elif delay_ns < s[stream + at.DELAY_MIN_NS]:
        s[stream + at.DELAY_MIN_NS] = delay_ns
    if s[stream + at.CLOCK_SEEN] < CLOCK_WARM:
        s[stream + at.CLOCK_SEEN] += 1.0


@kernel
def find_base(s: State, recv_ns: int) -> None:
    """Times are kept from the first receive time on."""
    if s[at.HAS_BASE] == 0.0:
        s[at.HAS_BASE] = 1.0
        s[at.BASE_S] = recv_ns // 1_000_000_000


@kernel
def time_issue(s: State, stream: int, ts_ns: int, recv_ns: int) -> int:
    """``LATE``, ``FUTURE``, ``STALE`` or 0.  Learns the clock offset; the newest time is the caller's to remember."""
    if not 0 <= recv_ns < TIME_LIMIT or ts_ns < 0:
        return v.STALE
    if ts_ns >= TIME_LIMIT:
        return v.FUTURE
    find_base(s, recv_ns)
    delay_ns = float(recv_ns - ts_ns)
    recv = since_base(s, recv_ns)
    if s[stream + at.HAS_NEWEST] != 0.0 and s[stream + at.NEWEST_NS] - since_base(s, ts_ns) > s[at.LATE_NS]:
        s[stream + at.LATE_RUN] += 1.0
        if delay_ns != 0.0 or s[stream + at.LATE_RUN] < LATE_RUN:
            return v.LATE
        s[stream + at.HAS_NEWEST] = 0.0
    s[stream + at.LATE_RUN] = 0.0
    bound_ns = s[at.OFFSET_MAX_NS]
    if s[stream + at.CLOCK_SEEN] < CLOCK_WARM:
        if delay_ns < -bound_ns:
            return v.FUTURE
        if delay_ns > bound_ns + s[at.STALE_NS]:
            return v.STALE
        learn_delay(s, stream, delay_ns, recv)
        return 0
    offset = offset_ns(s, stream)
    if delay_ns < offset - s[at.FUTURE_NS]:
        s[stream + at.FUTURE_RUN] += 1.0
        if delay_ns < -bound_ns or s[stream + at.FUTURE_RUN] < FUTURE_RUN:
            return v.FUTURE
    s[stream + at.FUTURE_RUN] = 0.0
    learn_delay(s, stream, delay_ns, recv)
    if delay_ns > offset + s[at.STALE_NS]:
        return v.STALE
    return 0


@kernel
def judge_time(s: State, stream: int, ts_ns: int, recv_ns: int) -> int:
    """0, or verdict and issue of a time that is refused: dropped; suspect once nothing else came for ``BLIND_NS``."""
    issue = time_issue(s, stream, ts_ns, recv_ns)
    if issue == 0:
        s[stream + at.DOUBTED] = 0.0
        return 0
    if not 0 <= recv_ns < TIME_LIMIT:
        return v.DROPPED + 4 * issue
    find_base(s, recv_ns)
    recv = since_base(s, recv_ns)
    if s[stream + at.DOUBTED] == 0.0:
        s[stream + at.DOUBTED] = 1.0
        s[stream + at.DOUBTED_SINCE_NS] = recv
    verdict = v.SUSPECT if recv - s[stream + at.DOUBTED_SINCE_NS] >= s[at.BLIND_NS] else v.DROPPED
    return verdict + 4 * issue


@kernel
def remember_time(s: State, stream: int, ts_ns: int) -> float:
    """An event of that time was accepted or held back; returns its time since base."""
    ts = since_base(s, ts_ns)
    if s[stream + at.HAS_NEWEST] == 0.0 or ts > s[stream + at.NEWEST_NS]:
        s[stream + at.NEWEST_NS] = ts
        s[stream + at.HAS_NEWEST] = 1.0
    return ts
