from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError, DataError
from models.evaluation.description import Environment, PartInfo, RunData, Task, describe_part
from models.evaluation.rows import Predictions, Rows
from models.evaluation.run_folder import RunFolder
from models.evaluation.selection import judge_selection
from models.tuning.log import TrialLine
from models.tuning.profit import all_returns, daily_returns, keep_returns
from models.tuning.trial import Outcome
from tests.support import made_up_runs as made_up

DAY_NS = 86_400_000_000_000
HOUR_NS = DAY_NS // 24
COSTS = {"cost_bps": 10.0, "gain_bps": 0.0, "loss_bps": 0.0, "periods_per_year": 252}


def run_of(path, task, rows, values):
    """A run whose validation part is ``rows``, of which ``values (S, N, K)`` were said."""
    part = describe_part(rows, ("A", "B"))
    before, after = int(rows.ts_ns.min()) - 1, int(rows.ts_ns.max()) + 1
    parts = {"train": PartInfo(1, before, before, ""), "validation": part, "test": PartInfo(1, after, after, "")}
    seeds = tuple(range(len(values)))
    data = RunData(task, "f", {}, ("A", "B"), ("x",), parts, seeds, "mlp")
    run = RunFolder.create(path, data, Environment("c", "3.11", {}), b"")
    run.write_rows("validation", rows)
    run.write_predictions("validation", Predictions(rows.instrument, rows.ts_ns, np.asarray(values), seeds))
    return run


def rows_of(instrument, hours, label):
    count = len(hours)
    return Rows(
        np.asarray(instrument), np.asarray(hours) * HOUR_NS, np.asarray(label, float), np.zeros((count, 1), np.float32)
    )


def test_a_return_is_held_beyond_its_cost_and_shared_between_instruments(tmp_path):
    """By hand: long, short, not worth it; two instruments on the first day, a second seed that never trades."""
    rows = rows_of([0, 1, 0, 1], [0, 0, 24, 24], [0.02, -0.01, 0.03, 0.05])
    said = [[[0.01], [-0.02], [0.0005], [-0.004]], [[0.0]] * 4]
    task = Task("next", "return", 86_400.0, "r2_oos")
    days, net = daily_returns(run_of(tmp_path / "a", task, rows, said), COSTS)
    assert days.tolist() == [0, DAY_NS]
    first = (np.expm1(0.02) - 0.001) + (-np.expm1(-0.01) - 0.001)
    second = -np.expm1(0.05) - 0.001
    assert net == pytest.approx([first / 2 / 2, second / 2 / 2])
    slow = Task("five", "return", 5 * 86_400.0, "r2_oos", horizon_rows=5)
    assert daily_returns(run_of(tmp_path / "b", slow, rows, said), COSTS)[1] == pytest.approx(net / 5)


def test_a_signal_is_bought_once_an_episode_by_the_other_halfs_threshold(tmp_path):
    """By hand: the first half's best threshold is 0.9, the second's 0.4; each is used on the other.

    Two signals in eight hours are one position; a win brings 500 bps, a miss takes 200, both less 20.
    """
    hours = [0, 1, 20, 48, 49, 70]
    p = [0.5, 0.9, 0.1, 0.95, 0.4, 0.3]
    label = [0, 1, 0, 1, 1, 0]
    rows = rows_of([0] * 6, hours, label)
    task = Task("buy", "classes", 8 * 3600.0, "pr_auc", classes=("WAIT", "BUY"), signal="BUY")
    run = run_of(tmp_path / "a", task, rows, [[[1 - one, one] for one in p]])
    costs = COSTS | {"gain_bps": 500.0, "loss_bps": 200.0, "cost_bps": 20.0}
    days, net = daily_returns(run, costs)
    assert (days // DAY_NS).tolist() == [0, 2]
    # Day 0, from 0.4 on: hour 0 is bought and misses; hour 1 lies in its episode.  Day 2, from 0.9 on: hour 48 wins.
    assert net == pytest.approx([-0.022, 0.048])
    with pytest.raises(ConfigError, match="profit of a signal without gain_bps"):
        daily_returns(run, COSTS)


def test_tasks_whose_rows_tell_no_prices_are_pending(tmp_path):
    """Three classes of a move, a variance: no figure is made up."""
    for number, made in enumerate((made_up.three_classes(200), made_up.variance(300))):
        run = made_up.write_run(tmp_path / str(number), made, seeds=(1,))
        with pytest.raises(ConfigError, match="is pending: its rows tell no prices, and there is no back-test yet"):
            daily_returns(run, COSTS)


def test_every_trial_counts_also_the_failed_ones(tmp_path):
    """Three trials with returns, one without: four columns, and the deflation knows four."""
    days = tuple(range(0, 64 * DAY_NS, DAY_NS))
    chance = np.random.default_rng(1)
    net = {number: tuple((0.001 * number + 0.01 * chance.standard_normal(64)).tolist()) for number in (0, 1, 3)}
    for number, one in net.items():
        keep_returns(tmp_path, number, Outcome("complete", (1.0,), days_ns=days, net=one))
    keep_returns(tmp_path, 2, Outcome("failed", error="x"))
    lines = [TrialLine(number, "complete", {}, "t") for number in (0, 3, 2, 1)]
    trials = all_returns(tmp_path, lines, 3, 252)
    assert trials.names == ("trial-0", "trial-3", "trial-2", "trial-1")
    assert trials.chosen == 1
    assert trials.returns[:, 1].tolist() == list(net[3])
    assert not trials.returns[:, 2].any()
    pytest.importorskip("skfolio")
    judged = judge_selection(trials.returns, trials.chosen, trials.periods_per_year)
    assert judged.trials == 4
    assert judged.dsr < judged.psr
    assert all_returns(tmp_path, lines, 2, 252) is None
    keep_returns(tmp_path, 2, Outcome("complete", (1.0,), days_ns=days[1:], net=net[0][1:]))
    with pytest.raises(DataError, match="trial 2 has returns of other days than trial 3"):
        all_returns(tmp_path, lines, 3, 252)
