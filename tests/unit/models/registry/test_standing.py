"""What stands for what, and every change of it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BundleError
from models.registry.standing import Scope, Standing

SCOPE = Scope("direction", ("spot",), ("*",), ("*",))
VERSIONS = [f"m@{letter * 12}" for letter in "abcd"]


def test_a_version_that_nobody_touched_is_a_candidate() -> None:
    assert Standing(SCOPE).state_of("m@aaaa") == "candidate"


def test_a_new_champion_retires_the_one_before_and_rolling_back_returns_it() -> None:
    """Three champions, then two steps back; what was rolled back from is retired and can be promoted again."""
    standing = Standing(SCOPE)
    for version in VERSIONS[:3]:
        standing = standing.after("promote", version)
    assert standing.champion == VERSIONS[2]
    assert standing.earlier == tuple(VERSIONS[:2])
    standing = standing.after("rollback", VERSIONS[1])
    assert standing.champion == VERSIONS[1]
    assert [standing.state_of(version) for version in VERSIONS] == ["retired", "champion", "retired", "candidate"]
    standing = standing.after("rollback", VERSIONS[0])
    with pytest.raises(BundleError, match="has no champion before it"):
        standing.after("rollback", "")
    assert standing.after("promote", VERSIONS[2]).champion == VERSIONS[2]
    assert standing.sequence == 5


def test_without_a_champion_before_a_rollback_names_what_came_last() -> None:
    """Whoever goes back because a canary does harm is told how that one goes."""
    first, canary = VERSIONS[:2]
    alone = Standing(SCOPE).after("promote", first)
    with pytest.raises(BundleError, match=f"take it away: python run.py models retire {first.replace('@', ' ')}"):
        alone.after("rollback", "")
    with pytest.raises(BundleError, match=f"its canary away: python run.py models retire {canary.replace('@', ' ')}"):
        alone.after("canary", canary, TWENTIETH).after("rollback", "")


def test_rolling_back_to_another_than_the_one_before_is_refused() -> None:
    standing = Standing(SCOPE).after("promote", VERSIONS[0]).after("promote", VERSIONS[1])
    with pytest.raises(BundleError, match=f"was {VERSIONS[0]}, not {VERSIONS[2]}"):
        standing.after("rollback", VERSIONS[2])


def test_a_champion_of_before_can_be_taken_out_and_nobody_goes_back_to_it() -> None:
    """A mixture may have it as its member, also while another name is champion."""
    standing = Standing(SCOPE)
    for version in VERSIONS[:3]:
        standing = standing.after("promote", version)
    standing = standing.after("retire", VERSIONS[1])
    assert (standing.champion, standing.earlier, standing.retired) == (VERSIONS[2], (VERSIONS[0],), (VERSIONS[1],))
    with pytest.raises(BundleError, match="already; nothing was changed"):
        standing.after("retire", VERSIONS[1])


@pytest.mark.parametrize("action", ["promote", "shadow", "retire"])
def test_what_would_change_nothing_is_told(action) -> None:
    standing = Standing(SCOPE).after(action, VERSIONS[0])
    with pytest.raises(BundleError, match="already; nothing was changed"):
        standing.after(action, VERSIONS[0])


def test_a_champion_cannot_become_a_shadow_by_the_way() -> None:
    """It would leave the scope without any."""
    with pytest.raises(BundleError, match="is the champion"):
        Standing(SCOPE).after("promote", VERSIONS[0]).after("shadow", VERSIONS[0])


def test_retiring_the_champion_leaves_none() -> None:
    standing = Standing(SCOPE).after("promote", VERSIONS[0]).after("retire", VERSIONS[0])
    assert standing.champion is None
    assert standing.state_of(VERSIONS[0]) == "retired"


TWENTIETH = Decimal("0.05")


def with_canary() -> Standing:
    """Two champions so far, and a third version beside the second."""
    standing = Standing(SCOPE).after("promote", VERSIONS[0]).after("promote", VERSIONS[1])
    return standing.after("canary", VERSIONS[2], TWENTIETH)


def test_a_canary_stands_beside_the_champion_and_may_get_another_share() -> None:
    standing = with_canary()
    assert standing.champion == VERSIONS[1]
    assert (standing.canary, standing.share) == (VERSIONS[2], TWENTIETH)
    assert standing.state_of(VERSIONS[2]) == "canary"
    assert standing.after("canary", VERSIONS[2], Decimal("0.2")).share == Decimal("0.2")
    with pytest.raises(BundleError, match="with that share already; nothing was changed"):
        standing.after("canary", VERSIONS[2], TWENTIETH)


@pytest.mark.parametrize("share", ["0", "-0.1", "0.51", "NaN", "Infinity"])
def test_a_share_that_makes_no_canary_is_refused(share) -> None:
    with pytest.raises(BundleError, match=r"more than 0 and at most 0\.5"):
        Standing(SCOPE).after("promote", VERSIONS[0]).after("canary", VERSIONS[1], Decimal(share))


def test_a_canary_needs_a_champion_beside_it_and_there_is_one_at_a_time() -> None:
    with pytest.raises(BundleError, match="has no champion"):
        Standing(SCOPE).after("canary", VERSIONS[0], TWENTIETH)
    with pytest.raises(BundleError, match="is the champion of"):
        Standing(SCOPE).after("promote", VERSIONS[0]).after("canary", VERSIONS[0], TWENTIETH)
    with pytest.raises(BundleError, match=f"{VERSIONS[2]} is canary"):
        with_canary().after("canary", VERSIONS[3], TWENTIETH)


@pytest.mark.parametrize(
    ("action", "version", "champion"),
    [
        ("promote", VERSIONS[2], VERSIONS[2]),  # the canary itself
        ("promote", VERSIONS[3], VERSIONS[3]),  # another one, past it
        ("rollback", VERSIONS[0], VERSIONS[0]),
        ("retire", VERSIONS[2], VERSIONS[1]),
        ("retire", VERSIONS[1], None),  # the champion: a canary does not stand alone
        ("shadow", VERSIONS[2], VERSIONS[1]),
    ],
)
def test_what_takes_a_canary_away(action, version, champion) -> None:
    standing = with_canary().after(action, version)
    assert standing.champion == champion
    assert (standing.canary, standing.share) == (None, 0)
    expected = {"promote": "retired", "rollback": "retired", "retire": "retired", "shadow": "shadow"}[action]
    assert standing.state_of(VERSIONS[2]) == ("champion" if champion == VERSIONS[2] else expected)


def test_a_standing_of_before_there_were_canaries_reads_as_one_without() -> None:
    old = msgspec.to_builtins(Standing(SCOPE).after("promote", VERSIONS[0]))
    del old["canary"], old["share"]
    assert msgspec.convert(old, Standing) == Standing(SCOPE).after("promote", VERSIONS[0])


actions = st.sampled_from(["promote", "canary", "shadow", "rollback", "retire"])
steps = st.lists(st.tuples(actions, st.sampled_from(VERSIONS)))


@given(steps)
@settings(max_examples=200)
def test_a_version_is_never_two_things_at_once(taken) -> None:
    """Any changes in any order: each version stands in one place, and each change that is made counts once."""
    standing, made = Standing(SCOPE), 0
    for action, version in taken:
        try:
            after = standing.after(action, version, TWENTIETH)
        except BundleError:
            continue
        standing, made = after, made + 1
        places = [*standing.earlier, *standing.shadow, *standing.retired]
        places += [one for one in (standing.champion, standing.canary) if one is not None]
        assert standing.canary is None or standing.champion is not None
        assert (standing.canary is None) == (standing.share == 0)
        assert len(places) == len(set(places))
        if action in ("promote", "rollback"):
            assert standing.champion == version
    assert standing.sequence == made
    assert msgspec.json.decode(msgspec.json.encode(standing), type=Standing) == standing


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        (Scope("direction", ("*",), ("*",), ("*",)), True),
        (Scope("direction", ("spot",), ("test",), ("BTC/USD@test",)), True),
        (Scope("direction", ("fx",), ("*",), ("*",)), False),
        (Scope("direction", ("*",), ("coinbase",), ("*",)), False),
        (Scope("direction", ("*",), ("*",), ("ETH/USD@test",)), False),
    ],
)
def test_a_scope_covers_what_it_names(scope, covered, make_instrument) -> None:
    assert scope.covers(make_instrument()) is covered


def test_scopes_that_share_an_instrument_meet() -> None:
    spot, both = (
        Scope("direction", ("spot",), ("*",), ("*",)),
        Scope("direction", ("perpetual", "spot"), ("x",), ("*",)),
    )
    assert spot.meets(both)
    assert both.meets(spot)
    assert not spot.meets(Scope("direction", ("fx",), ("*",), ("*",)))
    assert not spot.meets(Scope("signal", ("spot",), ("*",), ("*",)))


def test_the_narrower_scope_is_greater() -> None:
    anything, classes, venues, named = (
        Scope("direction", *parts)
        for parts in (
            (("*",), ("*",), ("*",)),
            (("spot",), ("*",), ("*",)),
            (("*",), ("test",), ("*",)),
            (("*",), ("*",), ("BTC/USD@test",)),
        )
    )
    assert anything.narrowness < classes.narrowness < venues.narrowness < named.narrowness
