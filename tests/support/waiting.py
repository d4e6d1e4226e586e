"""A wait for what other tasks of the test's loop bring about."""

from __future__ import annotations

import asyncio
import inspect
import reprlib
from collections.abc import Callable

BOUND_S = 30.0
POLL_S = 0.001


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition that must come; the bound is only there so that a failure ends, and says what was awaited.

    ``condition`` is looked at every ``POLL_S``, so it changes nothing and costs little.
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + BOUND_S
    while not (found := condition()):
        await asyncio.sleep(POLL_S)
        if loop.time() >= end_s:
            raise AssertionError(f"still {found!r} after {BOUND_S:g} s: {_shown(condition)}")


def _shown(condition: Callable[[], object]) -> str:
    """Its source in one line, and the variables around it that it reads."""
    source = " ".join(inspect.getsource(condition).split())
    around = inspect.getclosurevars(condition).nonlocals
    named = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in around.items())
    return f"{source}; {named}" if named else source
