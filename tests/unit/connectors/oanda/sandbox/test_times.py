"""Times on the wire and New York's calendar, against the standard library's own."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.times import NS, as_unix, at, new_york_offset_ns, next_roll_ns, parse_time_ns


def test_nanoseconds_survive_both_forms() -> None:
    """Text and back, RFC 3339 with any number of digits and unix seconds."""
    assert at(parse_time_ns("2026-11-20T14:03:07.123456789Z", "x")) == "2026-11-20T14:03:07.123456789Z"
    assert parse_time_ns("1795183387.123456789", "x") == 1_795_183_387_123_456_789
    assert parse_time_ns("2026-11-20T15:03:07.5+01:00", "x") == 1_795_183_387_500_000_000
    body = {"time": "2026-11-20T14:03:07.123456789Z", "rows": [{"gtdTime": "2026-11-20T14:03:07Z"}], "alias": "T"}
    assert as_unix(body) == {
        "time": "1795183387.123456789",
        "rows": [{"gtdTime": "1795183387.000000000"}],
        "alias": "T",
    }


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "2026-11-20", "-5", "1e9", "2026-11-20T14:03:07"])
def test_what_is_no_time_names_the_parameter(text: str) -> None:
    """A time without a zone is none."""
    with pytest.raises(ApiError, match="'from'"):
        parse_time_ns(text, "from")


def test_daylight_saving_is_what_the_time_zone_files_say() -> None:
    """Two thousand drawn times of thirty years."""
    zone = ZoneInfo("America/New_York")
    draw = random.Random(3)
    for _ in range(2_000):
        ts_s = draw.randrange(1_199_145_600, 2_145_916_800)
        offset = datetime.fromtimestamp(ts_s, UTC).astimezone(zone).utcoffset()
        assert offset is not None
        assert new_york_offset_ns(ts_s * NS) == int(offset.total_seconds()) * NS
        roll = datetime.fromtimestamp(next_roll_ns(ts_s * NS) // NS, UTC).astimezone(zone)
        assert (roll.hour, roll.minute, roll.second) == (17, 0, 0)
        assert 0 < next_roll_ns(ts_s * NS) - ts_s * NS <= 25 * 3_600 * NS
