"""A look and what becomes of it: the words of a refusal are the words of the finding."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError, KestrelError
from engine.findings import Finding, Outcome, Skipped, Warned, failed, look


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConfigError, Outcome.FAILED),
        (KestrelError, Outcome.FAILED),
        (Warned, Outcome.WARNING),
        (Skipped, Outcome.SKIPPED),
    ],
)
def test_a_refusal_is_a_finding_with_its_own_words(error: type[KestrelError], outcome: Outcome) -> None:
    """Only a failure stands against a start."""

    def refuse() -> str:
        raise error("the clock is off", expected="at most 1 s", do="synchronise it")

    found = look("clock", refuse)
    assert found == Finding("clock", outcome, "the clock is off", "at most 1 s", "synchronise it")
    well = look("disk", lambda: "12 GiB free")
    assert well == Finding("disk", Outcome.OK, "12 GiB free")
    assert failed([well, found]) == ([found] if outcome is Outcome.FAILED else [])
