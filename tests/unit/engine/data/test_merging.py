"""``engine.data.merging``: streams of events in one order."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.merging import merge


@settings(max_examples=60, deadline=None)
@given(
    streams=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=25), min_size=1, max_size=4),
    batch=st.integers(1, 7),
)
def test_the_merge_equals_a_naive_one(streams: list[list[int]], batch: int) -> None:
    """Against a plain loop that always takes the least head, on unsorted streams cut into small batches."""
    chunks = [
        [(part := list(enumerate(keys))[i : i + batch]) and ([k for _, k in part], [(n, row) for row, _ in part])
         for i in range(0, len(keys), batch)]
        for n, keys in enumerate(streams)
    ]  # fmt: skip
    merged = list(merge([iter(chunk) for chunk in chunks], [keys[0] for keys in streams]))
    heads = [0] * len(streams)
    expected = []
    while any(head < len(keys) for head, keys in zip(heads, streams, strict=True)):
        alive = [n for n, keys in enumerate(streams) if heads[n] < len(keys)]
        n = min(alive, key=lambda n: (streams[n][heads[n]], n))
        expected.append((n, heads[n]))
        heads[n] += 1
    assert merged == expected


def test_a_stream_is_opened_when_its_time_has_come() -> None:
    """The second of two, whose first key is announced, is asked for nothing before the first has passed it."""
    opened = []

    def stream(name: str, keys: list[int]) -> Iterator[tuple[list[int], list[str]]]:
        opened.append(name)
        yield keys, [f"{name}{key}" for key in keys]

    merged = merge([stream("a", [1, 2, 9]), stream("b", [5, 6])], [1, 5])
    assert [next(merged), next(merged)] == ["a1", "a2"]
    assert opened == ["a"]
    assert list(merged) == ["b5", "b6", "a9"]
