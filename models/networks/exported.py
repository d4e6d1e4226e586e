"""What a bundle's graphs are for any task: raw features in, named forecasts out; explanation and single steps beside.

Owns these three modules.  A probability is calibrated, a number is in the units of its label, and several networks (of
several seeds) are averaged in the graph.  Masks stay outside: a session serves full windows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models.networks.network import Network
from models.networks.normalisers import Affine, Unscaled
from models.networks.recurrence import Recurrence
from models.networks.served_form import fold_dense_norm, served_form

_LOG_VARIANCE = (-60.0, 20.0)
"""Beyond these the exponential says nothing that float32 could hold."""

Form = Literal["probability", "classes", "number", "variance"]


class Output(NamedTuple):
    """A named forecast and which raw outputs it is made of, ``first`` to ``last`` (not included).

    ``probability`` is of one logit, ``classes`` of several; a ``variance`` is learned as its logarithm.
    """

    name: str
    form: Form
    first: int
    last: int


class Reading(NamedTuple):
    """How raw outputs are read: classes of ``raw / temperature``, a number as ``centre + scale * raw``, a variance as
    ``level * exp(centre + scale * raw)``."""

    centre: float = 0.0
    scale: float = 1.0
    temperature: float = 1.0
    level: float = 1.0


class Member(NamedTuple):
    """A trained network and a reading for each output."""

    network: Network
    readings: tuple[Reading, ...]


class Exported(nn.Module):
    """Normaliser, one network or several, and the outputs: the graph that serves.  All of it is in evaluation mode.

    ``takes_assets``: the second input is asset ids ``(B,) int64``.  What a network gives by step is laid side by side.
    """

    def __init__(
        self,
        normaliser: nn.Module,
        members: Sequence[Member],
        outputs: Sequence[Output],
        *,
        takes_assets: bool = False,
    ) -> None:
        super().__init__()
        # Copies: freezing this form must not freeze what it was made from.
        self.normaliser = deepcopy(normaliser)
        self.networks = nn.ModuleList(deepcopy(member.network) for member in members)
        self.readings = [member.readings for member in members]
        self.outputs = tuple(outputs)
        self.takes_assets = takes_assets
        self.eval()
        self.requires_grad_(False)

    def forward(self, x: Tensor, asset: Tensor | None = None) -> tuple[Tensor, ...]:
        """Forecasts in the order of ``names``, each ``(B, last - first)``."""
        said = self.each(self.normaliser(x), asset)
        return tuple(torch.stack(one).mean(dim=0) if len(one) > 1 else one[0] for one in zip(*said, strict=True))

    def names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.outputs)

    def each(self, z: Tensor, asset: Tensor | None) -> list[tuple[Tensor, ...]]:
        """What each network says of normalised windows."""
        return [
            self.read(network(z) if asset is None else network(z, None, asset), number)
            for number, network in enumerate(self.networks)
        ]

    def read(self, raw: Tensor, member: int) -> tuple[Tensor, ...]:
        """Raw outputs of a network, ``(B, O)`` or by step, as forecasts."""
        raw = raw.flatten(1)
        pairs = zip(self.outputs, self.readings[member], strict=True)
        return tuple(_read(raw[:, output.first : output.last], output.form, reading) for output, reading in pairs)

    def export_form(self) -> Exported:
        """The same function in the form that the runtime computes fastest."""
        form = deepcopy(self)
        for number, network in enumerate(self.networks):
            form.networks[number] = served_form(network)
        return form.eval().requires_grad_(False)


class Explained(nn.Module):
    """The spread of each forecast, ``(B, ...)`` as the forecast, and attention weights where the network has any.

    The spread is the population's deviation over the networks in the graph; of one ensemble over its members; of one
    network with dropout over ``passes`` copies of each window, each with units dropped by masks that were drawn once
    (Gal and Ghahramani 2016) and are constants of the graph: the same window has the same spread, also in a replay.
    Dropout inside of torch's attention stays off.
    """

    def __init__(self, exported: Exported, window: int, columns: int, *, passes: int = 16, seed: int = 0) -> None:
        super().__init__()
        self.exported = deepcopy(exported)
        self.passes = 1
        self.method = "none: one network without dropout"
        first = self.exported.networks[0]
        self.has_attention = attention_shape(exported, window, columns) is not None
        if len(exported.networks) > 1:
            self.method = f"deviation over {len(exported.networks)} seeds"
        elif len(_members(first)) > 1:
            self.method = f"deviation over {len(_members(first))} members"
        elif _dropping(first):
            self.passes = passes
            self.method = f"deviation over {passes} fixed dropout masks"
            self.sampled = deepcopy(first)
            _fix_dropout(self.exported, self.sampled, window, columns, passes, seed)
        self.has_spread = not self.method.startswith("none")
        self.eval()
        self.requires_grad_(False)

    def forward(self, x: Tensor, asset: Tensor | None = None) -> tuple[Tensor, ...]:
        """Outputs in the order of ``names``."""
        z = self.exported.normaliser(x)
        outputs: list[Tensor] = []
        if self.has_spread:
            outputs += [self._deviation(samples) for samples in zip(*self._samples(z, asset), strict=True)]
        if self.has_attention:
            network = self.exported.networks[0]
            outputs.append(network.attention_weights(z) if asset is None else network.attention_weights(z, None, asset))
        return tuple(outputs)

    def names(self) -> tuple[str, ...]:
        spreads = [f"{name}_spread" for name in self.exported.names()] if self.has_spread else []
        return (*spreads, *(["attention"] if self.has_attention else []))

    def _samples(self, z: Tensor, asset: Tensor | None) -> list[tuple[Tensor, ...]]:
        """Forecasts of each sample; of dropout one tuple with the samples in front, ``(P, B, ...)``."""
        first = self.exported.networks[0]
        if len(self.exported.networks) > 1:
            return self.exported.each(z, asset)
        if self.passes == 1:
            said = first.base_predictions(z) if asset is None else first.base_predictions(z, None, asset)  # (B, K, O)
            return [self.exported.read(said[:, number], 0) for number in range(len(_members(first)))]
        copies = z.unsqueeze(0).expand(self.passes, -1, -1, -1).reshape(-1, z.shape[1], z.shape[2])  # (P B, W, F)
        ids = None if asset is None else asset.unsqueeze(0).expand(self.passes, -1).reshape(-1)
        raw = self.sampled(copies) if ids is None else self.sampled(copies, None, ids)  # (P B, ...)
        said = self.exported.read(raw, 0)  # (P B, ...)
        return [tuple(one.reshape(self.passes, -1, one.shape[1]) for one in said)]

    def _deviation(self, samples: tuple[Tensor, ...]) -> Tensor:
        stacked = samples[0] if self.passes > 1 else torch.stack(samples)
        centred = stacked - stacked.mean(dim=0, keepdim=True)
        return (centred * centred).mean(dim=0).sqrt()


class Steps(nn.Module):
    """One row and the state of before to a forecast and the state of after, for a recurrent network of one direction.

    ``(x (B, 1, F), asset if it takes any, hidden (L, B, H), cell (L, B, H) of an LSTM)`` to the outputs, then the
    states.  From a state of zeros, the last of ``window`` rows gives what the window gives.  A network that was trained
    on windows and is carried on beyond them is another model than the one that was tested.
    """

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        if reason := why_no_steps(exported):
            raise ValueError(reason)
        self.exported = deepcopy(exported)
        network = self.exported.networks[0]
        recurrence = network.recurrence
        assert isinstance(recurrence, Recurrence)
        self.has_cell = recurrence.kind == "lstm"
        self.layers = len(recurrence.layers)
        self.hidden = recurrence.width
        fold_dense_norm(network)
        self.eval()
        self.requires_grad_(False)

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        asset = rest[0] if self.exported.takes_assets else None
        hidden, *cell = rest[1:] if self.exported.takes_assets else rest
        network = self.exported.networks[0]
        encoded = network.encode(self.exported.normaliser(x), None, asset, (hidden, cell[0] if cell else None))
        raw = network.head(network.dense(encoded.steps[:, -1]))
        states = (encoded.hidden,) if encoded.cell is None else (encoded.hidden, encoded.cell)
        return (*self.exported.read(raw, 0), *states)

    def state_names(self) -> tuple[str, ...]:
        return ("h", "c") if self.has_cell else ("h",)


def why_no_steps(exported: Exported) -> str:
    """Why a network cannot be served row by row; empty where it can."""
    network = exported.networks[0]
    recurrence = getattr(network, "recurrence", None)
    if len(exported.networks) > 1:
        return "several networks are averaged"
    if not isinstance(recurrence, Recurrence) or not isinstance(getattr(network, "newest", None), nn.Module):
        return "the network is not a recurrent one that reads rows as they come"
    if hasattr(network, "convolutions"):
        return "its convolutions read rows on both sides"
    if recurrence.directions == 2:
        return "it is bidirectional"
    if network.newest.additive is not None or network.newest.rows is not None:
        return "its attention reads all rows of the window"
    if network.front.norm is not None:
        return "its input norm reads all rows of the window"
    if not isinstance(exported.normaliser, Affine | Unscaled):
        return "its normaliser reads all rows of the window"
    return ""


def attention_shape(exported: Exported, window: int, columns: int) -> tuple[int, ...] | None:
    """Of the first network's attention weights without the batch; None where it has no attention."""
    network = exported.networks[0]
    if not hasattr(network, "attention_weights"):
        return None
    try:
        with torch.no_grad():
            return tuple(network.attention_weights(torch.zeros(1, window, columns)).shape[1:])
    except ValueError:
        return None  # its settings have none


def _read(raw: Tensor, form: Form, reading: Reading) -> Tensor:
    if form == "probability":
        return torch.sigmoid(raw / reading.temperature)
    if form == "classes":
        return torch.softmax(raw / reading.temperature, dim=1)
    told = raw * reading.scale + reading.centre
    return reading.level * torch.exp(told.clamp(*_LOG_VARIANCE)) if form == "variance" else told


class _FixedDropout(nn.Module):
    """Drops by masks drawn once: of ``x (P B, ...)``, pass after pass, the units of each pass's own mask."""

    def __init__(self, share: float, passes: int) -> None:
        super().__init__()
        self.share = share
        self.passes = passes
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        shape = x.shape[1:]
        name = "mask_" + "_".join(map(str, shape))
        if self.generator is not None and not hasattr(self, name):
            kept = torch.rand(self.passes, 1, *shape, generator=self.generator) >= self.share
            self.register_buffer(name, kept / (1.0 - self.share))
        samples = x.reshape(self.passes, -1, *shape) * getattr(self, name)  # (P, B, ...)
        return samples.reshape(-1, *shape)


def _fix_dropout(exported: Exported, network: nn.Module, window: int, columns: int, passes: int, seed: int) -> None:
    """Every dropout of ``network`` gets its masks: drawn at the shapes that one forward pass asks for."""
    generator = torch.Generator().manual_seed(seed)
    fixed = []
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout) and child.p > 0:
                one = _FixedDropout(child.p, passes)
                one.generator = generator
                setattr(module, name, one)
                fixed.append(one)
    with torch.no_grad():
        network.eval()(exported.normaliser(torch.zeros(passes, window, columns)))
    for one in fixed:
        one.generator = None


def _dropping(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())


def _members(network: nn.Module) -> dict[str, Network]:
    members: dict[str, Network] = network.members()  # type: ignore[operator]
    return members
