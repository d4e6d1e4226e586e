"""What is known of a challenger outlives the observer and the session, is counted once, and ends with its standing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from config.observing import build_observer
from models.observer.comparing import Comparisons
from models.observer.evidence import STALE_NS, EvidenceStore, verdicts_of
from models.observer.observer import Observer
from models.observer.paired import Paired
from models.observer.rollout import RolloutRules
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
    assert first.load(KEY) == (some(50), 70, 1), "this session has counted it up to there"
    first.close()
    second = store(tmp_path, "two")
    assert second.load(KEY) == (some(50), 0, 1)
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
    assert second.load(KEY) == (some(50), 0, 1)
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


def test_what_is_old_of_other_instruments_goes_with_it(tmp_path: Path) -> None:
    """Sessions on those may never come again."""
    other = store(tmp_path, about=ABOUT.replace("60 s", "30 s"))
    now_ns, old = 2 * STALE_NS, ("champion@1", "old@3", "shadow")
    other.save(KEY, some(9), 1, now_ns - 1)
    other.save(old, some(9), 1, now_ns - STALE_NS - 1)
    store(tmp_path).drop_stale(now_ns, lambda _: False)
    assert [other.load(key) is not None for key in (KEY, old)] == [True, False]


def test_the_newest_verdict_of_each_challenger_is_told_to_who_asks(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path, about=ABOUT.replace("60 s", "30 s"))
    first.save(KEY, some(9), 1, 5, "wait; signals failed: 9 of 200")
    second.save(KEY, some(9), 1, 7, "stay; profit failed")
    (first.folder / "0123456789abcdef.json").write_text("{half")
    found = verdicts_of(tmp_path, KEY[1], "shadow")
    assert [(one["at_ns"], one["champion"], one["verdict"]) for one in found] == [
        (7, "champion@1", "stay; profit failed"),
        (5, "champion@1", "wait; signals failed: 9 of 200"),
    ]
    assert verdicts_of(tmp_path, KEY[1], "canary") == []
    assert verdicts_of(tmp_path / "none", KEY[1]) == []


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
    return with_shadow(market_data, registry, add, made_ns=1)


def with_shadow(market_data: Path, registry: Any, add: Any, *, made_ns: int) -> tuple[Played, str]:
    played = play(market_data, registry.root, 2_000)
    version = add(lambda manifest: manifest.update(created_ns=made_ns))
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    return played, version


def later(played: Played, hours: int = 1) -> Played:
    """The same market that many hours after."""
    by_ns = hours * 3_600_000_000_000

    def moved(record: Any) -> Any:
        times = {name: getattr(record, name) + by_ns for name in ("ts_event_ns", "ts_recv_ns") if hasattr(record, name)}
        return msgspec.structs.replace(record, **times)

    return replace(played, records=[moved(record) for record in played.records])


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


def test_what_came_before_a_challenger_was_made_counts_for_nobody(market_data: Path, registry: Any, add: Any) -> None:
    """A bundle of last night, trained on this very session; an observer that begins anew reads all of it again."""
    made_ns = play(market_data, registry.root, 2_000).records[-1_000].ts_recv_ns  # type: ignore[union-attr]
    played, version = with_shadow(market_data, registry, add, made_ns=made_ns)
    whole = pair_of(played.watched_by(observer_of(played, "")))
    observer = played.watched_by(observer_of(played, "one"))
    assert 0 < pair_of(observer).rows < whole.rows
    (track,) = [one for one in observer._tracks if one.version == version]
    assert min(one.ts_ns for one in track.known) >= made_ns, "its calibration is of those rows alone as well"


def test_the_next_session_goes_on_with_it_until_the_standing_changes(live: tuple[Played, str], registry: Any) -> None:
    played, version = live
    first = played.watched_by(observer_of(played, "one"))
    found = pair_of(first)
    first.close()
    (told,) = verdicts_of(registry.root, version, "shadow")
    assert told["verdict"].startswith("wait; signals failed: ")
    second = observer_of(played, "two")
    second.look()
    later(played).watched_by(second)
    assert pair_of(second).rows == 2 * found.rows
    assert pair_of(second).losses.count >= 2 * found.losses.count
    second.close()
    name, _, sha = version.partition("@")
    retire(registry, name, sha, who="ana", why="enough", now_ns=2)
    third = later(played, hours=2).watched_by(observer_of(played, "three"))
    third.look()
    assert not list((registry.root / "evidence").glob("*/*.json"))


def test_a_session_that_begins_after_what_was_kept_takes_that_over(live: tuple[Played, str]) -> None:
    """It began while the one before it was being closed."""
    played, _ = live
    first = played.watched_by(observer_of(played, "one"))
    second = later(played).watched_by(observer_of(played, "two"))
    own = msgspec.structs.asdict(pair_of(second))
    second.look()
    assert "another session" in second.troubles["evidence"]
    first.close()
    second._comparisons._saved_ns -= 60_000_000_000
    second.look()
    assert pair_of(second).rows == own["rows"] + pair_of(first).rows
    assert "evidence" not in second.troubles


def test_hours_that_two_sessions_saw_are_counted_once(live: tuple[Played, str]) -> None:
    """Of the second one's evidence nothing is staked on top of the first one's: both are of the same rows."""
    played, _ = live
    first = observer_of(played, "one")
    second = played.watched_by(observer_of(played, "two"))
    whole = pair_of(second).rows
    for record in played.records[:3_000]:
        first.take(record)
    first.close()
    found = pair_of(first)
    assert 0 < found.rows < whole
    second.look()
    assert pair_of(second) == found
    later(played).watched_by(second)
    assert pair_of(second).rows == found.rows + whole


def test_what_is_known_of_a_shadow_that_raised_is_kept_and_ends_with_its_champion(tmp_path: Path) -> None:
    """Who crashed after it had lost would begin anew else, as if it had never lost."""
    kept = store(tmp_path)
    made = Comparisons(RolloutRules(), latency_us=lambda _: 10.0, store=kept)
    kept.save(KEY, some(9), 1, 1)
    made.pairs[KEY] = some(9)
    made.keep_only({(KEY[0], "champion")}, lambda _: True)
    assert made.pairs == {}
    assert kept.load(KEY) is not None
    made.pairs[KEY] = some(9)
    made.keep_only({KEY[1:]}, lambda _: True)
    assert kept.load(KEY) is None


def watched(champion: str, challenger: str) -> tuple[Any, Any]:
    """A pair as far as it is looked at: who it is, and where."""
    rows = SimpleNamespace(instrument="X")
    return tuple(
        SimpleNamespace(version=version, role=role, rows=rows, reach=1, is_return=False, speaks_at=lambda _: True)
        for version, role in ((champion, "champion"), (challenger, "shadow"))
    )  # type: ignore[return-value]


def test_an_observer_that_reads_its_record_again_counts_what_another_session_did_once(tmp_path: Path) -> None:
    """It dies, the other one keeps the files meanwhile, it begins anew, and the other one ends."""
    second_ns = 1_000_000_000
    pair = watched(*KEY[:2])

    def observing(session: str) -> Comparisons:
        return Comparisons(RolloutRules(), latency_us=lambda _: 10.0, store=EvidenceStore(tmp_path, ABOUT, session))

    def signals(into: Comparisons, first: int, last: int) -> None:
        for number in range(first, last):
            at = 60 * second_ns * number
            into.ended(pair, pair[1], at, at + second_ns, 3.0, number + 1)

    one = observing("one")
    signals(one, 0, 50)
    one.keep(50, 50 * 60 * second_ns, lambda _: True)
    assert one._store is not None
    one._store.close()  # as the end of its process does
    two = observing("two")
    signals(two, 51, 55)
    two.keep(55, 55 * 60 * second_ns, lambda _: True)
    one = observing("one")
    signals(one, 0, 60)
    two.keep(57, 57 * 60 * second_ns, lambda _: True, at_end=True)
    one.keep(60, 60 * 60 * second_ns, lambda _: True)
    assert one.pairs[KEY].signals == 54
    signals(one, 60, 65)
    assert one.pairs[KEY].signals == 59


def test_an_observer_that_takes_over_from_one_of_its_own_session_counts_no_record_twice(tmp_path: Path) -> None:
    """The one before hung when this one began, had read further, and is gone now."""
    second_ns = 1_000_000_000
    pair = watched(*KEY[:2])

    def observing() -> Comparisons:
        return Comparisons(RolloutRules(), latency_us=lambda _: 10.0, store=EvidenceStore(tmp_path, ABOUT, "one"))

    def signals(into: Comparisons, first: int, last: int) -> None:
        for number in range(first, last):
            at = 60 * second_ns * number
            into.ended(pair, pair[1], at, at + second_ns, 3.0, number + 1)

    before = observing()
    signals(before, 0, 50)
    now = observing()
    signals(now, 0, 30)
    before.keep(50, 50 * 60 * second_ns, lambda _: True, at_end=True)
    now.keep(30, 30 * 60 * second_ns, lambda _: True)
    signals(now, 30, 60)
    assert now.pairs[KEY].signals == 60
