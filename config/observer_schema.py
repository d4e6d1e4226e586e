"""Settings of what watches models while they serve, and of how a challenger becomes champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from config.sections import Section
from models.observer.rollout import RolloutRules
from models.observer.rules import Action, WatchRules


class WatchSettings(Section):
    enabled: Literal["auto", True, False] = Field(
        default="auto",
        description="a process that runs shadows and watches models; auto: where the registry has a champion, canary "
        "or shadow",
    )
    window_rows: int = Field(default=5_000, ge=100, le=1_000_000, description="rows that drift is measured over")
    reference_rows: int = Field(
        default=2_000,
        ge=100,
        le=100_000,
        description="first rows of a session that drift is measured against, of a bundle that does not tell its own",
    )
    psi_max: float = Field(default=0.25, gt=0, description="population stability index of an input or of the forecast")
    psi_columns: int = Field(default=3, ge=1, description="inputs beyond it that are an alarm")
    adwin_delta: float = Field(
        default=0.002,
        gt=0,
        lt=1,
        description="how likely ADWIN sees a change where there is none: of the log-loss ever, of an input at a look",
    )
    adwin_columns: int = Field(
        default=3, ge=1, description="inputs in which ADWIN saw a change within window_rows rows that are an alarm"
    )
    ece_max: float = Field(default=0.1, gt=0, le=1, description="calibration error of matured predictions")
    matured_min: int = Field(default=500, ge=100, description="matured predictions before calibration is judged")
    hits_short_max: float = Field(
        default=0.1, gt=0, le=0.5, description="share of sure predictions that came true, below what they said"
    )
    variance_ratio_max: float = Field(
        default=2.0,
        ge=1.5,
        le=100,
        description="realised by predicted variance, on average, and one over it the least; 2: volatility by 1.4",
    )
    late_share_max: float = Field(default=0.05, ge=0, le=1, description="share of predictions that are late")
    skew_every: int = Field(
        default=50, ge=1, description="of so many live predictions one is made again of rows rebuilt from the journal"
    )
    skew_max: int = Field(default=3, ge=1, description="predictions that differ then")
    factor: float = Field(default=0.5, gt=0, lt=1, description="what size_down leaves of the size of an entry")
    psi: Action = Field(default="alert", description="what is done when inputs drift: alert, size_down, stop or none")
    adwin_inputs: Action = Field(default="alert", description="when ADWIN sees inputs change")
    adwin: Action = Field(default="alert", description="when ADWIN sees the log-loss rise")
    calibration: Action = Field(default="alert", description="when probabilities do not mean what they say")
    hits: Action = Field(default="alert", description="when sure predictions come true too seldom")
    volatility: Action = Field(default="alert", description="when realised volatility is not what was predicted")
    skew: Action = Field(default="alert", description="when live predictions differ from those made again")
    output: Action = Field(default="alert", description="when the forecast drifts")
    latency: Action = Field(default="alert", description="when too many predictions are late")
    restarts_max: int = Field(default=3, ge=0, le=100, description="times that process is started again in a session")
    predictions_mb: int = Field(default=32, ge=1, le=10_000, description="of shadows' predictions that are kept, MB")

    def rules(self) -> WatchRules:
        return WatchRules(**self.model_dump(exclude={"enabled", "restarts_max", "predictions_mb"}))


class RolloutSettings(Section):
    follow: bool = Field(
        default=True,
        description="a running session takes whoever the registry makes champion or canary; false: at its start alone",
    )
    automatic: bool = Field(
        default=False,
        description="a challenger that passes its tests is promoted, one that fails goes, unasked; feed live alone",
    )
    signals_min: int = Field(
        default=200, ge=20, description="signals of a challenger with an outcome, before it is judged"
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="how likely a challenger that is not better is ever promoted; that it is demoted is likelier",
    )
    ece_rise_max: float = Field(
        default=0.01, ge=0, le=1, description="calibration error of a challenger above the champion's"
    )
    canary_share: float = Field(default=0.05, gt=0, le=0.5, description="share of the size that a canary gets")
    span_s: float = Field(
        default=60.0, gt=0, le=86_400, description="losses and profits are added up over spans of that length, s"
    )

    profit_max_bps: float = Field(
        default=100.0,
        gt=0,
        le=10_000,
        description="bound of a difference of profit in such a span and instrument, bps; who lost more is not promoted",
    )

    days_min: int = Field(
        default=5, ge=1, le=365, description="days (UTC) on which both were compared, before a challenger is promoted"
    )

    def rules(self, deadline_us: float) -> RolloutRules:
        """``deadline_us``: what the p99 of a challenger has to keep."""
        return RolloutRules(
            automatic=self.automatic,
            signals_min=self.signals_min,
            alpha=self.alpha,
            ece_rise_max=self.ece_rise_max,
            latency_us_max=deadline_us,
            canary_share=self.canary_share,
            span_s=self.span_s,
            profit_max_bps=self.profit_max_bps,
            days_min=self.days_min,
        )
