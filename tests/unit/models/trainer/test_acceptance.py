"""What another way to compute a forecast may cost."""

from __future__ import annotations

import pytest

from models.trainer.acceptance import problems_of

SAME = {"macro_f1": 0.5, "ece": 0.02, "log_loss": 0.6}


@pytest.mark.parametrize(
    ("agreement", "after", "said"),
    [
        (0.99, SAME, []),
        (0.98, SAME, ["98.000 % of rows have the same class (at least 99 %)"]),
        (None, {"macro_f1": 0.498, "ece": 0.025, "log_loss": 0.6012}, []),
        (1.0, {**SAME, "log_loss": 0.602}, ["log_loss 0.6 becomes 0.602 (may rise by 0.2 %)"]),
        (None, {**SAME, "log_loss": float("inf")}, ["log_loss 0.6 becomes inf (may rise by 0.2 %)"]),
        (None, {**SAME, "log_loss": float("nan")}, ["log_loss 0.6 becomes nan (may rise by 0.2 %)"]),
        (
            1.0,
            {**SAME, "macro_f1": 0.497, "ece": 0.03},
            ["macro_f1 0.5 becomes 0.497 (may fall by 0.002)", "ece 0.02 becomes 0.03 (may rise by 0.005)"],
        ),
    ],
)
def test_every_number_that_is_not_allowed_is_told(agreement, after, said) -> None:
    assert problems_of(agreement, SAME, after, 0.99) == said
