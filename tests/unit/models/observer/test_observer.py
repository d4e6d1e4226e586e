"""A session is watched from its record: rows and outcomes as they were, skew and drift where they are planted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine import events as e
from engine.codec import decode, encode
from engine.runtime.model_requests import ALARM, WEIGH
from engine.runtime.observer_process import request_of
from models.observer.told import Weighed
from tests.support.watched import BTC, EVENTS, Altered, Played, alarmed, figures, play


@pytest.mark.fault("E9")
def test_every_live_prediction_is_made_again_to_the_bit_from_rebuilt_rows(played: Played) -> None:
    """The records go through the journal's own bytes first."""
    again = replace(played, records=[decode(encode(record)) for record in played.records])
    observer = again.watched_by(again.observer(skew_every=1, skew="stop"))
    (found,) = figures(observer).values()
    made = sum(isinstance(record, e.Prediction) for record in played.records)
    assert made > 3_000
    assert (found["predictions"], found["compared"], found["equal"], found["unmatched"]) == (made, made, made, 0)
    assert not [told for told in alarmed(observer) if told.source == "skew"]
    assert observer.troubles == {}


@pytest.mark.fault("E9")
def test_a_prediction_that_tells_its_spread_is_compared_by_its_forecast(played: Played) -> None:
    """The spread is another graph's, and is not run here: a skew behind it was seen by nobody."""

    def spread(record: Any) -> Any:
        made = isinstance(record, e.Prediction) and record.values
        return msgspec.structs.replace(record, values=(*record.values, 0.1)) if made else record

    again = replace(played, records=[spread(record) for record in played.records])
    (found,) = figures(again.watched_by(again.observer(skew_every=1))).values()
    assert found["compared"] == found["equal"] == found["predictions"] > 3_000


@pytest.mark.fault("E9")
def test_a_column_that_the_live_process_computes_otherwise_is_seen(market_data: Path, tmp_path: Path) -> None:
    """Its sign is wrong on the way into the model; the record of the market is as it was."""
    skewed = play(market_data, tmp_path / "registry", 1_500, assembly=Altered)
    observer = skewed.watched_by(skewed.observer(skew="stop"))
    told = [one for one in alarmed(observer) if one.source == "skew"]
    assert [(one.instrument, one.action) for one in told] == [(BTC, "stop")]
    assert "predictions differ when made again of rebuilt rows" in told[0].text


def test_a_cleared_alarm_counts_anew_and_one_on_record_is_not_told_again(market_data: Path, tmp_path: Path) -> None:
    """A restart reads what was told and cleared; nothing is told on the way; a defect that goes on is seen again."""
    skewed = play(market_data, tmp_path / "registry", 1_500, assembly=Altered)
    observer = skewed.observer(skew="stop")
    model = next(record.model for record in skewed.records if isinstance(record, e.Prediction))
    stop = e.ModelAlarmed(1, 1, BTC, model, "skew", "stop", 0.5, "differ")
    for record in skewed.records[:1_800]:
        observer.take(record)
    assert observer.look(caught_up=False) == []
    observer.take(stop)
    assert not [one for one in alarmed(observer) if one.source == "skew"]
    observer.take(msgspec.structs.replace(stop, source="", action="clear"))
    assert not [one for one in alarmed(observer) if one.source == "skew"]
    for record in skewed.records[1_800:]:
        observer.take(record)
    assert [one.action for one in alarmed(observer) if one.source == "skew"] == ["stop"]


def test_a_late_answer_is_no_signal(played: Played) -> None:
    def late(record: Any) -> Any:
        made = isinstance(record, e.Prediction) and record.values
        return msgspec.structs.replace(record, status=e.PredictionStatus.LATE) if made else record

    again = replace(played, records=[late(record) for record in played.records])
    (found,) = figures(again.watched_by(again.observer())).values()
    assert found["late"] == found["predictions"] > 3_000
    assert found["matured"] > 1_000
    assert not found.get("signals")


def test_outcomes_are_those_that_the_record_shows(played: Played) -> None:
    """Losses by hand: the prices that the model was asked at, fifty rows later against now."""
    observer = played.watched_by(played.observer())
    (found,) = figures(observer).values()
    (track,) = observer._tracks
    horizon = 50
    rows = {track.rows.recv_ns(row): row for row in range(track.rows.count)}
    losses = []
    for record in played.records:
        if not isinstance(record, e.Prediction):
            continue
        row = rows[record.ts_recv_ns]
        if row + horizon < track.rows.count and (then := track.rows.px(row + horizon)) != (now := track.rows.px(row)):
            p = record.values[0] if then > now else 1.0 - record.values[0]
            losses.append(-math.log(max(p, 1e-6)))
    assert found["matured"] == pytest.approx(len(losses), abs=horizon)
    assert found["log_loss"] == pytest.approx(np.mean(losses), rel=0.02)
    assert 0 < found["signals"] <= found["predictions"] / horizon, "signals that overlap are one"
    assert -40 < found["profit_bps"] < 0, "fees of 10 bps a round trip and no move that pays for them"


def test_the_members_of_a_mixture_are_weighed_by_what_they_lost(played: Played) -> None:
    """The record as if two members had served as one: the bundle, and its contrary.  Told as the request that the
    daemon takes; the mixture is no bundle, and nobody looks for one."""
    facts = (("output.p_up", 0.0), ("member.a@1", 2.0), ("share.a@1", 4.0), ("member.b@1", 3.0), ("share.b@1", 5.0))

    def mixed(record: Any) -> Any:
        if isinstance(record, e.ModelAssigned) and record.model:
            told = (*record.facts, *facts, ("recent_weights", 1.0))
            return msgspec.structs.replace(record, model="both@1", facts=told)
        if isinstance(record, e.Prediction) and record.values:
            (p,) = record.values
            values = (0.5, abs(p - 0.5), p, 1.0 - p, 0.5, 0.5)
            return msgspec.structs.replace(record, model="both@1", values=values)
        return record

    again = replace(played, records=[mixed(record) for record in played.records])
    observer = again.watched_by(again.observer())
    (told,) = [one for one in observer.look() if isinstance(one, Weighed) and one.instrument == BTC]
    assert told.model == "both@1"
    assert told.weights[0] > 0.9 > told.weights[1] > 0.0
    assert sum(told.weights) == pytest.approx(1.0)
    command, arguments = request_of(told)
    assert (command, arguments["weights"]) == (WEIGH, list(told.weights))
    assert observer.troubles == {}
    assert not [one for one in observer.look() if isinstance(one, Weighed)]


def test_members_of_a_mixture_that_forecast_returns_are_weighed_by_their_errors(played: Played) -> None:
    """What the bundle says as a return, and its contrary.  Read as a probability it rose half of the time at a
    probability of nothing: calibration out by a half, a loss of six nats, and weights of nothing."""
    numbers = (("horizon_rows", 50.0), ("output.h50", 0.0), ("bps.h50", 1e4), ("recent_weights", 1.0))
    facts = (*numbers, ("member.a@1", 2.0), ("share.a@1", 4.0), ("member.b@1", 3.0), ("share.b@1", 5.0))

    def mixed(record: Any) -> Any:
        if isinstance(record, e.ModelAssigned) and record.model:
            return msgspec.structs.replace(record, model="both@1", facts=facts)
        if isinstance(record, e.Prediction) and record.values:
            told = 5e-5 * (record.values[0] - 0.5)
            return msgspec.structs.replace(record, model="both@1", values=(told, 0.0, told, -told, 0.5, 0.5))
        return record

    again = replace(played, records=[mixed(record) for record in played.records])
    observer = again.watched_by(again.observer())
    found = figures(observer)["both@1"]
    assert found["predictions"] > 3_000
    assert found["matured"] > 1_000
    assert (found.get("log_loss"), found.get("ece")) == (None, None)
    assert found["hit_rate"] > 0.7, "the sign is that of the bundle's forecast"
    assert found["return_skill"] > 0.0
    assert found["miscalibration"] < 0.5
    assert found["calibration_slope"] > 0.0
    assert "coverage" not in found, "a mixture has no interval of validation rows"
    (told,) = [one for one in observer.look() if isinstance(one, Weighed)]
    assert told.model == "both@1"
    assert told.weights[0] > 0.9 > told.weights[1] > 0.0
    assert observer.troubles == {}


def test_a_return_is_a_signal_beyond_what_it_costs_where_no_strategy_says_from_where_on(played: Played) -> None:
    """A round trip is 10 bps of fees and the spread: forecasts of 9 are none, of 12 are."""

    def said(bps: float) -> dict[str, Any]:
        facts = (("horizon_rows", 50.0), ("output.h50", 0.0), ("bps.h50", 1e4))

        def told(record: Any) -> Any:
            if isinstance(record, e.ModelAssigned) and record.model:
                return msgspec.structs.replace(record, model="one@1", facts=facts)
            if isinstance(record, e.Prediction) and record.values:
                return msgspec.structs.replace(record, model="one@1", values=(bps * 1e-4,))
            return record

        again = replace(played, records=[told(record) for record in played.records])
        return figures(again.watched_by(again.observer()))["one@1"]

    assert said(9.0)["signals"] == 0
    found = said(12.0)
    assert 10 < found["signals"] <= found["predictions"] / 50
    assert found["profit_bps"] == pytest.approx(-10.0, abs=2.0)


@pytest.mark.fault("E10")
@pytest.mark.parametrize(("said", "sources"), [(1e-10, ["volatility"]), (1.6e-9, [])])
def test_a_mixture_that_says_too_little_volatility_is_an_alarm(played: Played, said: float, sources: list[str]) -> None:
    """Of the variance of fifty ticks, as the facts of the record tell; the daemon is asked for its action."""
    numbers = (("horizon_rows", 50.0), ("output.variance", 0.0), ("realised_variance.variance", 1.0))
    facts = (*numbers, ("member.a@1", 2.0), ("share.a@1", 4.0), ("member.b@1", 3.0), ("share.b@1", 5.0))

    def mixed(record: Any) -> Any:
        if isinstance(record, e.ModelAssigned) and record.model:
            return msgspec.structs.replace(record, model="both@1", facts=facts)
        if isinstance(record, e.Prediction) and record.values:
            return msgspec.structs.replace(record, model="both@1", values=(said, 0.0, said, said, 0.5, 0.5))
        return record

    again = replace(played, records=[mixed(record) for record in played.records])
    observer = again.watched_by(again.observer(volatility="size_down"))
    assert figures(observer)["both@1"]["variances"] > 1_000
    told = alarmed(observer)
    assert [one.source for one in told] == sources
    for one in told:
        command, arguments = request_of(one)
        assert (command, arguments["action"], arguments["factor"]) == (ALARM, "size_down", 0.5)


@pytest.mark.fault("E10")
def test_drift_injected_into_a_played_market_raises_its_alarm_with_the_action(
    market_data: Path, tmp_path: Path, played: Played
) -> None:
    """From the middle on spreads are twenty times as wide: the undisturbed session raises nothing of the kind."""
    watch = {"psi": "size_down", "window_rows": 1_000, "reference_rows": 1_000, "psi_max": 5.0, "psi_columns": 1}

    def widened(number: int, event: e.MarketEvent) -> e.MarketEvent:
        if number < 2_500 or not isinstance(event, e.Quote):
            return event
        half = 10 * (event.ask_px - event.bid_px)
        return msgspec.structs.replace(event, bid_px=event.bid_px - half, ask_px=event.ask_px + half)

    drifted = play(market_data, tmp_path / "registry", EVENTS, change=widened)
    told = alarmed(drifted.watched_by(drifted.observer(**watch)))
    assert [(one.source, one.action, one.factor) for one in told if one.source == "psi"] == [("psi", "size_down", 0.5)]
    assert "spread_bps" in told[0].text
    assert not [one for one in alarmed(played.watched_by(played.observer(**watch))) if one.source == "psi"]


def test_an_older_model_is_watched_while_it_stands_in(played: Played) -> None:
    """The champion is broken in the second half and the model before it predicts in its place."""
    assigned = next(one for one in played.records if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    half = len(played.records) // 2
    offered = e.ModelOffered(1, 1, BTC, "older", "before@1", assigned.spec, (*assigned.facts, ("horizon_rows", 50.0)))

    def stood_in(record: Any) -> Any:
        return msgspec.structs.replace(record, model="before@1") if isinstance(record, e.Prediction) else record

    at = played.records.index(assigned) + 1
    seated = e.ModelStanding(1, 1, BTC, "older", "before@1", "serving")
    records = [*played.records[:at], offered, seated, *played.records[at:half], *map(stood_in, played.records[half:])]
    observer = replace(played, records=records).watched_by(played.observer())
    found = figures(observer)["before@1"]
    assert found["role"] == "older"
    assert found["matured"] > 500
    assert found["unmatched"] == 0
    assert observer._comparisons.pairs == {}, "it is nobody's challenger"
    observer.take(e.ModelStanding(1, 1, BTC, "older", "before@1", "gone", 1.0, "the champion serves"))
    assert "before@1" not in figures(observer)


@pytest.mark.fault("E10")
@pytest.mark.parametrize("role", ["canary", "older"])
def test_a_canary_is_watched_on_where_another_offer_is_refused(played: Played, role: str) -> None:
    """Another version as canary, and the canary itself as the older one: the core refuses both, and it trades on."""
    at = next(i for i, one in enumerate(played.records) if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    assigned = played.records[at]
    assert isinstance(assigned, e.ModelAssigned)
    facts = (*assigned.facts, ("horizon_rows", 50.0))
    observer = replace(played, records=played.records[: at + 1]).watched_by(played.observer())
    observer.take(e.ModelOffered(1, 1, BTC, "canary", "new@1", assigned.spec, facts, 0.05))
    observer.take(e.ModelStanding(1, 1, BTC, "canary", "new@1", "serving"))
    other = "other@1" if role == "canary" else "new@1"
    observer.take(e.ModelOffered(2, 2, BTC, role, other, assigned.spec, facts, 0.05))
    observer.take(e.ModelStanding(2, 2, BTC, role, other, "gone", 1.0, "refused"))
    assert [(track.version, track.role) for track in observer._tracks][1:] == [("new@1", "canary")]
    observer.take(e.ModelStanding(3, 3, BTC, "canary", "new@1", "gone", 1.0, "retired"))
    assert len(observer._tracks) == 1


def test_a_canary_that_is_stopped_wins_nothing_beside_a_champion_that_loses(played: Played) -> None:
    """Its silence would be worth more than each signal of the champion's, and make it champion."""
    at = next(i for i, one in enumerate(played.records) if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    assigned = played.records[at]
    assert isinstance(assigned, e.ModelAssigned)
    facts = (*assigned.facts, ("horizon_rows", 50.0), ("buy", 0.5), ("sell", 0.5))
    observer = replace(played, records=played.records[: at + 1]).watched_by(played.observer())
    observer.take(e.ModelOffered(1, 1, BTC, "canary", "new@1", assigned.spec, facts, 0.05))
    observer.take(e.ModelStanding(1, 1, BTC, "canary", "new@1", "serving"))
    half = len(played.records) // 2
    for record in played.records[at + 1 : half]:
        observer.take(record)
        if isinstance(record, e.Prediction):
            observer.take(msgspec.structs.replace(record, model="new@1"))
    (pair,) = observer._comparisons.pairs.values()
    compared, signals = pair.open.signals, pair.champion_signals
    now_ns = observer.last_seq_ns
    observer.take(e.ModelStanding(now_ns, now_ns, BTC, "canary", "new@1", "stopped", 1.0, "stopped by operator"))
    for record in played.records[half:]:
        observer.take(record)
    assert pair.champion_signals > signals + 20
    assert pair.open.signals <= compared + 2, "those that were open by then, and no other"
    (verdict,) = [one.verdict for one in observer.judge_now()]
    assert verdict.said == "wait"
