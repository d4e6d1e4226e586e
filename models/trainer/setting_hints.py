"""What a wrong value in a training file was probably meant to be: the nearest key, or the words that a key takes.

Owns the words only; what is right is declared in ``models.trainer.settings``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import inspect

_WRITTEN: Final = {
    "Expected `float`, got `str`": "; YAML reads 1e-3 as a word: write 1.0e-3 or 0.001",
    "got `date`": "; put the day in quotes",
    "got `datetime`": "; put the time in quotes",
}
"""What YAML makes of numbers and times that are written as most people write them."""
_KEYS: Final = re.compile(r"[^.\[\]`]+|\[[^\]]*\]")


def nearest(message: str, root: type[Any]) -> str:
    """For an error of msgspec about ``root``: for an unknown key the one that was probably meant, for a word that is
    none of a key's the words that it takes, for a value of another kind how it is to be written."""
    for said, how in _WRITTEN.items():
        if said in message:
            return how
    if "unknown field" in message:
        key, tree = message.split("`")[1], inspect.type_info(root)
        known = {field.encode_name for struct in _structs(tree, set()) for field in struct.fields}
        if key in known:
            places = set(_places(tree, key, ()))
            least = min(map(len, places))
            told = [f"`{'.'.join(one)}`" if one else "the file itself" for one in sorted(places) if len(one) == least]
            return f"; it is a key of {' and '.join(told)}"
        near = difflib.get_close_matches(key, sorted(known), n=1)
        return f"; did you mean `{near[0]}`?" if near else ""
    if message.startswith("Invalid enum value "):
        word, keys = message.split("'")[1], _KEYS.findall(message.rpartition("`$.")[2])
        words = sorted(set(_words([inspect.type_info(root)], keys)))
        near = difflib.get_close_matches(word, words, n=1)
        meant = f"did you mean `{near[0]}`? " if near else ""
        return f"; {meant}expected one of {', '.join(words)}" if words else ""
    return ""


def _words(types: Sequence[inspect.Type], keys: Sequence[str]) -> Iterator[str]:
    """The words that stand at the end of the path ``keys``."""
    for kind in _plain(types):
        if not keys:
            yield from (str(value) for value in getattr(kind, "values", ()) if isinstance(kind, inspect.LiteralType))
        elif isinstance(kind, inspect.StructType):
            yield from _words([field.type for field in kind.fields if field.encode_name == keys[0]], keys[1:])
        elif isinstance(kind, inspect.DictType):
            yield from _words([kind.value_type], keys[1:])
        elif isinstance(kind, inspect.VarTupleType):
            yield from _words([kind.item_type], keys[1:])


def _plain(types: Sequence[inspect.Type]) -> Iterator[inspect.Type]:
    for kind in types:
        if isinstance(kind, inspect.UnionType):
            yield from _plain(kind.types)
        elif isinstance(kind, inspect.Metadata):
            yield from _plain([kind.type])
        else:
            yield kind


def _places(kind: inspect.Type, key: str, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The sections within that have ``key``, from the file down; no settings hold themselves, so that this ends."""
    for one in _plain([kind]):
        if isinstance(one, inspect.StructType):
            if key in {field.encode_name for field in one.fields}:
                yield path
            for field in one.fields:
                yield from _places(field.type, key, (*path, field.encode_name))
        elif isinstance(one, inspect.DictType):
            yield from _places(one.value_type, key, path)
        elif isinstance(one, inspect.VarTupleType):
            yield from _places(one.item_type, key, path)


def _structs(kind: inspect.Type, seen: set[type]) -> Iterator[inspect.StructType]:
    """All structs within, each once."""
    for one in _plain([kind]):
        if isinstance(one, inspect.StructType) and one.cls not in seen:
            seen.add(one.cls)
            yield one
            for field in one.fields:
                yield from _structs(field.type, seen)
        elif isinstance(one, inspect.DictType):
            yield from _structs(one.value_type, seen)
        elif isinstance(one, inspect.VarTupleType):
            yield from _structs(one.item_type, seen)
