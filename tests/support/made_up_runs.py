"""Training runs on made-up data, written through the trainer's own types: what a network of known skill would leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from engine.durable import append_synced
from models.evaluation.description import (
    Columns,
    Environment,
    EpochLine,
    Figure,
    Kind,
    RunData,
    Task,
    describe_part,
)
from models.evaluation.ledger import Ledger, Opening
from models.evaluation.losses import two_classes
from models.evaluation.rows import Predictions, Rows, Series
from models.evaluation.run_folder import METRICS, RunFolder

DAY_NS = 86_400_000_000_000
FIRST_DAY = 18_000
NAMES = ("AAA/USD@made_up", "BBB/USD@made_up", "CCC/USD@made_up")
SHARES = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}
NOW_NS = 1_760_000_000_000_000_000
ENVIRONMENT = Environment(commit="0" * 40, python="3.11.0", libraries={"numpy": "2.4.6"})


@dataclass(frozen=True)
class MadeUp:
    """All rows of a market, sorted by time then instrument, and what an oracle knows of them."""

    task: Task
    features: tuple[str, ...]
    rows: Rows
    oracle: np.ndarray  # (N, K) probabilities or (N, 1)

    def part(self, name: str) -> tuple[Rows, np.ndarray]:
        """Rows between two dates, without the three before a cut (purge); the series with every bar."""
        dates = np.unique(self.rows.ts_ns)
        low, high = (int(share * len(dates)) for share in SHARES[name])
        kept = np.isin(self.rows.ts_ns, dates[low : high - 3])
        part = self.rows.where(kept)
        if part.series is not None:
            inside = (part.series.ts_ns >= dates[low]) & (part.series.ts_ns <= dates[high - 1])
            series = Series(*(getattr(part.series, n)[inside] for n in ("instrument", "ts_ns", "log_return")))
            part = replace(part, series=series)
        return part, self.oracle[kept]


def market(dates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Daily volatility that clusters (GARCH(1,1), Student's t) and log returns without direction: ``(dates, 3)`` each.

    The volatility is known the day before; nothing else of the return is.
    """
    random = np.random.default_rng(seed)
    shocks = random.standard_t(5, (dates, len(NAMES))) / np.sqrt(5 / 3)
    variance = np.empty((dates, len(NAMES)))
    returns = np.empty_like(variance)
    variance[0] = 1e-4
    for day in range(dates):
        if day:
            variance[day] = 2e-6 + 0.12 * returns[day - 1] ** 2 + 0.86 * variance[day - 1]
        returns[day] = np.sqrt(variance[day]) * shocks[day]
    return np.sqrt(variance), returns


def flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1)


def identities(dates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Instrument and time of every row of ``dates``."""
    return np.tile(np.arange(len(NAMES)), len(dates)), np.repeat((FIRST_DAY + dates) * DAY_NS, len(NAMES))


def three_classes(dates: int = 500, seed: int = 1, **task: object) -> MadeUp:
    """DOWN, FLAT, UP at 0.5 %: how much it moves can be known, where to cannot."""
    from scipy.stats import t

    volatility, returns = market(dates + 1, seed)
    threshold = 0.005
    label = np.where(returns[1:] > threshold, 2, np.where(returns[1:] < -threshold, 0, 1))
    past = np.where(returns[:-1] > threshold, 2, np.where(returns[:-1] < -threshold, 0, 1))
    tail = t.sf(threshold / volatility[1:] * np.sqrt(5 / 3), 5)
    oracle = np.stack([flat(tail), 1 - 2 * flat(tail), flat(tail)], axis=1)
    random = np.random.default_rng(seed + 100)
    known = np.log(volatility[1:]) + random.normal(0, 0.2, volatility[1:].shape)
    features = np.stack([flat(known), flat(returns[:-1]), random.normal(size=known.size)], axis=1)
    instrument, ts_ns = identities(np.arange(dates))
    rows = Rows(instrument, ts_ns, flat(label).astype(float), features.astype(np.float32), flat(past).astype(float))
    return MadeUp(
        Task(
            name="next-day class",
            kind="classes",
            horizon_s=86_400,
            primary="log_loss",
            classes=("DOWN", "FLAT", "UP"),
            down="DOWN",
            up="UP",
            columns=Columns(volatility="volatility", regime="volatility"),
            figures=(Figure("published", "log_loss", 1.3, "somewhere"),),
            **task,
        ),
        ("volatility", "last_return", "noise"),
        rows,
        oracle,
    )


def signal(dates: int = 500, seed: int = 2) -> MadeUp:
    """A rare BUY whose chance grows with the range of the last day."""
    random = np.random.default_rng(seed)
    instrument, ts_ns = identities(np.arange(dates))
    ranges = random.normal(size=len(ts_ns))
    chance = 1 / (1 + np.exp(3.0 - 1.2 * ranges))
    label = (random.random(len(ts_ns)) < chance).astype(float)
    features = np.stack([ranges, random.normal(size=len(ts_ns))], axis=1).astype(np.float32)
    return MadeUp(
        Task(
            name="buy signal",
            kind="classes",
            horizon_s=28_800,
            primary="pr_auc",
            classes=("WAIT", "BUY"),
            signal="BUY",
            break_even=0.05,
            columns=Columns(rules=("range24",)),
        ),
        ("range24", "noise"),
        Rows(instrument, ts_ns, label, features),
        two_classes(chance),
    )


def variance(dates: int = 900, seed: int = 3) -> MadeUp:
    """Next day's variance, measured by twenty steps within the day, of a GARCH-t market."""
    volatility, returns = market(dates + 23, seed)
    random = np.random.default_rng(seed + 100)
    measured = volatility**2 * random.chisquare(20, volatility.shape) / 20
    logs = np.log(measured)
    days = np.arange(22, dates + 22)
    week, month = (np.stack([logs[day - n + 1 : day + 1].mean(axis=0) for day in days]) for n in (5, 22))
    features = np.stack([flat(logs[days]), flat(week), flat(month), flat(returns[days])], axis=1)
    instrument, ts_ns = identities(days)
    every, times = identities(np.arange(dates + 23))
    rows = Rows(
        instrument,
        ts_ns,
        flat(measured[days + 1]),
        features.astype(np.float32),
        flat(measured[days]),
        Series(every, times, flat(returns)),
    )
    har = ("log_day", "log_week", "log_month")
    return MadeUp(
        Task(name="variance", kind="variance", horizon_s=86_400, primary="qlike", columns=Columns(har=har)),
        (*har, "last_return"),
        rows,
        flat(volatility[days + 1] ** 2)[:, None],
    )


def returns(dates: int = 500, seed: int = 4) -> MadeUp:
    """Next day's return, of which nothing can be known."""
    _, made = market(dates + 1, seed)
    instrument, ts_ns = identities(np.arange(dates))
    rows = Rows(instrument, ts_ns, flat(made[1:]), flat(made[:-1]).astype(np.float32)[:, None])
    task = Task(name="next-day return", kind="return", horizon_s=86_400, primary="r2_oos")
    return MadeUp(task, ("last_return",), rows, np.zeros((len(ts_ns), 1)))


def seeds_of(oracle: np.ndarray, kind: Kind, noise: float, seeds: tuple[int, ...]) -> np.ndarray:
    """What seeds of a network would say: the oracle with noise of their own, ``(S, N, K)``."""
    said = []
    for seed in seeds:
        blur = np.random.default_rng(1000 + seed).normal(0, noise, oracle.shape)
        if kind == "classes":
            raised = np.clip(oracle, 1e-4, 1) * np.exp(blur)
            said.append(raised / raised.sum(axis=1, keepdims=True))
        elif kind == "variance":
            said.append(oracle * np.exp(blur))
        else:
            said.append(oracle + 1e-4 * blur)
    return np.stack(said)


def write_run(
    folder: Path,
    made: MadeUp,
    *,
    noise: float = 0.1,
    seeds: tuple[int, ...] = (1, 2),
    shut: bool = False,
    change: Callable[[str, Rows], Rows] = lambda _part, rows: rows,
) -> RunFolder:
    """A run as the trainer leaves it; ``shut``: without predictions of the test part."""
    parts = {name: made.part(name) for name in SHARES}
    parts = {name: (change(name, rows), oracle) for name, (rows, oracle) in parts.items()}
    data = RunData(
        task=made.task,
        fingerprint="f" * 64,
        sources={"made-up": "0" * 64},
        instruments=NAMES,
        features=made.features,
        parts={name: describe_part(rows, NAMES) for name, (rows, _) in parts.items()},
        seeds=seeds,
        network="oracle",
        parameters=3,
    )
    run = RunFolder.create(folder, data, ENVIRONMENT, b"task: made-up\n")
    for seed in seeds:
        for epoch in range(3):
            scores = {"log_loss": 1.0 - 0.1 * epoch + 0.01 * seed}
            told = EpochLine(seed, epoch, scores, {"log_loss": scores["log_loss"] + 0.02})
            append_synced(run.path / METRICS, msgspec.json.encode(told) + b"\n")
    for name, (rows, oracle) in parts.items():
        run.write_rows(name, rows)
        said = Predictions(rows.instrument, rows.ts_ns, seeds_of(oracle, made.task.kind, noise, seeds), seeds)
        if name != "test":
            run.write_predictions(name, said)
        elif not shut:
            run.write_test_predictions(said, open_test(run, folder.parent / "training-ledger.jsonl"))
    return run


def open_test(run: RunFolder, ledger: Path) -> Opening:
    return Ledger(ledger).open(
        run.test_set(), run="made-up", commit="", config_sha256="", data_fingerprint="", now_ns=NOW_NS
    )


def rewrite(run: RunFolder, **changes: object) -> None:
    """``data.json`` with other values."""
    path = run.path / "data.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(run.data, **changes)))
