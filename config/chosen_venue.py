"""The venue of a session: which one its feed means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from config.assembly import ConfiguredAssembly
from config.exchange import is_matched_here
from config.preflight import seen_in_training
from config.recording import Recording
from config.schema import Settings
from config.venue_registry import kind_of
from config.venues import AccountTrading, Before, Child, MarketOnPaper
from connectors.replay.feed import Speed
from engine.events import Observation
from engine.ports import Clock, Publish, Venue


class ChosenVenue:
    """Makes it when the daemon asks for it.

    ``files``, ``speed`` and ``published`` are of recorded files; ``exchange(folder)`` gives the built-in exchange.
    ``accepts_others``: orders that another daemon has on the account are no reason to refuse it.  ``live``: orders go
    to the venue of the settings, whatever its feed.
    """

    def __init__(
        self,
        settings: Settings,
        assembly: ConfiguredAssembly,
        exchange: Callable[[Path], Child],
        *,
        files: Sequence[Path],
        speed: Speed,
        published: Sequence[Observation],
        accepts_others: bool,
        live: bool = False,
    ) -> None:
        self._settings = settings
        self._assembly = assembly
        self._exchange = exchange
        self._files = files
        self._speed = speed
        self._published = published
        self._accepts_others = accepts_others
        self._live = live

    def __call__(
        self,
        publish: Publish,
        clock: Clock,
        lag_ns: Callable[[], int],
        id_prefix: str,
        folder: Path,
        say: Callable[[str], None],
        left: Before | None,
        identify: Callable[[str], None] | None,
    ) -> Venue:
        """The parameters are those of ``engine.runtime.parts.Parts.venue``."""
        settings, history = self._settings, self._assembly.history
        if self._files:
            in_sample = seen_in_training([model.bundle.manifest for model in self._assembly.models], self._files)
            return Recording(
                settings, self._files, self._speed, publish, clock, say, id_prefix, in_sample, self._published
            )
        if not self._live and is_matched_here(settings):
            exchange = None if settings.venue.feed == "live" else self._exchange(folder)
            kind = kind_of(settings)
            return MarketOnPaper(kind, settings, publish, clock, lag_ns, {}, id_prefix, history, say, exchange)
        return AccountTrading(
            kind_of(settings),
            settings,
            self._exchange(folder),
            publish,
            clock,
            lag_ns,
            say,
            history,
            left,
            identify,
            # An account that is made with the session has no others.
            session="" if identify is None or self._accepts_others else folder.name,
        )
