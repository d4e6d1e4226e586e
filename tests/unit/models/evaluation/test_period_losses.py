from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.evaluation.draws import Draws, mean_estimate
from models.evaluation.period_losses import PeriodLosses, common, paired, period_losses, read, write
from models.evaluation.scoring import Scored

DAY_NS = 86_400_000_000_000


def scored(name: str, loss: np.ndarray) -> Scored:
    return Scored(name, "baseline", {}, loss, loss)


@pytest.fixture
def made() -> tuple[PeriodLosses, np.ndarray, Draws]:
    """Two forecasts of 60 days, of three rows a day on even ones and one on odd ones."""
    days = np.repeat(np.arange(60), np.where(np.arange(60) % 2, 1, 3))
    ts_ns = days * DAY_NS + np.arange(len(days))
    random = np.random.default_rng(3)
    first, second = random.random(len(days)), random.random(len(days))
    draws = Draws.cut(ts_ns, 86_400.0)
    losses = period_losses("test", ts_ns, [scored("a", first), scored("b", second)], draws)
    return losses, first - second, draws


def test_the_paired_difference_is_that_of_the_rows(made):
    """Value and interval as from all rows themselves, up to the six digits that are kept."""
    losses, gap, draws = made
    ours, truth = paired([losses], [losses], "a", "b").metric, mean_estimate(gap, draws).metric
    assert ours.value == pytest.approx(truth.value, abs=1e-5)
    assert ours.low == pytest.approx(truth.low, abs=1e-5)
    assert ours.high == pytest.approx(truth.high, abs=1e-5)


def test_periods_know_their_time_and_their_rows(made):
    losses, _, _ = made
    assert losses.rows == tuple(3 if day % 2 == 0 else 1 for day in range(60))
    assert [first // DAY_NS for first in losses.first_ns] == list(range(60))


def test_files_that_follow_each_other_count_by_their_rows(made):
    losses, _, _ = made
    constant = PeriodLosses("later", 1, (0, 1), (10, 30), {"a": (1.0, 2.0), "b": (0.0, 0.0)})
    both = paired([losses, constant], [losses, constant], "a", "b").value
    alone = paired([losses], [losses], "a", "b").value
    assert both == pytest.approx((alone * sum(losses.rows) + 70.0) / (sum(losses.rows) + 40))


def test_tests_that_begin_and_end_elsewhere_are_compared_by_what_they_share(made):
    """A period with fewer rows than the other's is no common one."""
    losses, _, _ = made
    later = {name: values[5:] for name, values in losses.losses.items()}
    shorter = PeriodLosses("short", losses.block, losses.first_ns[5:], (9, *losses.rows[6:]), later)
    ours, theirs = common(losses, shorter)
    assert ours.rows == theirs.rows == losses.rows[6:]
    assert ours.losses["a"] == losses.losses["a"][6:]
    assert paired([ours], [theirs], "a", "a").value == 0


def test_other_rows_and_unknown_forecasts_are_refused(made):
    losses, _, _ = made
    other = PeriodLosses("other", losses.block, losses.first_ns, losses.rows, losses.losses)
    with pytest.raises(DataError, match="losses of other test rows"):
        paired([losses], [other], "a", "b")
    with pytest.raises(DataError, match="no losses of 'c'"):
        paired([losses], [losses], "a", "c")


def test_what_is_written_is_read_again_and_what_is_damaged_is_told(made, tmp_path):
    losses, _, _ = made
    write(tmp_path, losses)
    assert read(tmp_path) == losses
    assert set(losses.only(["a", "x"]).losses) == {"a"}
    (tmp_path / "period-losses.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path)
