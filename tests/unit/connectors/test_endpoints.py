"""Addresses that stand in for each other: which is used when."""

from __future__ import annotations

from math import inf

import pytest

from connectors.endpoints import Endpoints


def test_the_next_one_after_so_many_failures_in_a_row_and_the_first_after_the_last() -> None:
    """Two failures are borne; a success between forgets them."""
    ends = Endpoints(["a", "b", "c"], failures_max=2, back_after_s=inf)
    seen = []
    for failed in (True, False, True, True, True, True, True, True):
        seen.append(ends.current(0.0))
        if failed:
            ends.failed(0.0)
        else:
            ends.succeeded()
    assert seen == ["a", "a", "a", "a", "b", "b", "c", "c"]
    assert ends.current(0.0) == "a"
    assert ends.moves == 3


def test_back_to_the_preferred_after_a_while_and_away_at_its_first_failure() -> None:
    """Left at 100 s; tried again 60 s later, fails, is left at once; 60 s later it works and stays."""
    ends = Endpoints(["a", "b"], failures_max=3, back_after_s=60.0)
    assert [ends.failed(100.0) for _ in range(3)] == [False, False, True]
    ends.succeeded()
    assert ends.current(159.0) == "b"
    assert ends.current(160.0) == "a"
    assert ends.failed(161.0)
    assert ends.current(220.0) == "b"
    assert ends.current(221.0) == "a"
    ends.succeeded()
    assert [ends.failed(222.0), ends.failed(222.0)] == [False, False]
    assert ends.current(222.0) == "a"


def test_a_single_address_is_never_given_up() -> None:
    ends = Endpoints(["a"])
    assert not any(ends.failed(0.0) for _ in range(100))
    assert (ends.current(1.0), ends.moves) == ("a", 0)


@pytest.mark.parametrize("options", [{"urls": []}, {"failures_max": 0}, {"back_after_s": 0.0}])
def test_settings_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="endpoints need"):
        Endpoints(**{"urls": ["a"], **options})  # type: ignore[arg-type]
