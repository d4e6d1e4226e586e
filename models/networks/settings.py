"""What each network can be told: one struct a network, every key known, every value bounded.

Owns the settings and their checks.  They are plain data and load no torch.  ``network:`` of a training file is one of
them, chosen by its ``name``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from engine.errors import ConfigError

Count = Annotated[int, Meta(ge=1, le=4096)]
Depth = Annotated[int, Meta(ge=1, le=5)]
Share = Annotated[float, Meta(ge=0, lt=1)]
CombinerShare = Annotated[float, Meta(gt=0, le=0.5)]
StepAttention = Literal["none", "additive", "self"]


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name"):
    """What all take.

    ``initialisation``: ``xavier`` (Glorot and Bengio 2010; recurrent weights orthogonal, forget gates open) or what
    torch does by itself.
    """

    initialisation: Literal["xavier", "torch"] = "xavier"

    rows_min: ClassVar[int] = 1
    """Rows of a window; of fewer its layers leave nothing."""

    @property
    def name(self) -> str:
        return str(self.__struct_config__.tag)

    def output_shape(self, window: int, outputs: int) -> tuple[int, ...]:
        """Of what ``forward`` returns; -1 is the batch."""
        del window
        return (-1, outputs)

    def check(self) -> None:
        """Raises ``ConfigError`` for settings that contradict each other."""


class _Single(NetworkSettings, frozen=True):
    """A network that reads the window itself.

    ``input_norm`` stands in front of it, inside the graph: ``bilinear`` (BiN), ``instance`` (each column by its own
    window, with the scale handed on as columns), or ``none``.
    """

    dropout: Share = 0.2
    input_norm: Literal["none", "bilinear", "instance"] = "none"


class LstmSettings(_Single, frozen=True, tag="lstm"):
    """``skip`` adds a layer's input to its output where both have one width; ``dense`` is the head's hidden layer.

    ``checkpointing`` computes each layer again in the backward pass instead of keeping what it made: less memory, more
    time, the same gradients.
    """

    hidden: Count = 128
    layers: Depth = 2
    bidirectional: bool = True
    attention: StepAttention = "none"
    heads: Count = 4
    skip: bool = False
    dense: Count = 128
    checkpointing: bool = False

    def check(self) -> None:
        if self.attention == "self":
            _divides(self.name, "heads", self.heads, self.hidden * (1 + self.bidirectional))


class GruSettings(_Single, frozen=True, tag="gru"):
    """As ``LstmSettings``."""

    hidden: Count = 128
    layers: Depth = 2
    bidirectional: bool = True
    attention: StepAttention = "none"
    heads: Count = 4
    skip: bool = False
    dense: Count = 128
    checkpointing: bool = False

    def check(self) -> None:
        if self.attention == "self":
            _divides(self.name, "heads", self.heads, self.hidden * (1 + self.bidirectional))


class MlpSettings(_Single, frozen=True, tag="mlp"):
    """``sizes`` of the hidden layers."""

    sizes: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=8)] = (128, 64, 32)


class CnnSettings(_Single, frozen=True, tag="cnn"):
    """Its layers are fixed."""

    rows_min: ClassVar[int] = 8


class MultiScaleCnnSettings(_Single, frozen=True, tag="multi_scale_cnn"):
    """``filters`` of every convolution, ``dense`` of the fusion."""

    filters: Count = 32
    dense: Count = 64


class MultiFilterCnnSettings(_Single, frozen=True, tag="multi_filter_cnn"):
    """``filters`` of each of the ``kernels`` (odd sizes); ``output``: of the newest row, or of all rows."""

    filters: Count = 64
    kernels: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=8)] = (3, 5, 7, 11)
    heads: Count = 8
    output: Literal["last", "steps"] = "last"

    def output_shape(self, window: int, outputs: int) -> tuple[int, ...]:
        return (-1, window, outputs) if self.output == "steps" else (-1, outputs)

    def check(self) -> None:
        if even := [kernel for kernel in self.kernels if kernel % 2 == 0]:
            raise ConfigError(f"network multi_filter_cnn with kernels {even[0]}", expected="odd sizes")
        _divides(self.name, "heads", self.heads, self.filters * len(self.kernels))


class AttentionSettings(_Single, frozen=True, tag="attention"):
    """Transformer blocks of ``width``; ``checkpointing`` as in ``LstmSettings``, by block."""

    width: Count = 128
    layers: Depth = 2
    heads: Count = 8
    feed_forward: Count = 512
    dense: Count = 64
    checkpointing: bool = False

    def check(self) -> None:
        _divides(self.name, "heads", self.heads, self.width)
        _divides(self.name, "2 (sines and cosines)", 2, self.width)


class CnnLstmSettings(_Single, frozen=True, tag="cnn_lstm"):
    """One convolution for each of ``filters``, then the recurrent layers."""

    filters: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=2)] = (32, 64)
    kernel: Annotated[int, Meta(ge=1, le=11)] = 3
    hidden: Count = 64
    layers: Annotated[int, Meta(ge=1, le=2)] = 2
    bidirectional: bool = False
    attention: StepAttention = "none"
    heads: Count = 4
    dense: Count = 64

    def check(self) -> None:
        if self.kernel % 2 == 0:
            raise ConfigError(f"network cnn_lstm with kernel {self.kernel}", expected="an odd size")
        if self.attention == "self":
            _divides(self.name, "heads", self.heads, self.hidden * (1 + self.bidirectional))


class TemporalLstmSettings(_Single, frozen=True, tag="temporal_lstm"):
    """``mode``: ``encoder`` gives one output a window, ``sequence`` decodes ``target_len`` of them, one by one."""

    hidden: Count = 64
    layers: Depth = 3
    bidirectional: bool = True
    skip: bool = True
    mode: Literal["encoder", "sequence"] = "encoder"
    target_len: Annotated[int, Meta(ge=1, le=64)] = 5
    dense: Count = 64
    checkpointing: bool = False

    def output_shape(self, window: int, outputs: int) -> tuple[int, ...]:
        del window
        return (-1, self.target_len, outputs) if self.mode == "sequence" else (-1, outputs)


class HybridSettings(_Single, frozen=True, tag="hybrid"):
    """``width`` of both branches: filters of the CNN, hidden size of both directions of the LSTM together."""

    width: Count = 64
    layers: Depth = 2
    heads: Count = 4
    dense: Count = 64

    def check(self) -> None:
        _divides(self.name, "heads", self.heads, self.width)
        _divides(self.name, "2 (directions)", 2, self.width)


class BinTablSettings(_Single, frozen=True, tag="bin_tabl"):
    """``features`` and ``rows`` after each bilinear layer; the temporal attention layer follows."""

    input_norm: Literal["none", "bilinear", "instance"] = "bilinear"
    features: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=4)] = (60, 120)
    rows: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=4)] = (10, 5)

    def check(self) -> None:
        if len(self.features) != len(self.rows):
            raise ConfigError(
                f"network bin_tabl with {len(self.features)} features and {len(self.rows)} rows",
                expected="one of each for every layer",
            )


class MixerSettings(_Single, frozen=True, tag="mixer"):
    """``width`` of a row between the blocks, ``expansion`` of it inside them."""

    input_norm: Literal["none", "bilinear", "instance"] = "bilinear"
    width: Count = 64
    expansion: Annotated[int, Meta(ge=1, le=8)] = 2
    layers: Depth = 2


class DeepLobSettings(_Single, frozen=True, tag="deep_lob"):
    """``filters`` of the convolutions, ``inception`` of each branch of that module, ``hidden`` of the LSTM."""

    filters: Count = 32
    inception: Count = 64
    hidden: Count = 64


class TwoStageSettings(NetworkSettings, frozen=True, tag="two_stage"):
    """The LSTM reads what the CNN has after so many ``convolutions``; the CNN is trained first and then frozen."""

    rows_min: ClassVar[int] = 8
    dropout: Share = 0.2
    cnn: CnnSettings = CnnSettings()
    convolutions: Annotated[int, Meta(ge=1, le=3)] = 2
    hidden: Count = 64
    layers: Depth = 1
    bidirectional: bool = False
    dense: Count = 64


class EnsembleSettings(NetworkSettings, frozen=True, tag="ensemble"):
    """The three members are trained first, each alone, and then frozen.

    ``combiner_share``: the last share of the training rows, which the members do not see; what combines them learns
    from those.
    """

    rows_min: ClassVar[int] = 8
    combiner_share: CombinerShare = 0.25
    lstm: LstmSettings = LstmSettings()
    cnn: CnnSettings = CnnSettings()
    attention: AttentionSettings = AttentionSettings()

    def check(self) -> None:
        for member in (self.lstm, self.cnn, self.attention):
            member.check()


class LstmEnsembleSettings(NetworkSettings, frozen=True, tag="lstm_ensemble"):
    """``members`` times the same LSTM from different starts; ``weights``: their mean, or learned with them frozen.

    ``combiner_share`` as in ``EnsembleSettings``; equal weights need none.
    """

    members: Annotated[int, Meta(ge=2, le=10)] = 3
    weights: Literal["equal", "learned"] = "equal"
    combiner_share: CombinerShare = 0.25
    lstm: LstmSettings = LstmSettings(hidden=64, dense=64)

    def check(self) -> None:
        self.lstm.check()


SingleSettings = (
    LstmSettings
    | GruSettings
    | MlpSettings
    | CnnSettings
    | MultiScaleCnnSettings
    | MultiFilterCnnSettings
    | AttentionSettings
    | CnnLstmSettings
    | TemporalLstmSettings
    | HybridSettings
    | BinTablSettings
    | DeepLobSettings
    | MixerSettings
)


class StackedEnsembleSettings(NetworkSettings, frozen=True, tag="stacked_ensemble"):
    """Any ``members`` of one output a window, trained first and frozen; ``sizes`` of what learns to combine them.

    ``combiner_share`` as in ``EnsembleSettings``.
    """

    members: Annotated[tuple[SingleSettings, ...], Meta(min_length=2, max_length=10)] = (
        LstmSettings(hidden=64, dense=64),
        GruSettings(hidden=64, dense=64),
        CnnSettings(),
        BinTablSettings(),
    )
    sizes: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=4)] = (16,)
    combiner_share: CombinerShare = 0.25

    def check(self) -> None:
        for member in self.members:
            member.check()
            if len(member.output_shape(2, 1)) != 2:
                raise ConfigError(
                    f"network stacked_ensemble with a {member.name} of several outputs a window",
                    expected="members of one output a window",
                )


AnyNetwork = SingleSettings | TwoStageSettings | EnsembleSettings | LstmEnsembleSettings | StackedEnsembleSettings
"""A union that msgspec tells apart by ``name``."""


class AssetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An embedding of asset ids 1 to ``count``; 0, and any other number, is the unknown asset.

    ``id_dropout`` is the share of training rows that count as unknown, so that the unknown row is trained too.
    """

    count: Annotated[int, Meta(ge=1, le=1_000_000)]
    width: Annotated[int, Meta(ge=8, le=16)] = 8
    id_dropout: Share = 0.15


def _divides(network: str, what: str, divisor: int, width: int) -> None:
    if width % divisor:
        raise ConfigError(f"network {network} of width {width} and {what} {divisor}", expected="a divisor of the width")
