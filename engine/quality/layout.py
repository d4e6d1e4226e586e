"""The flat float64 record that holds all that the quality gate knows of one instrument.

Owns slot numbers.  What is written, and when, is ``engine.quality.kernel``.  Parts, in order: tolerances, the last
accepted values, one block for each stream (quotes, trades, candles), recent volumes, recent trade ids, counts of all
time and of the last hours.  Times are nanoseconds since the whole second ``BASE_S``: exact for a hundred days, to 128
ns over decades.
"""

from __future__ import annotations

from engine.quality.verdicts import ISSUES

# --- tolerances, fixed at construction ------------------------------------------------------------------------------
PX_FLOOR = 0  # prices must be greater; 0, or minus LIMIT where the instrument allows negative prices
HAS_SIZES = 1  # 1: a quote's quantities must be positive and are part of what makes it a repeat
TICK_PX = 2  # a change of that size is never an outlier
OUTLIER_Z = 3  # robust standard deviations
OUTLIER_FRACTION = 4  # of the price: no smaller change is an outlier
CONFIRM_NS = 5  # within which the next event near a suspect one confirms it
CONFIRM_RUN = 6  # suspects in a row of which the last is believed
FUTURE_NS = 7
STALE_NS = 8
LATE_NS = 9
OFFSET_MAX_NS = 10
VOLUME_Z = 11  # robust standard deviations above the median
VOLUME_RATIO = 12  # times the largest recent volume beyond which it is held back
BLIND_NS = 13  # of times refused in a row, after which prices are shown to exits

# --- what is shared by the streams ------------------------------------------------------------------------------------
HAS_BASE = 16
BASE_S = 17
BID_PX = 18  # the last accepted quote; HAS_PX of its stream says whether there is one
BID_QTY = 19
ASK_PX = 20
ASK_QTY = 21
BAR_INTERVAL_NS = 22  # of the candles seen last; the stream starts anew with another one
BAR_CLOSE = 23
BAR_VOLUME = 24
ID_NEWEST = 25  # greatest trade key so far
ID_POS = 26
ID_COUNT = 27
NEXT_INTERVAL_NS = 28  # of the candle being handed in
NEXT_VOLUME = 29  # the same
REFERENCE_PX = 30  # what another venue says the price of the event being handed in is; NaN when nobody says
HELD_NS = 31  # venue time of the quote that is held back; NaN for best prices of a book: told again they are news

# --- one block a stream -----------------------------------------------------------------------------------------------
WINDOW = 64
"""Price changes, and volumes, that the robust scales are of."""
HAS_NEWEST = 0
NEWEST_NS = 1  # venue time of the newest accepted event
CLOCK_SEEN = 2  # events that the clock offset was learned from, as far as they matter
DELAY_MIN_NS = 3  # least receive time - venue time in this window of time, and in the one before
DELAY_BEFORE_NS = 4
CLOCK_END_NS = 5  # receive time at which this window ends
FUTURE_RUN = 6
LATE_RUN = 7
DOUBTED = 8  # 1 while time after time is refused
DOUBTED_SINCE_NS = 9  # receive time of the first of them
HAS_PX = 10
LAST_PX = 11  # mid, price or close of the last accepted event
PENDING = 12  # suspects in a row; 0 when none is waiting
PENDING_PX = 13
PENDING_NS = 14
CHANGES = 15  # a sorted window, see ``kernel.push``
STREAM_SLOTS = CHANGES + 2 + 2 * WINDOW

HELD_QUOTE = 32  # the quote that is held back, in the order of BID_PX to ASK_QTY; PENDING says whether there is one

QUOTES = 36
TRADES = QUOTES + STREAM_SLOTS
BARS = TRADES + STREAM_SLOTS

# --- recent volumes: a run counter, then a sorted window --------------------------------------------------------------
VOLUME_RUN = 0
VOLUMES = 1
_VOLUME_SLOTS = 3 + 2 * WINDOW
TRADE_VOLUME = BARS + STREAM_SLOTS
BAR_VOLUMES = TRADE_VOLUME + _VOLUME_SLOTS

# --- recent trade ids -------------------------------------------------------------------------------------------------
ID_KEPT = 128
IDS = BAR_VOLUMES + _VOLUME_SLOTS

# --- counts: three verdicts, then one for each issue ------------------------------------------------------------------
COUNT_VERDICT = 0
COUNT_ISSUE = 3
COUNT_SLOTS = COUNT_ISSUE + len(ISSUES)
TOTAL = IDS + ID_KEPT

HOURS = 48
"""Hours of receive time that are counted one by one; the last 47 are whole."""
HOUR_NUMBER = 0  # hours since 1970, plus 1 so that an unused bucket is none
HOUR_COUNTS = 1
HOUR_SLOTS = HOUR_COUNTS + COUNT_SLOTS
BUCKETS = TOTAL + COUNT_SLOTS

SLOTS = BUCKETS + HOURS * HOUR_SLOTS
