from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from models.splits import Spans, calendar_split, cuts_by_text
from models.tuning.folds import runs_of, stretches
from models.tuning.settings import Folds

DAY_NS = 86_400_000_000_000
PLAIN = {"name": "a", "split": {"validation_from": "2020-01-01", "test_from": "2020-12-26"}}


def test_stretches_tile_the_validation_part():
    """360 days in three: each begins where the one before ends, the first and the last with the part."""
    found = stretches(PLAIN, 3)
    assert [begin[:10] for begin, _ in found] == ["2020-01-01", "2020-04-30", "2020-08-28"]
    assert [end[:10] for _, end in found] == ["2020-04-30", "2020-08-28", "2020-12-26"]


def test_no_fold_learns_from_its_stretch_or_later_nor_reads_the_test():
    """Daily samples with windows of 5 days and labels of 3, through the split that a run makes of a fold."""
    days = np.arange(18_000, 18_800) * DAY_NS
    spans = Spans(days - 5 * DAY_NS, days, days + 3 * DAY_NS)
    whole = calendar_split(spans, cuts_by_text("2020-01-01", "2020-12-26"))
    judged = []
    for plain in runs_of(PLAIN, Folds("walk_forward", 3)):
        begin, end = cuts_by_text(plain["split"]["validation_from"], plain["split"]["test_from"])
        split = calendar_split(spans, (begin, end))
        assert spans.end_ns[split.train.index].max() < begin
        assert spans[split.train.index].apart_from(spans[split.validation.index]).all()
        assert spans.end_ns[split.validation.index].max() < cuts_by_text("2020-01-01", "2020-12-26")[1]
        judged.append(split.validation.index)
    together = np.concatenate(judged)
    assert len(together) == len(set(together.tolist()))
    assert set(together.tolist()) <= set(whole.validation.index.tolist())


def test_purged_folds_are_of_all_that_lies_before_the_test():
    """Also of a split by shares; the settings of the base are not changed."""
    shares = {"split": {"train": 0.6}}
    found = runs_of(shares, Folds("purged", 4))
    assert [one["split"] for one in found] == [
        {"train": 0.6, "purged": {"folds": 4, "fold": fold}} for fold in (1, 2, 3, 4)
    ]
    assert shares == {"split": {"train": 0.6}}


def test_without_folds_the_settings_stay_as_they_are():
    """And a split by shares, or more folds than days, is one line."""
    assert runs_of(PLAIN, Folds()) == [PLAIN]
    with pytest.raises(ConfigError, match="folds of a split by shares"):
        runs_of({"split": {"train": 0.6}}, Folds("walk_forward"))
    short = {"split": {"validation_from": "2020-01-01", "test_from": "2020-01-03"}}
    with pytest.raises(ConfigError, match="3 folds from 2020-01-01 to 2020-01-03; expected a day or more each"):
        runs_of(short, Folds("walk_forward", 3))
