"""How much the quality gate bears: plain numbers, part of the recorded configuration.

Owns defaults and their reasons.  ``docs/quality.md`` has the measurements on recorded markets that they rest on.
"""

from __future__ import annotations

import msgspec

from engine.errors import ConfigError

_MS_NS = 1_000_000


class Tolerances(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one gate.  Times are ns.  Raises ``ConfigError`` for values that contradict each other."""

    outlier_z: float = 30.0
    """A price change is an outlier beyond so many robust standard deviations (1.4826 x median |change|) ..."""
    outlier_bps: float = 25.0
    """... and beyond this share of the price.  Tick data is mostly still, so that the first alone means little."""
    confirm_ns: int = 60_000 * _MS_NS
    """Within which the next event near a suspect one confirms it."""
    confirm_run: int = 5
    """So many suspects in a row, near each other or not: the market moves, the last one is believed."""
    future_ns: int = 1_000 * _MS_NS
    """Ahead of the receive time, after the venue's clock offset."""
    stale_ns: int = 10_000 * _MS_NS
    """Behind the receive time, after the venue's clock offset."""
    late_ns: int = 1_000 * _MS_NS
    """Older than the newest accepted event of its stream."""
    clock_offset_ns_max: int = 5_000 * _MS_NS
    """Largest offset between the venue's clock and ours that is learned."""
    blind_ns: int = 5_000 * _MS_NS
    """After so long with nothing but refused times, equity and exits are shown the prices: a stop must not sleep
    because a clock was set."""
    volume_z: float = 1_000.0
    """A volume is a spike beyond so many robust standard deviations (IQR / 1.349) above the recent median ..."""
    volume_ratio: float = 1_000.0
    """... and no volume at all beyond so many times the largest of them: it is held back."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not 0 < value < 1e18:
                raise ConfigError(f"quality.{name} is {value}", expected="above 0", do="raise it to switch a check off")
        if self.late_ns < self.future_ns:
            # An event accepted as not yet future would make all right ones behind it late.
            raise ConfigError(
                f"quality: late {self.late_ns} ns is less than future {self.future_ns} ns",
                expected="late at least as long as future",
            )
