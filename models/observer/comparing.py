"""Challengers beside the champion on the same rows: what is known of each pair, and when a verdict is told.

Owns the pairs.  The tests are ``models.observer.rollout``'s, what a pair holds ``models.observer.paired``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from models.observer.evidence import EvidenceStore, Key
from models.observer.losses import LOSS_GAP_MAX, RETURN_GAP_MAX, compared_loss
from models.observer.maturing import Matured
from models.observer.outcomes import calibration_error
from models.observer.paired import Paired
from models.observer.rollout import RolloutRules, Verdict, judge
from models.observer.told import Judged
from models.observer.track import CHAMPION, Track

UNLIKE_ROWS: Final = 500
"""Of a challenger, each without one of the champion's that is like it: then nobody waits for one any more."""
SAVE_NS: Final = 60_000_000_000
"""Of the record's time, between two savings: a process that is killed loses no more, and reads that again."""


class Comparisons:
    """``latency_us``: p99 of a version's predictions, None where it is not known yet.  ``store`` None: what is found
    ends with this object.  ``pairs``: what was found before."""

    def __init__(
        self,
        rules: RolloutRules,
        *,
        latency_us: Callable[[str], float | None],
        store: EvidenceStore | None = None,
        pairs: dict[Key, Paired] | None = None,
    ) -> None:
        self._rules = rules
        self._latency_us = latency_us
        self._store = store
        self.pairs: dict[Key, Paired] = {} if pairs is None else pairs
        """By champion, challenger and its role: what a shadow showed is no figure of the canary that it became."""
        self._counted: dict[Key, int] = {}
        """Record up to which a pair that was loaded has counted already."""
        self._seen_ns: dict[Key, int] = {}
        """Time up to which another session has counted what was loaded: it saw the same market."""
        self._begun_ns: dict[Key, int] = {}
        """When the first of what was counted here was made."""
        self._judged: dict[Key, tuple[int, int, int]] = {}
        """Signals and spans at the last verdict."""
        self._told: dict[Key, tuple[str, int]] = {}
        """What was said of a pair last, and its signals by then."""
        self._verdicts: dict[Key, str] = {}
        """The last verdict of a pair and its figures, in a line."""
        self._alone: dict[Key, int] = {}
        """Rows of a challenger that no row of the champion's was like."""
        self._saved_ns = 0
        if store is not None:
            store.hold()

    # --- what happens -----------------------------------------------------------------------------------------------

    def matured(self, pair: tuple[Track, Track], track: Track, one: Matured, record: int) -> None:
        """Losses of the same row of a champion and a challenger, when the later of the two is known."""
        champion, challenger = pair
        other = challenger if track is champion else champion
        alike = other.rows is track.rows and other.reach == track.reach and other.is_return == track.is_return
        theirs: Matured | None = None
        if other.is_return == track.is_return:
            theirs = other.known_of(one.row) if alike else other.known_at(one)
        if theirs is None:
            known = (champion.version, challenger.version, challenger.role) in self.pairs
            if not alike and known and (held := self._of(champion, challenger, record, one.ts_ns)) is not None:
                # No loss of both, yet their signals are compared, in spans that are long enough for either.
                held.reach(one.label_ns)
            if track is challenger and champion.speaks_at(one.ts_ns):
                self._note_alone(pair, one.ts_ns, record)
            return
        best, ours = (one, theirs) if track is champion else (theirs, one)
        # Both by the champion's scale: with one of its own each would be measured by another unit.
        our_loss, best_loss = (compared_loss(each.said, best.outcome, best.scale) for each in (ours, best))
        if math.isnan(our_loss):
            self._alone.pop((champion.version, challenger.version, challenger.role), None)  # it is alike, and too early
        elif (held := self._of(champion, challenger, record, one.ts_ns)) is not None:
            held.lost(track.rows.instrument, one.ts_ns, one.known_ns, challenger=our_loss, champion=best_loss)

    def _note_alone(self, pair: tuple[Track, Track], ts_ns: int, record: int) -> None:
        """A row of a challenger that is none of the champion's, or whose other half comes with this very event."""
        champion, challenger = pair
        key = champion.version, challenger.version, challenger.role
        self._alone[key] = count = self._alone.get(key, 0) + 1
        if count == UNLIKE_ROWS:
            self._of(champion, challenger, record, ts_ns)

    def _unlike(self, key: Key, held: Paired) -> str:
        """Why two can never be compared by their losses; empty where they can, or it is too early to say."""
        alone = self._alone.get(key, 0)
        if held.rows or alone < UNLIKE_ROWS:
            return ""
        return (
            f"none of {alone:,} rows is one of the champion's (other features, horizon or kind of forecast): no "
            f"loss can be compared, and a person is to decide (models canary, models retire)"
        )

    def ended(
        self, pair: tuple[Track, Track], track: Track, made_ns: int, known_ns: int, profit_bps: float, record: int
    ) -> None:
        """A signal of one of the two has an outcome.  Beside one who was not asked when it was made it is no
        difference: whoever is stopped loses nothing."""
        if (held := self._of(*pair, record, made_ns)) is not None:
            both = all(one.speaks_at(made_ns) for one in pair)
            held.won(track.rows.instrument, made_ns, known_ns, profit_bps, challenger=track is pair[1], both=both)

    def _of(self, champion: Track, challenger: Track, record: int, made_ns: int) -> Paired | None:
        """None where a process before this one has counted that record, or another session what was made then."""
        key = champion.version, challenger.version, challenger.role
        held = self.pairs.get(key)
        if held is None:
            gap_max = RETURN_GAP_MAX if challenger.is_return else LOSS_GAP_MAX
            held = Paired(int(self._rules.span_s * 1e9), self._rules.profit_max_bps, loss_gap_max=gap_max)
            if self._store is not None and (known := self._store.load(key)) is not None:
                held = self._take_over(key, known, known[1])
            self.pairs[key] = held
        if record <= self._counted.get(key, 0) or made_ns <= self._seen_ns.get(key, -1):
            return None
        self._begun_ns[key] = min(made_ns, self._begun_ns.get(key, made_ns))
        return held

    def _take_over(self, key: Key, known: tuple[Paired, int, int], records: int) -> Paired:
        """Evidence of a file, as ``EvidenceStore.load`` has it; nothing up to ``records`` is counted on it."""
        kept, counted, upto_ns = known
        self._counted[key] = records
        if not counted:
            self._seen_ns[key] = upto_ns
        return kept

    def keep_only(self, roles: Iterable[tuple[str, str]], stands: Callable[[Key], bool]) -> None:
        """Pairs of champions that are none any more, and of challengers that left or have another role, are over.

        What is kept of one that fell out and still ``stands`` (it raised, say) stays: else it would begin anew."""
        standing = set(roles)
        for key in list(self.pairs):
            if (key[0], CHAMPION) in standing and key[1:] in standing:
                continue
            for held in (
                self.pairs,
                self._counted,
                self._seen_ns,
                self._begun_ns,
                self._judged,
                self._told,
                self._verdicts,
                self._alone,
            ):
                held.pop(key, None)
            if self._store is not None and not ((key[0], CHAMPION) in standing and stands(key)):
                self._store.forget(key)

    # --- what is kept -------------------------------------------------------------------------------------------------

    def keep(
        self,
        records: int,
        upto_ns: int,
        stands: Callable[[Key], bool],
        tracks: Sequence[Track] = (),
        *,
        at_end: bool = False,
    ) -> None:
        """Save what was found, from time to time, with what ``judge`` makes of it by what is known of ``tracks``;
        ``stands``: whether a challenger still has its role."""
        store = self._store
        if store is None or not upto_ns:
            return
        first = not self._saved_ns
        if not first and not at_end and 0 <= upto_ns - self._saved_ns < SAVE_NS:
            return
        if store.hold():
            # Another process kept it until now.  Wealth is staked again on what comes after alone: what was counted
            # here of the hours that are in the file is dropped.
            for key, own in list(self.pairs.items()):
                if (known := store.load(key)) is None:
                    continue
                if known[2] < self._begun_ns.get(key, 0):
                    self.pairs[key] = known[0].followed_by(own)
                else:
                    self.pairs[key] = self._take_over(key, known, max(records, known[1]))
            first = True
        if first:
            store.drop_stale(upto_ns, stands)
        self._saved_ns = upto_ns
        for key, held in self.pairs.items():
            if records > self._counted.get(key, 0):
                store.save(key, held, records, upto_ns, self._judge(key, held, tracks).verdict.why)
        if at_end:
            store.close()

    @property
    def trouble(self) -> str:
        return "" if self._store is None else self._store.trouble

    # --- verdicts -----------------------------------------------------------------------------------------------------

    def due(self, tracks: list[Track]) -> list[Judged]:
        """Verdicts to be told: what is new, and what goes on after as many signals again as were fixed."""
        found = []
        for key, held in self.pairs.items():
            known = held.signals, held.losses.count, held.profits.count
            if held.signals < self._rules.signals_min and not self._unlike(key, held):
                continue
            if known == self._judged.get(key):
                continue
            self._judged[key] = known
            judged = self._judge(key, held, tracks)
            said, at = self._told.get(key, ("", 0))
            if judged.verdict.said != said or held.signals >= at + self._rules.signals_min:
                self._told[key] = judged.verdict.said, held.signals
                self._verdicts[key] = judged.verdict.why
                found.append(judged)
        return found

    def not_done(self, judged: Judged) -> None:
        """What was said could not be carried out: it is told again at the next look, if it is true by then."""
        key = judged.champion, judged.model, judged.role
        self._told.pop(key, None)
        self._judged.pop(key, None)

    def judge_now(self, tracks: list[Track]) -> list[Judged]:
        """Every challenger, as far as its figures go."""
        return [self._judge(key, held, tracks) for key, held in self.pairs.items()]

    def verdicts(self, tracks: Sequence[Track]) -> dict[tuple[str, str], str]:
        """By challenger and its role: what is made of it as of now, in a line."""
        return {key[1:]: self._judge(key, held, tracks).verdict.why for key, held in self.pairs.items()}

    def _judge(self, key: Key, held: Paired, tracks: Sequence[Track]) -> Judged:
        """The figures of all instruments together: one that is quiet holds up nobody."""
        champion, challenger, role = key
        ours = [track for track in tracks if (track.version, track.role) == (challenger, role)]
        theirs = [track for track in tracks if (track.version, track.role) == (champion, CHAMPION)]
        verdict: Verdict = judge(
            held,
            self._rules,
            ece=calibration_error([track.outcomes for track in ours]),
            champion_ece=calibration_error([track.outcomes for track in theirs]),
            latency_p99_us=self._latency_us(challenger),
            unlike=self._unlike(key, held),
            withheld=next((track.withheld for track in ours if track.withheld), ""),
        )
        return Judged(challenger, champion, role, verdict)

    def plain(self) -> dict[str, dict[str, float | str]]:
        """By challenger with its role, and champion: rows of both, signals with an outcome, the evidence, and the
        verdict that was told last."""
        found = {}
        for (champion, challenger, role), held in self.pairs.items():
            said = self._verdicts.get((champion, challenger, role), "wait")
            figures: dict[str, float | str] = {"verdict": said, "rows": held.rows, "signals": held.signals}
            for name, gap in (("loss", held.loss_gap()), ("profit", held.profit_gap_bps())):
                if gap is not None:
                    figures |= {f"{name}_for": round(gap.better, 4), f"{name}_against": round(gap.worse, 4)}
            found[f"{challenger} ({role}) beside {champion}"] = figures
        return found
