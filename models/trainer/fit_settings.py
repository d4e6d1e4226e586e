"""What the loop is told: optimiser, schedule, loss, weights, and the switches of a GPU.

Owns these sections of a training file; ``models.trainer.settings`` owns the file.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from engine.errors import ConfigError
from models.labels import LabelSpec

Share = Annotated[float, Meta(ge=0, lt=1)]
Positive = Annotated[float, Meta(gt=0)]
AUTO: Final = "auto"
_SEEDS: Final = 2**32
"""What every generator here takes."""
_THREADS_MAX: Final = 1_024
"""Of a great many more torch ends the process."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a training file: a key that nobody knows is an error."""


class Schedule(Section, frozen=True):
    """How the learning rate moves.

    - ``cosine``: a linear warm-up over ``warm_up_share`` of all steps, then half a cosine down to ``floor`` of the rate
    - ``warm_restarts``: the same fall in cycles of ``cycle_epochs``, each ``cycle_growth`` times as long as the one
      before; ``fit.patience`` then counts cycles, since the first epochs after a restart are worse by design
    - ``one_cycle``: up for ``warm_up_share`` of all steps, then down (L. Smith, N. Topin, Super-convergence, 2018)
    - ``plateau``: times ``factor`` after more than ``patience`` epochs without a better validation
    - ``constant``
    """

    kind: Literal["cosine", "warm_restarts", "one_cycle", "plateau", "constant"] = "cosine"
    warm_up_share: Share = 0.1
    floor: Share = 0.0
    cycle_epochs: Annotated[int, Meta(ge=1)] = 4
    cycle_growth: Annotated[int, Meta(ge=1)] = 1
    factor: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Meta(ge=0)] = 1


class Loss(Section, frozen=True):
    """What is made small.  ``auto``: cross-entropy of classes, QLIKE of a variance, squares of a return.

    - ``weighted``: cross-entropy with ``class_weights``, or balanced ones where none are given; of two classes the
      weighted BCE
    - ``focal``: ``alpha (1 - p)^gamma`` times the cross-entropy (T.-Y. Lin et al. 2017); ``alpha`` is the second of
      two classes' weight, of more classes it weighs none
    - ``logit_adjusted``: cross-entropy of logits plus ``tau`` times the logarithm of the classes' shares in training
      (A. Menon et al. 2021).  Forecasts are made without the addition, as if all classes were equally frequent
    - ``mse``, ``huber`` (``delta``) on the standardised return or log variance; ``qlike`` on the variance
    """

    kind: Literal["auto", "cross_entropy", "weighted", "focal", "logit_adjusted", "mse", "huber", "qlike"] = "auto"
    class_weights: tuple[Positive, ...] = ()
    gamma: Annotated[float, Meta(ge=0, le=10)] = 2.0
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    tau: Annotated[float, Meta(gt=0, le=2)] = 1.0
    delta: Positive = 1.0


class Weights(Section, frozen=True):
    """What a training row counts.  ``uniqueness``: by how much its label shares with others that run at its time;
    ``classes``: so that all classes count alike.  ``as_``: a factor of the loss, or how often the row is drawn."""

    uniqueness: bool = False
    classes: bool = False
    as_: Literal["loss", "draws"] = msgspec.field(default="loss", name="as")


class Curriculum(Section, frozen=True):
    """For the first ``epochs`` the network learns an easier label with the same classes or of the same unit."""

    label: LabelSpec
    epochs: Annotated[int, Meta(ge=1)] = 2


class Gpu(Section, frozen=True):
    """Acts on a GPU alone; on a CPU all of it is left out.

    ``bf16``: automatic mixed precision; ``tf32``: for products of matrices; ``compile``: torch.compile for training,
    never for what is exported; ``flash_attention``: the fused kernels.
    """

    bf16: bool = False
    tf32: bool = True
    compile: bool = False
    flash_attention: bool = True


class Fit(Section, frozen=True):
    """``rows_per_epoch`` random training rows an epoch; ``eval_rows_max`` evenly spaced rows of validation and test.

    ``learning_rates``: of single parts of the network (of a hybrid: cnn, lstm, fusion, heads); the others take
    ``learning_rate``.  ``ema``: decay of averaged weights, which then are what is judged and kept; 0: none.
    ``swa_epochs``: in so many last ones the weights at their ends are averaged alike, and the average is judged (P.
    Izmailov et al. 2018); the rate must not fall, or there is nothing to average.
    ``monitor``: the validation score that chooses the epoch; empty: the loss of the task.  ``batch: auto``: the largest
    power of two that fits a GPU, 256 on a CPU.

    One thread by default: a batch takes 45 ms, a second thread saves little alone and loses much on a busy machine.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    epochs: int = 8
    patience: int = 2
    batch: int | Literal["auto"] = 256
    rows_per_epoch: int = 24_576
    eval_rows_max: int = 16_384
    learning_rate: float = 1e-3
    learning_rates: dict[str, float] = {}
    weight_decay: float = 1e-2
    label_smoothing: Share = 0.02
    threads: int = 1
    optimiser: Literal["adamw", "adam", "nadam", "rmsprop", "sgd"] = "adamw"
    momentum: Share = 0.9
    gradient_norm_max: Positive = 1.0
    schedule: Schedule = Schedule()
    ema: Share = 0.0
    monitor: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpu: Gpu = Gpu()
    # Not among the settings where it is not set: results of record are known by the hash of theirs.
    swa_epochs: Annotated[int, Meta(ge=2)] | msgspec.UnsetType = msgspec.UNSET

    def check(self) -> None:
        """Raises ``ConfigError`` for values that make no run."""
        batch = 2 if self.batch == AUTO else self.batch

        def require(good: bool, seen: str, expected: str) -> None:
            if not good:
                raise ConfigError(seen, expected=expected)

        require(
            bool(self.seeds) and all(0 <= seed < _SEEDS for seed in self.seeds),
            f"fit.seeds {list(self.seeds)}",
            f"a seed or more, each from 0 to {_SEEDS - 1}",
        )
        require(self.epochs >= 1, f"fit.epochs {self.epochs}", "at least 1")
        require(batch >= 2, f"fit.batch {self.batch}", "at least 2")
        require(
            self.rows_per_epoch >= batch,
            f"fit.rows_per_epoch {self.rows_per_epoch} with fit.batch {self.batch}",
            "at least a batch",
        )
        require(len(set(self.seeds)) == len(self.seeds), f"fit.seeds {list(self.seeds)}", "each seed once")
        require(self.eval_rows_max >= 1, f"fit.eval_rows_max {self.eval_rows_max}", "at least 1")
        require(self.patience >= 0, f"fit.patience {self.patience}", "0 or more")
        require(
            all(0 < rate < math.inf for rate in (self.learning_rate, *self.learning_rates.values())),
            f"learning rates {self.learning_rate} {self.learning_rates or ''}".rstrip(),
            "more than 0, and a number",
        )
        require(0 <= self.weight_decay < math.inf, f"fit.weight_decay {self.weight_decay}", "0 or more, and a number")
        if self.swa_epochs is not msgspec.UNSET:
            require(
                self.swa_epochs < self.epochs and self.schedule.kind == "constant" and not self.ema,
                f"fit.swa_epochs {self.swa_epochs} of {self.epochs} with schedule {self.schedule.kind}, "
                f"ema {self.ema:g}",
                "fewer than epochs, schedule constant, ema 0",
            )
        require(1 <= self.threads <= _THREADS_MAX, f"fit.threads {self.threads}", f"1 to {_THREADS_MAX}")
