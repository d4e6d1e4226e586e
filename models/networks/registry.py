"""Networks by name: the settings of each, its class, and its reference sizes.

Owns the table.  It loads no torch before something is built.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, get_args

import msgspec

from engine.errors import ConfigError
from models.networks.heads import Head, output_count
from models.networks.settings import (
    AnyNetwork,
    AssetSettings,
    MultiFilterCnnSettings,
    NetworkSettings,
    SingleSettings,
    TemporalLstmSettings,
)
from models.refusals import needing

WINDOW = 30
COLUMNS = 40

_CLASSES = {
    "attention": "Attention",
    "bin_tabl": "BinTabl",
    "cnn": "Cnn",
    "cnn_lstm": "CnnLstm",
    "deep_lob": "DeepLob",
    "ensemble": "Ensemble",
    "gru": "Gru",
    "hybrid": "Hybrid",
    "lstm": "Lstm",
    "lstm_ensemble": "LstmEnsemble",
    "mixer": "Mixer",
    "mlp": "Mlp",
    "multi_filter_cnn": "MultiFilterCnn",
    "multi_scale_cnn": "MultiScaleCnn",
    "stacked_ensemble": "StackedEnsemble",
    "temporal_lstm": "TemporalLstm",
    "two_stage": "TwoStage",
}
"""Each in the module of its name."""
_SETTINGS: dict[str, type[NetworkSettings]] = {
    str(struct.__struct_config__.tag): struct for struct in get_args(AnyNetwork)
}


class Reference(NamedTuple):
    """What a row of the table is about: a network at its reference size, or another mode of it."""

    name: str
    settings: NetworkSettings
    head: Head = "regression"


def names() -> tuple[str, ...]:
    return tuple(sorted(_CLASSES))


def references() -> list[Reference]:
    """Every network by its default settings, and the modes with another output."""
    listed = [
        Reference(name, _SETTINGS[name](), "multi_task" if name == "hybrid" else "regression") for name in names()
    ]
    listed.append(Reference("multi_filter_cnn:steps", MultiFilterCnnSettings(output="steps")))
    listed.append(Reference("temporal_lstm:sequence", TemporalLstmSettings(mode="sequence")))
    return sorted(listed, key=lambda reference: reference.name)


def settings_of(section: Mapping[str, Any]) -> NetworkSettings:
    """The settings from plain data with ``name`` among the keys.

    Raises ``ConfigError`` that names the key, and the nearest known one for what is unknown.
    """
    try:
        settings: NetworkSettings = msgspec.convert(dict(section), AnyNetwork)
    except msgspec.ValidationError as error:
        raise ConfigError(f"network: {error}{hint(str(error), section)}") from None
    settings.check()
    return settings


def hint(message: str, section: Any) -> str:
    """For an unknown name, key or word in ``section``, as msgspec reports it, what was probably meant; else nothing."""
    if "unknown field" in message:
        known = {field for settings in _within(section) for field in settings.__struct_fields__} | {"name"}
        return _nearest(message.split("`")[1], known)
    if message.startswith("Invalid value ") and ".name`" in message:
        word = message.split("'")[1]
        if word in names():  # a network, and not where it stands
            members = ", ".join(sorted(str(one.__struct_config__.tag) for one in get_args(SingleSettings)))
            return f"; a member is one of {members}" if ".members[" in message else f"; no {word} can stand there"
        return _nearest(word, names()) or f"; expected one of {', '.join(names())}"
    if message.startswith("Invalid enum value "):
        key = message.rsplit(".", 1)[1].rstrip("`")
        words = {word for settings in _within(section) for word in _words(settings, key)}
        return f"; expected one of {', '.join(sorted(words))}"
    if "missing required field `name`" in message:
        return f"; expected one of {', '.join(names())}"
    return ""


def _within(section: Any, settings: type[NetworkSettings] | None = None) -> list[type[NetworkSettings]]:
    """The settings whose keys may be in a section: its network's and those of the networks in it.

    ``settings``: those of a section that needs no name, as only one kind may stand there.
    """
    if isinstance(section, list | tuple):
        return [found for value in section for found in _within(value)]
    if not isinstance(section, Mapping):
        return []
    own = _SETTINGS.get(str(section.get("name")), settings)
    if own is None:
        return []
    kinds = {field.name: type(field.default) for field in msgspec.structs.fields(own)}
    inside = {key: kind for key, kind in kinds.items() if issubclass(kind, NetworkSettings)}
    return [own, *(found for key, value in section.items() for found in _within(value, inside.get(key)))]


def _words(settings: type[NetworkSettings], key: str) -> tuple[str, ...]:
    """The words that a key takes, if it takes words."""
    types = [field.type for field in msgspec.structs.fields(settings) if field.name == key]
    return tuple(word for each in types for word in get_args(each) if isinstance(word, str))


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def check(network: str | NetworkSettings, *, window: int, columns: int) -> None:
    """Raises ``ConfigError`` for an unknown name, settings that contradict each other, and a window it cannot take."""
    settings = _settings(network, {})
    settings.check()
    if window < settings.rows_min:
        raise ConfigError(
            f"a window of {window} rows is too short for the network {settings.name}",
            expected=f"{settings.rows_min} or more",
            do="correct features.window",
        )
    if window < 1 or columns < 1:
        raise ConfigError(f"network {settings.name} with {window} rows and {columns} columns", expected="1 or more")


def build(
    network: str | NetworkSettings,
    *,
    window: int = WINDOW,
    columns: int = COLUMNS,
    head: Head = "binary",
    horizons: int = 1,
    assets: AssetSettings | None = None,
    **changes: Any,
) -> Any:
    """A freshly initialised network: ``(batch, window, columns) float32`` in, raw outputs of the ``head`` out.

    ``network`` is a name, with ``changes`` to its default settings, or the settings.  Weights are drawn from torch's
    generator.  Raises ``ConfigError`` for what ``check`` refuses, unknown settings and heads; ``KestrelError`` without
    torch.
    """
    settings = _settings(network, changes)
    check(settings, window=window, columns=columns)
    outputs = output_count(head, horizons)
    require_torch()
    return make(settings, window, columns, outputs, assets)


def make(
    settings: NetworkSettings, window: int, columns: int, outputs: int, assets: AssetSettings | None = None
) -> Any:
    """The network of checked settings, with ``outputs`` raw outputs."""
    from models.networks.initialisation import initialise_as

    network = getattr(import_module(f"models.networks.{settings.name}"), _CLASSES[settings.name])
    return initialise_as(settings, network(settings, window, columns, outputs, assets))


def table() -> list[dict[str, Any]]:
    """One row per reference: ``name``, ``parameters``, how many of them are ``trainable`` (a frozen member's are not),
    ``input`` and ``output`` shapes (-1 is the batch)."""
    rows: list[dict[str, Any]] = []
    for name, settings, head in references():
        network = build(settings, head=head)
        rows.append(
            {
                "name": name,
                "parameters": sum(p.numel() for p in network.parameters()),
                "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
                "input": [-1, WINDOW, COLUMNS],
                "output": list(settings.output_shape(WINDOW, output_count(head))),
            }
        )
    return rows


def require_torch() -> None:
    """Raises ``KestrelError`` with what to install when torch is missing or cannot be loaded."""
    with needing("a network"):
        import_module("torch")


def _settings(network: str | NetworkSettings, changes: Mapping[str, Any]) -> NetworkSettings:
    if isinstance(network, str):
        if network not in _CLASSES:
            near = _nearest(network, names())
            raise ConfigError(f"unknown network {network!r}", expected=f"one of {', '.join(names())}{near}")
        return settings_of({"name": network, **changes})
    if changes:
        return settings_of({**msgspec.to_builtins(network), **changes})
    return network
