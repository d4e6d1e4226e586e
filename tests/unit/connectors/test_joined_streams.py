"""Connections that are one stream together."""

from __future__ import annotations

from typing import Any

from connectors.joined_streams import JoinedStreams
from engine.events import FeedDown, FeedUp, Quote


def up(at: int = 1) -> FeedUp:
    return FeedUp(at, at, "v", "market")


def down(why: str) -> FeedDown:
    return FeedDown(1, 1, "v", "market", why)


def test_up_when_all_are_and_down_once_when_one_is_not() -> None:
    """Two connections: what is told of the whole, and whose loss it was."""
    told: list[Any] = []
    lost: list[int] = []
    joined = JoinedStreams(told.append, 2, lost.append)
    first, second = joined.publish_of(0), joined.publish_of(1)
    first(up())
    assert told == []
    second(up(2))
    assert (told, joined.is_up) == ([up(2)], True)
    second(down("reset"))
    second(down("refused"))
    first(down("reset too"))
    assert (told[1:], lost, joined.is_up) == ([down("reset")], [1], False)
    first(up(3))
    second(up(4))
    assert told[2:] == [up(4)]
    first(down("again"))
    assert (told[3:], lost) == ([down("again")], [1, 0])


def test_before_it_was_ever_up_the_first_reason_is_told_and_all_else_passes() -> None:
    told: list[Any] = []
    joined = JoinedStreams(told.append, 2, lambda _number: None)
    quote = Quote(1, 1, "i", 1.0, 1.0, 2.0, 1.0)
    joined.publish_of(0)(down("refused"))
    joined.publish_of(1)(down("refused"))
    joined.publish_of(1)(quote)
    assert told == [down("refused"), quote]
