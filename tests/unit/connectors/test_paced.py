"""A download keeps the venue's pace, outlasts its refusals and gives up in one line; only waits move this clock."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from connectors.paced import TRIES, PacedRest
from connectors.rest import RestError
from engine.errors import VenueError

S = 1_000_000_000


class Server:
    """Answers from a script: a body, or an error; the last one for ever.  Notes when it was asked."""

    def __init__(self, *script: bytes | RestError) -> None:
        self.script = list(script)
        self.now_ns = 0
        self.asked_ns: list[int] = []
        self.said: list[str] = []

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        self.asked_ns.append(self.now_ns)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, RestError):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.now_ns += max(1, round(seconds * S))

    def paced(self, rate_per_s: float = 10.0) -> PacedRest:
        return PacedRest(
            self,
            "coinbase",
            rate_per_s=rate_per_s,
            rng=random.Random(1),
            now_ns=lambda: self.now_ns,
            sleep=self.sleep,
            say=self.said.append,
        )


def refusal(status: int, retry_after_s: int = 0) -> RestError:
    error = RestError(f"GET /candles answered {status}: no", status=status)
    error.retry_after_s = retry_after_s
    return error


async def test_requests_keep_the_rate() -> None:
    """50 requests at 10 a second take at least 4.7 s, whatever the burst; the first ones do not wait."""
    server = Server(b"ok")
    rest = server.paced()
    for _ in range(50):
        assert await rest.get("/x") == b"ok"
    assert rest.requests == 50
    assert server.asked_ns[1] == 0
    assert 4.7 * S <= server.now_ns <= 5 * S
    assert not server.said, "the ordinary pace is nothing to report"


async def test_a_429_waits_as_long_as_the_venue_asks() -> None:
    """Retry-After: 3; the same request goes out again no earlier, and the user hears of it."""
    server = Server(refusal(429, 3), b"ok")
    assert await server.paced().get("/x") == b"ok"
    assert server.asked_ns[1] - server.asked_ns[0] >= 3 * S
    assert server.said == ["coinbase asks to slow down, waiting 3 s", ""]


async def test_429s_without_a_time_wait_longer_each_time() -> None:
    """1, 2, 4 seconds; after a success the next pause is short again."""
    server = Server(refusal(429), refusal(429), refusal(429), b"ok", refusal(429), b"ok")
    rest = server.paced()
    await rest.get("/x")
    await rest.get("/x")
    waits = [round((b - a) / S) for a, b in zip(server.asked_ns, server.asked_ns[1:], strict=False)]
    assert waits == [1, 2, 4, 0, 1]


async def test_a_venue_that_keeps_refusing_ends_in_one_line() -> None:
    """After TRIES answers of 429 the download gives up, says so and how to go on."""
    server = Server(refusal(429, 1))
    with pytest.raises(
        VenueError, match=rf"^coinbase refused {TRIES} times in a row.*answered 429.*run the same"
    ) as told:
        await server.paced().get("/x")
    assert "\n" not in str(told.value)
    assert len(server.asked_ns) == TRIES


@pytest.mark.parametrize("error", [refusal(500), refusal(503)], ids=["500", "503"])
async def test_a_venue_in_trouble_is_asked_again(error: RestError) -> None:
    """Two failures, then the answer; with a pause before each repetition."""
    server = Server(error, error, b"ok")
    assert await server.paced().get("/x") == b"ok"
    assert len(server.asked_ns) == 3
    assert server.asked_ns[1] >= 0.5 * S


async def test_a_connection_that_breaks_is_made_again_but_an_address_without_answer_is_told_at_once() -> None:
    """Before the first answer a lost connection means a wrong address or no network: no waiting."""
    lost = RestError("GET /x: connection reset", status=0)
    server = Server(b"ok", lost, b"ok")
    rest = server.paced()
    await rest.get("/x")
    assert await rest.get("/x") == b"ok"
    nobody = Server(lost)
    with pytest.raises(RestError, match="connection reset"):
        await nobody.paced().get("/x")
    assert len(nobody.asked_ns) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_repeating_cannot_mend_is_told_at_once(status: int) -> None:
    """One request, and the venue's own error."""
    server = Server(refusal(status))
    with pytest.raises(RestError, match=str(status)):
        await server.paced().get("/x")
    assert len(server.asked_ns) == 1
