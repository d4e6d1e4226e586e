"""What is known of a challenger outlives the observer and the session, is counted once, and ends with its standing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.observing import build_observer
from models.observer.evidence import STALE_NS, EvidenceStore
from models.observer.observer import Observer
from models.observer.paired import Paired
from models.registry.promotion import promote, retire
from tests.support.watched import Played, play

KEY = ("champion@1", "other@2", "shadow")
ABOUT = "live; coinbase: BTC/USD@coinbase; 60 s; 100 bps"


def store(root: Path, session: str = "one", about: str = ABOUT) -> EvidenceStore:
    made = EvidenceStore(root, about, session)
    made.hold()
    return made


def some(rows: int) -> Paired:
    paired = Paired(span_ns=10)
    for number in range(rows):
        paired.lost("X", number, number, challenger=0.5, champion=0.6)
    return paired


def test_it_is_found_by_who_it_is_of_and_by_what_it_is_about(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.save(KEY, some(50), 70, 1)
    assert first.load(KEY) == (some(50), 70), "this session has counted it up to there"
    first.close()
    second = store(tmp_path, "two")
    assert second.load(KEY) == (some(50), 0)
    assert second.load(("champion@2", *KEY[1:])) is None
    assert second.load((*KEY[:2], "canary")) is None
    assert store(tmp_path, about=ABOUT.replace("60 s", "30 s")).load(KEY) is None


def test_one_process_keeps_it_at_a_time_and_the_other_says_so(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path, "two")
    first.save(KEY, some(50), 70, 1)
    assert second.load(KEY) is None
    assert "another session on these instruments keeps it" in second.trouble
    second.save(KEY, some(1), 1, 1)
    first.close()
    assert second.hold()
    assert second.load(KEY) == (some(50), 0)
    assert second.trouble == ""


def test_what_is_old_damaged_or_of_another_standing_is_dropped(tmp_path: Path) -> None:
    kept = store(tmp_path)
    old, gone = ("champion@1", "old@3", "shadow"), ("champion@1", "gone@4", "shadow")
    now_ns = 2 * STALE_NS
    for key, upto_ns in ((KEY, now_ns - 1), (old, now_ns - STALE_NS - 1), (gone, now_ns - 1)):
        kept.save(key, some(9), 1, upto_ns)
    (kept.folder / "0123456789abcdef.json").write_text("{half")
    kept.drop_stale(now_ns, lambda key: key != gone)
    assert [kept.load(key) is not None for key in (KEY, old, gone)] == [True, False, False]
    assert len(list(kept.folder.glob("*.json"))) == 1


def test_a_folder_that_cannot_be_written_costs_the_keeping_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("in the way")
    kept = store(tmp_path)
    kept.save(KEY, some(9), 1, 1)
    assert kept.load(KEY) is None
    assert "evidence is not kept" in kept.trouble


# --- of sessions ----------------------------------------------------------------------------------------------------


def observer_of(live: Played, session: str) -> Observer:
    """As a session on the live market has it, by spans of a second; without a name it keeps nothing."""
    models = live.settings.models
    models = models.model_copy(update={"rollout": models.rollout.model_copy(update={"span_s": 1.0})})
    venue = live.settings.venue.model_copy(update={"feed": "live"})
    return build_observer(live.settings.model_copy(update={"models": models, "venue": venue}), None, session=session)


@pytest.fixture
def live(market_data: Path, registry: Any, add: Any) -> tuple[Played, str]:
    """A session, and a challenger of its champion."""
    played = play(market_data, registry.root, 2_000)
    version = add()
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    return played, version


def pair_of(observer: Observer) -> Paired:
    (pair,) = observer._comparisons.pairs.values()
    return pair


def test_an_observer_that_is_killed_counts_nothing_twice_and_loses_nothing(live: tuple[Played, str]) -> None:
    played, _ = live
    whole = played.watched_by(observer_of(played, ""))
    first = observer_of(played, "one")
    for record in played.records[:2_500]:
        first.take(record)
    first._comparisons.keep(first.records, first.last_seq_ns, first._stands)
    for record in played.records[2_500:2_700]:
        first.take(record)
    first._comparisons._store.close()  # type: ignore[union-attr]  # as the end of its process does
    again = played.watched_by(observer_of(played, "one"))
    assert pair_of(again) == pair_of(whole)
    assert pair_of(again).losses.count > 3


def test_the_next_session_goes_on_with_it_until_the_standing_changes(live: tuple[Played, str], registry: Any) -> None:
    played, version = live
    first = played.watched_by(observer_of(played, "one"))
    found = pair_of(first)
    first.close()
    second = observer_of(played, "two")
    second.look()
    played.watched_by(second)
    assert pair_of(second).rows == 2 * found.rows
    assert pair_of(second).losses.count >= 2 * found.losses.count
    second.close()
    name, _, sha = version.partition("@")
    retire(registry, name, sha, who="ana", why="enough", now_ns=2)
    third = played.watched_by(observer_of(played, "three"))
    third.look()
    assert not list((registry.root / "evidence").glob("*/*.json"))


def test_a_session_that_begins_before_the_last_one_has_ended_takes_over_what_that_one_found(
    live: tuple[Played, str],
) -> None:
    played, _ = live
    first = played.watched_by(observer_of(played, "one"))
    second = played.watched_by(observer_of(played, "two"))
    own = msgspec.structs.asdict(pair_of(second))
    second.look()
    assert "another session" in second.troubles["evidence"]
    first.close()
    second._comparisons._saved_ns -= 60_000_000_000
    second.look()
    assert pair_of(second).rows == own["rows"] + pair_of(first).rows
    assert "evidence" not in second.troubles
