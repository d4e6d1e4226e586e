"""Writes the layers into ``docs/model-architectures.md``: ``python docs/make_networks.py`` after a network has changed.

Owns these tables; what else stands on the page is written by hand.  ``tests/tidy/test_documents.py`` compares.  Shapes
are those of a window that went through the network, parameters are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

DOCS = Path(__file__).resolve().parent
PAGE: Final = "model-architectures.md"
BEGIN: Final = "<!-- Made by `python docs/make_networks.py`; edits between the marks are lost. -->"
END: Final = "<!-- end -->"
BATCH: Final = 2


def architectures() -> str:
    """``docs/model-architectures.md`` with its tables of layers made anew."""
    before, _, rest = (DOCS / PAGE).read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{chr(10).join(_tables())}\n{END}{after}"


def _tables() -> Iterator[str]:
    from models import networks

    for name, settings, head in networks.references():
        network = networks.build(settings, head=head).eval()
        yield f"### `{name}`\n"
        yield "| layer | what | output | parameters |"
        yield "|---|---|---|---|"
        for number, (layer, shape) in enumerate(_shapes(network, networks.WINDOW, networks.COLUMNS), 1):
            yield f"| {number} `{_part(network, layer)}` | {_described(layer)} | {shape} | {_count(layer):,} |"
        for member, inside in network.members().items():
            kind = type(inside).__module__.rpartition(".")[2]
            yield f"| `{member}` | a network `{kind}`, trained first and frozen | | {_count(inside):,} |"
        yield ""


def _shapes(network: Any, window: int, columns: int) -> list[tuple[Any, str]]:
    """The layers that ``freeze_layers`` counts, each with the shape of what it, or the last module in it, gives."""
    import torch

    layers = network.layers()
    seen: dict[int, str] = {}

    def note(number: int) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _given: Any, made: Any) -> None:
            first = made[0] if isinstance(made, tuple) else made
            seen[number] = " x ".join(["B", *map(str, first.shape[1:])])

        return hook

    hooks = []
    for number, layer in enumerate(layers):
        # Those inside fire first, so that the layer's own output stands where it is called as one.
        hooks += [module.register_forward_hook(note(number)) for module in layer.modules()]
    with torch.no_grad():
        network(torch.zeros(BATCH, window, columns))
    for hook in hooks:
        hook.remove()
    return [(layer, seen.get(number, "")) for number, layer in enumerate(layers)]


def _part(network: Any, layer: Any) -> str:
    """The part that it belongs to, which may have a learning rate of its own."""
    one = id(next(layer.parameters()))
    return next(name for name, part in network.parts().items() if one in map(id, part.parameters()))


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _described(layer: Any) -> str:
    """Its modules in words, in order; what has no parameters and only drops is left out."""
    return ", ".join(_words(layer))


def _words(module: Any) -> Iterator[str]:
    made = _WORDS.get(type(module).__name__)
    if made is not None:
        yield made(module)
        return
    for child in module.children():
        yield from _words(child)


def _recurrent(module: Any) -> str:
    directions = ", both directions" if module.bidirectional else ""
    return f"{type(module).__name__} {module.input_size} to {module.hidden_size}{directions}"


def _image_convolution(module: Any) -> str:
    rows, columns = module.kernel_size
    over = [f"{rows} rows"] * (rows > 1) + [f"{columns} columns"] * (columns > 1)
    return f"Conv {module.in_channels} to {module.out_channels}{f' over {over[0]}' if over else ''}"


def _convolution(module: Any) -> str:
    dilation = f" {module.dilation[0]} apart" if module.dilation[0] > 1 else ""
    return f"Conv {module.in_channels} to {module.out_channels} over {module.kernel_size[0]} rows{dilation}"


_WORDS: Final[Mapping[str, Callable[[Any], str]]] = {
    "AdditiveAttention": lambda module: f"additive attention of width {module.key.in_features}",
    "BatchNorm1d": lambda _module: "BatchNorm",
    "BatchNorm2d": lambda _module: "BatchNorm",
    "BilinearLayer": lambda module: (
        f"bilinear {module.left.shape[1]} x {module.right.shape[0]} to {module.left.shape[0]} x {module.right.shape[1]}"
    ),
    "BilinearNorm": lambda module: f"BiN of {len(module.time_scale)} columns",
    "Conv1d": _convolution,
    "Conv2d": _image_convolution,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "LSTMCell": lambda module: f"LSTM cell {module.input_size} to {module.hidden_size}",
    "LayerNorm": lambda _module: "LayerNorm",
    "LeakyReLU": lambda _module: "LeakyReLU",
    "Linear": lambda module: f"Linear {module.in_features} to {module.out_features}",
    "MaxPool1d": lambda module: f"MaxPool {module.kernel_size}",
    "MaxPool2d": lambda module: f"MaxPool {module.kernel_size[0]}",
    "Mixture": lambda module: f"{len(module.logits)} weights, softmax",
    "MultiheadAttention": lambda module: f"attention of {module.num_heads} heads of {module.head_dim}",
    "ReLU": lambda _module: "ReLU",
    "TemporalAttention": lambda module: (
        f"temporal attention {module.left.shape[1]} x {module.right.shape[0]} to {module.left.shape[0]}"
    ),
}
"""By class; of any other the modules in it are told."""

PAGES: Final[Mapping[str, Callable[[], str]]] = {PAGE: architectures}


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
