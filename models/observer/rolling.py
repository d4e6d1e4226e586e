"""What a verdict or an alarm does in the registry, where it may do that without asking (``models.rollout.automatic``).

Owns the steps: shadow, canary, champion, and the way back.  The registry checks and records each as any other change
(``who`` is ``rollout``); a running daemon follows it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from engine.errors import BundleError
from models.observer.rollout import RolloutRules
from models.observer.rules import OF_THE_MARKET
from models.observer.told import Alarmed, Judged, Told, Unsettled
from models.observer.track import CANARY, SHADOW
from models.registry.promotion import promote, retire, rollback
from models.registry.standing import Standing, scope_of
from models.registry.store import Registry

WHO: Final = "rollout"
_WHY_MAX: Final = 500
LAG_MAX_NS: Final = 10_000_000_000
"""Age of the last record that was read, beyond which a verdict is of another time."""


def carry_out(
    told: Told,
    registry: Registry,
    rules: RolloutRules,
    now_ns: int,
    *,
    feed: str,
    upto_ns: int,
    again: Callable[[Judged | Alarmed], None] = lambda _: None,
) -> str:
    """What was done, or why it was not, in a line; empty where nothing was to be done.

    ``feed`` as in ``venue.feed``: what a model did on a market that is not live moves nobody who trades on one.
    ``upto_ns``: receive time of the last record that was read.  What the registry refuses or cannot do is
    said and given to ``again``, and so is a verdict on a record of before.
    """
    told = told.alarm if isinstance(told, Unsettled) else told
    if not rules.automatic or not isinstance(told, Alarmed | Judged) or not _asks_for_a_change(told):
        return ""
    if feed != "live":
        return (
            f"not done for {told.model}: venue.feed is {feed}, and only a session on the live market changes standings"
        )
    try:
        if isinstance(told, Judged):
            standing = registry.standing(scope_of(registry.manifest(told.model)))
            if now_ns - upto_ns > LAG_MAX_NS:
                again(told)
            if outdated := _outdated(told, standing, now_ns - upto_ns):
                return f"not done for {told.model}, its verdict is dropped: {outdated}"
            return _follow_verdict(told, standing, registry, rules, now_ns)
        return _follow_alarm(told, registry, now_ns)
    except (BundleError, OSError) as error:
        again(told)
        return f"not done for {told.model}: {error}"


def _asks_for_a_change(told: Alarmed | Judged) -> bool:
    return told.verdict.said in ("promote", "demote") if isinstance(told, Judged) else told.action == "stop"


def _outdated(judged: Judged, standing: Standing, lag_ns: int) -> str:
    """What of a verdict is true no more; empty where all is."""
    if lag_ns > LAG_MAX_NS:
        return f"the last record that was read is {lag_ns / 1e9:.0f} s old"
    if standing.champion != judged.champion:
        return f"the champion is {standing.champion or 'nobody'}, it was judged beside {judged.champion}"
    role = standing.state_of(judged.model)
    return "" if role == judged.role else f"it is {role}, it was judged as {judged.role}"


def _follow_verdict(judged: Judged, standing: Standing, registry: Registry, rules: RolloutRules, now_ns: int) -> str:
    """On that standing and no other: who is changed meanwhile is not taken for who was judged."""
    name, _, sha = judged.model.partition("@")
    sequence = standing.sequence
    why = judged.verdict.why[:_WHY_MAX]
    if judged.verdict.said == "promote" and judged.role == SHADOW:
        share = Decimal(str(rules.canary_share))
        promote(registry, name, sha, to="canary", share=share, who=WHO, why=why, now_ns=now_ns, sequence=sequence)
        return f"{judged.model} is canary with {share} of the size: {why}"
    if judged.verdict.said == "promote" and judged.role == CANARY:
        promote(registry, name, sha, who=WHO, why=why, now_ns=now_ns, sequence=sequence)
        return f"{judged.model} is champion in place of {judged.champion}: {why}"
    if judged.verdict.said == "demote":
        retire(registry, name, sha, who=WHO, why=why, now_ns=now_ns, sequence=sequence)
        return f"{judged.model} is retired: {why}"
    return ""


def _follow_alarm(alarm: Alarmed, registry: Registry, now_ns: int) -> str:
    """A champion that is stopped gives way to the one before it; a canary goes.

    Drift of inputs or of the forecast says nothing for the one before it, which reads the same market.
    """
    if alarm.source in OF_THE_MARKET:
        return f"{alarm.model} stands as it did: {alarm.source} is of the market, who is to follow is a person's to say"
    name, _, sha = alarm.model.partition("@")
    why = f"{alarm.source} on {alarm.instrument}: {alarm.text}"[:_WHY_MAX]
    whole, damaged = registry.sorted_out()
    standing = next((one for one in whole if alarm.model in (one.champion, one.canary)), None)
    if standing is None and damaged:
        raise damaged[0][1]  # it may be the one of which it is champion
    if standing is None:
        return ""
    if alarm.model == standing.canary:
        retire(registry, name, sha, who=WHO, why=why, now_ns=now_ns, sequence=standing.sequence)
        return f"{alarm.model} is canary no more: {why}"
    if not standing.earlier:
        return f"{alarm.model} stays champion, there is none before it: {why}"
    after = rollback(
        registry,
        name,
        scope=standing.scope.text,
        who=WHO,
        why=why,
        force=False,
        now_ns=now_ns,
        sequence=standing.sequence,
    )
    return f"{after.champion} is champion again in place of {alarm.model}: {why}"
