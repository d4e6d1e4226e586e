"""What a verdict or an alarm does in the registry, where it may do that without asking (``models.rollout.automatic``).

Owns the steps: shadow, canary, champion, and the way back.  The registry checks and records each as any other change
(``who`` is ``rollout``); a running daemon follows it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.errors import BundleError
from models.observer.observer import CANARY, SHADOW, Alarmed, Judged, Weighed
from models.observer.rollout import RolloutRules
from models.registry.promotion import promote, retire, rollback
from models.registry.store import Registry

WHO: Final = "rollout"
_WHY_MAX: Final = 500


def carry_out(told: Alarmed | Judged | Weighed, registry: Registry, rules: RolloutRules, now_ns: int) -> str:
    """What was done, in a line; empty where nothing was.  What the registry refuses is said and left."""
    if not rules.automatic or isinstance(told, Weighed):
        return ""
    try:
        if isinstance(told, Judged):
            return _follow_verdict(told, registry, rules, now_ns)
        return _follow_alarm(told, registry, now_ns)
    except BundleError as error:
        return f"not done for {told.model}: {error}"


def _follow_verdict(judged: Judged, registry: Registry, rules: RolloutRules, now_ns: int) -> str:
    name, _, sha = judged.model.partition("@")
    why = judged.verdict.why[:_WHY_MAX]
    if judged.verdict.said == "promote" and judged.role == SHADOW:
        share = Decimal(str(rules.canary_share))
        promote(registry, name, sha, to="canary", share=share, who=WHO, why=why, now_ns=now_ns)
        return f"{judged.model} is canary with {share} of the size: {why}"
    if judged.verdict.said == "promote" and judged.role == CANARY:
        promote(registry, name, sha, who=WHO, why=why, now_ns=now_ns)
        return f"{judged.model} is champion in place of {judged.champion}: {why}"
    if judged.verdict.said == "demote":
        retire(registry, name, sha, who=WHO, why=why, now_ns=now_ns)
        return f"{judged.model} is retired: {why}"
    return ""


def _follow_alarm(alarm: Alarmed, registry: Registry, now_ns: int) -> str:
    """A champion that is stopped gives way to the one before it; a canary goes."""
    if alarm.action != "stop":
        return ""
    name, _, sha = alarm.model.partition("@")
    why = f"{alarm.source} on {alarm.instrument}: {alarm.text}"[:_WHY_MAX]
    standing = next((one for one in registry.standings() if alarm.model in (one.champion, one.canary)), None)
    if standing is None:
        return ""
    if alarm.model == standing.canary:
        retire(registry, name, sha, who=WHO, why=why, now_ns=now_ns)
        return f"{alarm.model} is canary no more: {why}"
    if not standing.earlier:
        return f"{alarm.model} stays champion, there is none before it: {why}"
    after = rollback(registry, name, scope=standing.scope.text, who=WHO, why=why, force=False, now_ns=now_ns)
    return f"{after.champion} is champion again in place of {alarm.model}: {why}"
