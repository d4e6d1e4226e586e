"""A stream that is down is a line of the log once it has lasted."""

from __future__ import annotations

from structlog.testing import CapturingLogger

from engine.events import FeedDown, FeedUp
from engine.runtime.stream_watch import DOWN_LOOKS, StreamWatch
from engine.venues import VenueStates


class Watched:
    def __init__(self) -> None:
        self.venues, self.log, self._watch = VenueStates(), CapturingLogger(), StreamWatch()

    def down(self, stream: str, why: str) -> None:
        self.venues.feed_down(FeedDown(20, 20, "coinbase", stream, why))

    def up(self, stream: str) -> None:
        self.venues.feed_up(FeedUp(21, 21, "coinbase", stream))

    def look(self, times: int) -> None:
        for _ in range(times):
            self._watch.look(self.venues, self.log)

    def said(self) -> list[tuple[str, str]]:
        """Level and stream of each line."""
        return [(call.method_name, call.kwargs["stream"]) for call in self.log.calls]


def test_an_interruption_of_a_moment_is_told_to_nobody_however_often_it_comes() -> None:
    """One look less than it takes, several times."""
    watched = Watched()
    for _ in range(3):
        watched.down("user", "reset by peer")
        watched.look(DOWN_LOOKS - 1)
        watched.up("user")
        watched.look(1)
    assert watched.said() == []


def test_what_lasts_is_told_once_for_each_stream_and_when_it_is_over() -> None:
    """Both streams of a venue, of which one comes back and is lost again."""
    watched = Watched()
    watched.down("market", "mute")
    watched.look(1)
    watched.down("user", "refused")
    watched.look(3 * DOWN_LOOKS)
    assert watched.said() == [("error", "market"), ("error", "user")]
    assert watched.log.calls[1].kwargs == {"venue": "coinbase", "stream": "user", "why": "refused"}
    watched.up("user")
    watched.look(2)
    assert watched.said()[2:] == [("warning", "user")]
    watched.down("user", "reset by peer")
    watched.look(DOWN_LOOKS)
    assert watched.said()[3:] == [("error", "user")]
